//! What was found, in Markdown.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use ws_bench::report::{Verdicts, machine};

use crate::{
    Options,
    client::LOCAL_PORTS,
    memory::{Sample, setting, slope},
    part::{MESSAGES_PER_SECOND, Outcome, Part},
    servers::is_shared,
};

/// Bytes of user-space memory per idle connection, with heartbeat and timeouts.
const MEMORY_TARGET: f64 = 192.0;

/// Title and conditions.
pub(crate) fn head(options: &Options<'_>, descriptors: usize) -> String {
    let command = options
        .server
        .iter()
        .map(|word| match word.rsplit('/').next() {
            Some(name) => name,
            None => word,
        });
    format!(
        "## Many connections\n\n{}\n\
         `{}`; {descriptors} descriptors per process at most; servers and clients on the same {} \
         cores; ping interval {} s.\n",
        machine(),
        command.collect::<Vec<_>>().join(" "),
        std::thread::available_parallelism().map_or(1, usize::from),
        options.heartbeat_ms as f64 / 1000.0,
    )
}

/// One part: memory step by step, the load, verdicts.
pub(crate) fn part(part: &Part<'_>, outcome: &Outcome) -> String {
    let servers = match part.servers {
        1 => "one process".to_owned(),
        count if is_shared(part.command) => format!("{count} processes on one port"),
        count => format!("{count} processes, **each on its own port**"),
    };
    let mut text = format!("### {} connections, {servers}\n\n", outcome.connections);
    text += &memory(outcome);
    text += &load(outcome);
    let mut verdicts = Verdicts::default();
    let per_connection = slope(&outcome.samples, |sample| sample.servers_kib);
    verdicts.say(
        per_connection <= MEMORY_TARGET,
        &format!(
            "user-space memory: {per_connection:.0} B per connection (target {MEMORY_TARGET})"
        ),
    );
    let faults = outcome.faults();
    let all = match faults.as_slice() {
        [] => "all connections held, all bytes compared".to_owned(),
        some => some.join("; "),
    };
    verdicts.say(faults.is_empty(), &all);
    text += &verdicts.markdown();
    for trouble in &outcome.troubles {
        let _ = writeln!(text, "- {trouble}");
    }
    text
}

fn memory(outcome: &Outcome) -> String {
    let mut text = "| open | servers, user (RssAnon) | kernel, both ends (Slab) | TCP buffers | \
                    available | clients, user |\n|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let mut row = |name: &str, sample: &Sample| {
        let _ = writeln!(
            text,
            "| {name} | {} KiB | {} KiB | {} KiB | {} KiB | {} KiB |",
            sample.servers_kib,
            sample.slab_kib,
            sample.tcp_kib,
            sample.available_kib,
            sample.clients_kib
        );
    };
    for sample in &outcome.samples {
        row(&sample.connections.to_string(), sample);
    }
    row("after the load", &outcome.last);
    let slope = |kib: fn(&Sample) -> u64| slope(&outcome.samples, kib);
    let _ = writeln!(
        text,
        "| **B per connection** | **{:.0}** | {:.0} | {:.0} | {:.0} | {:.0} |\n",
        slope(|sample| sample.servers_kib),
        slope(|sample| sample.slab_kib),
        slope(|sample| sample.tcp_kib),
        slope(|sample| sample.available_kib),
        slope(|sample| sample.clients_kib),
    );
    text
}

fn load(outcome: &Outcome) -> String {
    let loaded = &outcome.loaded;
    let seconds = outcome.opening.as_secs_f64();
    format!(
        "- opened {} in {seconds:.1} s, {:.0} per second, by {} clients; the listeners dropped {} \
         handshakes, to be tried again\n\
         - {} to {} descriptors per server\n\
         - heartbeats: {} pings answered in {:.1} s, {:.0} per second; {} connections had one\n\
         - echo latency with all open, 20 B, {} messages at {MESSAGES_PER_SECOND} per second, from the intended \
         time: {}\n\
         - of which the generator was late: {}\n\
         - servers' CPU under this load: {:.2} cores; their memory grew by {:.0} B per connection\n",
        outcome.opened,
        outcome.opened as f64 / seconds,
        outcome.clients,
        outcome.overflows,
        outcome.descriptors.0,
        outcome.descriptors.1,
        loaded.pings,
        outcome.load_seconds,
        loaded.pings as f64 / outcome.load_seconds,
        loaded.pinged,
        loaded.echoed,
        latencies(&loaded.latency),
        latencies(&loaded.lateness),
        outcome.cores,
        outcome.growth(),
    )
}

fn latencies(histogram: &Histogram<u64>) -> String {
    let us = |ns: u64| ns as f64 / 1000.0;
    format!(
        "p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs",
        us(histogram.value_at_quantile(0.5)),
        us(histogram.value_at_quantile(0.99)),
        us(histogram.max()),
    )
}

/// Every port that needs no privilege; ours are fewer.
const PORTS: usize = 65_536 - 1024;

/// What a million would need, by the last part's slopes.
pub(crate) fn a_million(outcomes: &[Outcome], per_process: usize, options: &Options<'_>) -> String {
    const MILLION: usize = 1_000_000;
    let Some(last) = outcomes.last() else {
        return String::new();
    };
    let gib = |slope: f64| slope * MILLION as f64 / f64::from(1 << 30);
    let user = slope(&last.samples, |sample| sample.servers_kib);
    let kernel = slope(&last.samples, |sample| sample.slab_kib + sample.tcp_kib);
    let both = slope(&last.samples, Sample::total_kib);
    let mut text =
        "### What a million would need\n\nBy the slopes above, not measured:\n\n".to_owned();
    let mut line = |words: String| {
        let _ = writeln!(text, "- {words}");
    };
    line(format!(
        "servers: {} processes of {per_process} connections, or fewer with more descriptors",
        MILLION.div_ceil(per_process)
    ));
    line(format!(
        "their user-space memory: {:.2} GiB ({user:.0} B each)",
        gib(user)
    ));
    line(format!(
        "the kernel's memory for them: {:.1} GiB ({:.0} B each, half of what both ends take)",
        gib(kernel / 2.0),
        kernel / 2.0
    ));
    line(format!(
        "heartbeats: {:.0} pings per second",
        MILLION as f64 * 1000.0 / options.heartbeat_ms as f64
    ));
    line(format!(
        "clients: {} source addresses at {PORTS} ports each ({} at the {} of this test), {} \
         processes under this limit",
        MILLION.div_ceil(PORTS),
        MILLION.div_ceil(LOCAL_PORTS.len()),
        LOCAL_PORTS.len(),
        MILLION.div_ceil(per_process)
    ));
    line(format!("both ends on one machine: {:.1} GiB", gib(both)));
    if let Some(files) = setting("/proc/sys/fs/file-max") {
        line(format!(
            "open files: {MILLION} for each end (`fs.file-max` is {files})"
        ));
    }
    if last.last.tracked as usize >= last.loaded.open {
        let max = setting("/proc/sys/net/netfilter/nf_conntrack_max").unwrap_or(0);
        line(format!(
            "the packet filter tracks them: `nf_conntrack_max` of {MILLION} (is {max})"
        ));
    }
    text
}
