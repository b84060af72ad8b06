//! Memory per connection, always as a slope: what a process has once does not count.

use std::{error::Error, time::Duration};

use crate::{
    client::Opening,
    load::Load,
    process::Server,
    workload::{LONG, PING_PONGS},
};

/// How many connections are compared.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) few: usize,
    pub(crate) many: usize,
    pub(crate) long_few: usize,
    pub(crate) long_many: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        few: 2_000,
        many: 10_000,
        long_few: 100,
        long_many: 600,
    };
    pub(crate) const QUICK: Self = Self {
        few: 200,
        many: 1_000,
        long_few: 16,
        long_many: 80,
    };
}

/// Bytes per connection that is open, has echoed one short message, and is idle.
pub(crate) fn idle(server: &Server, plan: Plan) -> Result<f64, Box<dyn Error>> {
    let script = PING_PONGS[0].script();
    let mut load = Load::open(server, Opening::WebSocket, plan.few, &script)?;
    load.run_on(0..plan.few, Duration::ZERO)?;
    let few = server.memory()?;
    load.grow(server, Opening::WebSocket, plan.many)?;
    load.run_on(plan.few..plan.many, Duration::ZERO)?;
    Ok((server.memory()? - few) / (plan.many - plan.few) as f64)
}

/// Bytes that a connection goes on to hold once it has echoed one message of 1 MiB, a few
/// connections at a time.
pub(crate) fn after_long(server: &Server, plan: Plan) -> Result<f64, Box<dyn Error>> {
    const AT_ONCE: usize = 4;

    let short = PING_PONGS[0].script();
    let mut load = Load::open(server, Opening::WebSocket, plan.long_many, &short)?;
    load.run(Duration::ZERO)?;
    let long = LONG.script();
    load.change(&long);
    let mut memory = Vec::new();
    let mut from = 0;
    // The first ones fill what all have in common.
    for to in [plan.long_few, plan.long_many] {
        while from < to {
            let next = (from + AT_ONCE).min(to);
            load.run_on(from..next, Duration::ZERO)?;
            from = next;
        }
        memory.push(server.memory()?);
    }
    Ok((memory[1] - memory[0]) / (plan.long_many - plan.long_few) as f64)
}
