#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod close;
mod config;
mod connection;
mod error;
mod event;
pub mod extension;
pub mod frame;
pub mod handshake;
#[cfg(feature = "embedded-io")]
pub mod io;
pub mod message;
mod output;
pub mod uri;
pub mod utf8;

pub use crate::{
    close::CloseCode,
    config::{Config, Limit, Limits, Reply, Timeout, Timeouts},
    connection::{Connection, Prepared, SEND_ROOM, State, Want},
    error::{Full, Misuse, SendError, Violation},
    event::{Chunk, Closed, Event, Initiator, MessageKind},
    extension::Extensions,
    frame::Role,
    handshake::{ClientHandshake, ServerHandshake},
    message::Messages,
    output::{MaskingKeys, Output},
    uri::WsUri,
};

/// The room in an [`Output`] that suffices for the reply to anything received: 131 bytes, a masked
/// control frame of 125. Sends leave it free, so that two ends of ours never starve each other; see
/// [`SEND_ROOM`].
pub const REPLY_ROOM: usize = frame::header::MAX_CONTROL_FRAME;
