//! Event-loop servers over loopback: `wsd echo` against its peers and against the floor.
//!
//! `servers [--quick] [--realtime] [--plots DIR] [--only WORD] --ours COMMAND.. --floor COMMAND..
//! --raw COMMAND.. [--peer NAME COMMAND..]..` starts the echo servers on the first core, each of
//! which prints its address, and loads them in turn: every round of every workload measures one
//! right after the other. Run it on the second core; `run` does. `--only` picks the workloads whose
//! names contain a word; `--plots` draws what the tables say. A turn that other programs disturbed
//! is repeated, unless `--realtime` says that they could not.
//!
//! The generator is this one thread over an event loop of its own; it compares every byte that
//! comes back. What counts is the server's CPU time per message, because the generator is often
//! the bottleneck; how busy the server was is told beside the throughput. A server that does not
//! start with the flags of a workload, or fails in it, is left out of that one and said so.

mod bench;
mod client;
mod cycles;
mod load;
mod memory;
mod options;
mod plot;
mod process;
mod race;
mod syscalls;
mod tables;
mod workload;

use std::error::Error;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use ws_bench::report::conditions;

use crate::{bench::Bench, options::Options};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    raise_descriptor_limit()?;
    println!(
        "## Event-loop servers over loopback\n\n{}",
        conditions(options.plan.rounds)
    );
    Bench::new(options).run()
}

/// As many connections as the system lets one process have.
fn raise_descriptor_limit() -> Result<(), Box<dyn Error>> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
