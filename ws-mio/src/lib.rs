#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod buffers;
pub mod connection;
mod reactor;

pub use ws_proto::{CloseCode, Closed, Config, Event, SendError};

pub use crate::{
    buffers::{Buffers, Marks},
    connection::{Connection, Delivery, Overflow, Ready, Refused, Sender, Sent, ShortRead, Turn},
};
