#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod connection;
mod reactor;

pub use ws_proto::{CloseCode, Closed, Config, Event, SendError};

pub use crate::connection::{Connection, Sender, Turn};
