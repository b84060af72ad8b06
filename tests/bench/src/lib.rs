//! The protocol core measured against its peers and against the floor: what the programs of this
//! package share.
//!
//! *Contenders* run in turn, A B C A B C, round after round, and only ratios inside one such race
//! are believed: on a shared machine absolute times drift by a third, ratios hardly. `run` starts
//! all programs; `callgrind` counts instructions.

pub mod bytewise;
pub mod decode;
pub mod encode;
pub mod floors;
pub mod frames;
pub mod handshake;
pub mod harness;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
pub mod report;
#[cfg(feature = "peers")]
pub mod serving;
