//! State. Extensions: what was agreed (RFC 6455 §9).

/// The extensions that were agreed on, as far as frames show them: which RSV bits have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extensions {
    rsv: u8,
}

impl Extensions {
    /// None: every RSV bit is reserved.
    pub const NONE: Self = Self { rsv: 0 };

    /// RSV1 marks the first frame of a compressed message (RFC 7692 §6).
    pub const PER_MESSAGE_DEFLATE: Self = Self {
        rsv: crate::frame::header::RSV1,
    };

    /// Whether all of these RSV bits, as 0x40, 0x20, 0x10, have a meaning.
    pub const fn claims(self, rsv: u8) -> bool {
        rsv & !self.rsv == 0
    }
}
