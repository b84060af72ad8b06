//! Wire. Close codes and the payload of the Close frame (RFC 6455 §5.5.1 and §7.4).

use core::fmt;

use crate::{error::Violation, frame::Role};

/// A close code. The registry is open, so this is a number with IANA's names as constants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a rule of the protocol was broken.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this end does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: there was no code in the Close frame. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: there was no Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not what its kind says, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a rule of the application was broken.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: a client misses an extension in the server's response.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: something unexpected kept a server from going on.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: a server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: a server is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code with this number, whether it may be sent or not.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may be in a Close frame, from either role: 1000 to 1003, 1007 to 1014 and
    /// 3000 to 4999.
    ///
    /// RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control
    /// frame by an endpoint". What IANA has not assigned below 3000 is refused, too: stricter than
    /// the RFC, as the Autobahn suite asks (7.9.*).
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether this role may begin to close with the code: 1010 is a client's, 1011 to 1014 are a
    /// server's (§7.4.1); the others of [`is_valid_on_wire`](CloseCode::is_valid_on_wire) are
    /// everybody's.
    pub const fn may_be_sent_by(self, role: Role) -> bool {
        match (self.0, role) {
            (1010, Role::Server) | (1011..=1014, Role::Client) => false,
            _ => self.is_valid_on_wire(),
        }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest reason: a control frame's 125 bytes less two for the code (§5.5).
pub const MAX_REASON: usize = 123;

/// Reads the payload of a Close frame: its code, or [`CloseCode::NO_STATUS`], and its reason.
///
/// # Errors
///
/// [`Violation::CloseTooShort`], [`Violation::InvalidCloseCode`] or
/// [`Violation::InvalidCloseReason`].
///
/// ```
/// use ws_proto::close::{parse, CloseCode};
///
/// assert_eq!(parse(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye")));
/// assert_eq!(parse(b""), Ok((CloseCode::NO_STATUS, "")));
/// ```
pub fn parse(payload: &[u8]) -> Result<(CloseCode, &str), Violation> {
    // RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
    // unsigned integer (in network byte order) representing a status code".
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok((CloseCode::NO_STATUS, "")),
            _ => Err(Violation::CloseTooShort),
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.is_valid_on_wire() {
        return Err(Violation::InvalidCloseCode);
    }
    let reason = core::str::from_utf8(reason).map_err(|_| Violation::InvalidCloseReason)?;
    Ok((code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_judged_once() {
        let valid = (0..=u16::MAX).filter(|&code| CloseCode(code).is_valid_on_wire());
        assert_eq!(valid.count(), 4 + 8 + 2000);
        for code in 0..=u16::MAX {
            let expected = match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => Ok((CloseCode(code), "x")),
                _ => Err(Violation::InvalidCloseCode),
            };
            let [high, low] = code.to_be_bytes();
            assert_eq!(parse(&[high, low, b'x']), expected, "{code}");
        }
    }

    #[test]
    fn roles_have_codes_of_their_own() {
        assert!(CloseCode::MANDATORY_EXTENSION.may_be_sent_by(Role::Client));
        assert!(!CloseCode::MANDATORY_EXTENSION.may_be_sent_by(Role::Server));
        assert!(CloseCode::INTERNAL_ERROR.may_be_sent_by(Role::Server));
        assert!(!CloseCode::INTERNAL_ERROR.may_be_sent_by(Role::Client));
        assert!(!CloseCode::NO_STATUS.may_be_sent_by(Role::Server));
    }

    #[test]
    fn body_of_one_byte_and_bad_reason() {
        assert_eq!(parse(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::InvalidCloseReason));
        assert_eq!(
            parse(b"\x03\xe8\xe2\x82"),
            Err(Violation::InvalidCloseReason)
        );
    }
}
