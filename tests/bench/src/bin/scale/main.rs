//! `wsd echo` with as many connections as a machine can hold: memory, heartbeats, latency.
//!
//! `scale [options] --server COMMAND..` starts servers by the command, to which it adds `--listen`,
//! and processes of itself as their clients. There are two parts: one server with as many
//! connections as one process may have descriptors, then several servers. They share one port if
//! the command has `--reuse-port`, otherwise each has its own. Everything stays on loopback.
//!
//! The exit code tells of connections: a lost or missing one, a byte that differs, or no heartbeat
//! is a failure. A missed target for memory is only told.

#![forbid(unsafe_code)]

mod client;
mod clients;
mod memory;
mod part;
mod report;
mod servers;

use std::{error::Error, os::unix::process::CommandExt as _, process::Command, process::ExitCode};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal};

use crate::part::Part;

/// What all programs of the package return in case of trouble.
type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["client", rest @ ..] => client::run(rest).map(|()| true),
        ["leash", program, rest @ ..] => leash(program, rest).map(|()| true),
        all => measure(all),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes a program that ends with its parent, however that ends.
fn leash(program: &str, arguments: &[&str]) -> Fallible<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Err(Command::new(program).args(arguments).exec().into())
}

/// What the command line asks for.
struct Options<'a> {
    processes: usize,
    per_process: Option<usize>,
    seconds: u64,
    heartbeat_ms: u64,
    only: Option<&'a str>,
    server: Vec<&'a str>,
}

/// Descriptors of a process that are no connections: its own, and those that `wsd` keeps to say 503.
const OTHER_DESCRIPTORS: usize = 200;

/// So many must fit onto one machine.
const MANY: usize = 100_000;

fn measure(arguments: &[&str]) -> Fallible<bool> {
    let options = Options::parse(arguments)?;
    let descriptors = raise_descriptor_limit()?;
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let parts = parts(&options, most)?;
    println!("{}", report::head(&options, descriptors));
    let mut outcomes = Vec::new();
    for part in &parts {
        let outcome = part.run()?;
        println!("{}", report::part(part, &outcome));
        outcomes.push(outcome);
    }
    println!("{}", report::a_million(&outcomes, most, &options));
    Ok(outcomes.iter().all(|outcome| outcome.faults().is_empty()))
}

/// One server with all it can hold, and several that share many.
fn parts<'a>(options: &'a Options<'_>, most: usize) -> Fallible<Vec<Part<'a>>> {
    let many = MANY.div_ceil(options.processes);
    let wanted = [
        ("one", 1, options.per_process.unwrap_or(most)),
        (
            "several",
            options.processes,
            options.per_process.unwrap_or(many),
        ),
    ];
    let mut parts = Vec::new();
    for (name, servers, per_server) in wanted {
        if options.only.is_some_and(|only| only != name) {
            continue;
        }
        // A shared port deals connections out by a hash. Five standard deviations above its share
        // no server gets in a million runs.
        let is_dealt = servers > 1 && servers::is_shared(&options.server);
        let uneven = if is_dealt { 5 * per_server.isqrt() } else { 0 };
        if per_server + uneven > most {
            return Err(format!(
                "{per_server} connections per server, {uneven} more for an uneven share: there \
                 are descriptors for {most}"
            )
            .into());
        }
        parts.push(Part {
            servers,
            connections: servers * per_server,
            command: &options.server,
            per_client: most,
            // The first ping of a connection comes an interval after it was opened.
            hold_seconds: options.seconds.max(options.heartbeat_ms.div_ceil(1000) + 5),
        });
    }
    Ok(parts)
}

impl<'a> Options<'a> {
    fn parse(arguments: &[&'a str]) -> Fallible<Self> {
        let mut options = Self {
            processes: 6,
            per_process: None,
            seconds: 30,
            heartbeat_ms: 20_000,
            only: None,
            server: Vec::new(),
        };
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            if word == "--server" {
                options.server = words.by_ref().collect();
                break;
            }
            let value = words.next().ok_or(format!("{word}: a value is missing"))?;
            let number = || {
                let number = value.parse().ok().filter(|&number: &usize| number > 0);
                number.ok_or(format!("{word} {value}: not a number"))
            };
            match (word, value) {
                ("--processes", _) => options.processes = number()?,
                ("--connections-per-process", _) => options.per_process = Some(number()?),
                ("--seconds", _) => options.seconds = number()? as u64,
                ("--heartbeat", _) => options.heartbeat_ms = number()? as u64,
                ("--only", "one" | "several") => options.only = Some(value),
                _ => return Err(format!("{word} {value}: not known").into()),
            }
        }
        if options.server.is_empty() {
            return Err("--server COMMAND.. is missing".into());
        }
        Ok(options)
    }
}

/// Raises it as far as it goes, for this process and all that it starts.
fn raise_descriptor_limit() -> Fallible<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    Ok(usize::try_from(limit.maximum.unwrap_or(1 << 20))?)
}
