#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod buffer;
mod client;
mod clock;
mod error;
mod keys;
mod log;
mod message;
mod opening;
mod reconnect;
mod reply;
mod server;
mod transport;
mod websocket;

pub use ws_proto::{
    self, CloseCode, Config, Initiator, Limit, Limits, MessageKind, Misuse, Role, State, Timeout,
    Timeouts, Violation,
};

pub use crate::{
    client::{Client, connect},
    error::{Closed, Error, Rejection, Stage},
    log::escape,
    message::{Message, MessageRef},
    opening::{Headers, Opening, Request},
    reconnect::Backoff,
    reply::Reply,
    server::{Accept, Decision, Handle, HandlerError, Reject, Server, Shutdown},
    transport::{Stream, Transport},
    websocket::{RECEIVE_BUFFER, WebSocket},
};
