#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod accept;
mod buffers;
mod config;
pub mod connection;
mod handle;
mod random;
mod reactor;
mod server;
mod session;
pub mod testing;

pub use ws_proto::{
    Chunk, CloseCode, Closed, Config, Event, Limit, MessageKind, State, Timeout, Violation,
    handshake::{Request, Subprotocol},
};

pub use crate::{
    accept::{Application, Decision, Peer, accept_with},
    buffers::{Buffers, Marks},
    config::{Capacity, Report, Shutdown},
    connection::{Connection, Delivery, Overflow, Ready, Refused, Sender, Sent, ShortRead, Turn},
    handle::{ConnectionId, Encoded, Handle, PostError},
    server::{Listener, Server},
    session::{Context, Message, Note, Now, Session},
};
