//! What is measured, in which order, and how it is judged and shown.

use std::{error::Error, fs};

use ws_bench::{harness::median, report::Verdicts};

use crate::{
    client::Opening,
    cycles,
    load::{Load, Turn},
    memory,
    options::{FLOOR, OURS, Options, RAW},
    plot,
    plot::{Chart, Group},
    process::Server,
    race::{Contender, Plan, Race},
    syscalls::Counter,
    tables,
    tables::Row,
    workload::{PING_PONGS, PIPELINES, STREAM, Workload},
};

const STREAMING: &str = "wsd --stream";
const ONE_LOOP: &str = "wsd --loops 1";
const TWO_LOOPS: &str = "wsd --loops 2";

/// What runs, and what it found out.
pub(crate) struct Bench {
    options: Options,
    verdicts: Verdicts,
    /// Cores that other programs had, in every turn that was judged.
    others: Vec<f64>,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            verdicts: Verdicts::default(),
            others: Vec::new(),
        }
    }

    /// Everything; each table is printed when it is known.
    pub(crate) fn run(mut self) -> Result<(), Box<dyn Error>> {
        self.echo(
            "Ping-pong: one message under way on each connection",
            "ping-pong.svg",
            &PING_PONGS,
        )?;
        self.echo(
            "Pipelined: 16 connections, 64 messages under way on each",
            "pipelined.svg",
            &PIPELINES,
        )?;
        self.stream()?;
        self.cycles()?;
        self.loops()?;
        self.syscalls()?;
        self.memory()?;
        println!("{}", self.verdicts.markdown());
        // Under real-time priority they have what these leave them, and disturb nothing.
        if self.options.plan.repeats > 0 && !self.others.is_empty() {
            println!(
                "Other programs kept {:.2} cores busy in the median turn: below 0.1, the figures \
                 can be believed.",
                median(self.others)
            );
        }
        Ok(())
    }

    fn echo(
        &mut self,
        title: &str,
        plot: &str,
        workloads: &[Workload],
    ) -> Result<(), Box<dyn Error>> {
        let contenders = self.options.contenders();
        let turn = self.options.plan.turn;
        let mut races = Vec::new();
        for workload in workloads {
            if !self.options.wants(workload.name) {
                continue;
            }
            let script = workload.script();
            let race = Race::run(
                workload.name,
                &contenders,
                self.options.plan,
                |_, server| {
                    let connections = workload.connections;
                    Load::open(server, Opening::WebSocket, connections, &script)?.turn(server, turn)
                },
            );
            self.judge(&race, OURS, FLOOR, workload.target);
            races.push(race);
        }
        self.show(title, "message", &contenders, &races, FLOOR);
        self.plot_ratios(plot, title, &races, FLOOR)
    }

    fn stream(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.options.wants(STREAM.name) {
            return Ok(());
        }
        let mut contenders = vec![
            self.options.raw.clone(),
            self.options.ours.with(STREAMING, &["--stream"]),
        ];
        contenders.extend(self.options.contenders());
        let raw = (Opening::Raw, STREAM.raw_script());
        let streaming = (Opening::WebSocket, STREAM.streaming_script());
        let turn = self.options.plan.turn;
        let race = Race::run(
            STREAM.name,
            &contenders,
            self.options.plan,
            |name, server| {
                let (opening, script) = if name == RAW { &raw } else { &streaming };
                Load::open(server, *opening, STREAM.connections, script)?.turn(server, turn)
            },
        );
        self.judge(&race, STREAMING, RAW, STREAM.target);
        let title = "One message of 16 MiB at a time, on one connection";
        self.show(title, "message", &contenders, &[race], RAW);
        Ok(())
    }

    fn cycles(&mut self) -> Result<(), Box<dyn Error>> {
        const NAME: &str = "open + upgrade + close";
        if !self.options.wants(NAME) {
            return Ok(());
        }
        let contenders = self.options.contenders();
        let turn = self.options.plan.turn;
        let plan = self.options.plan;
        let race = Race::run(NAME, &contenders, plan, |_, server| {
            cycles::turn(server, turn)
        });
        self.judge(&race, OURS, FLOOR, 1.03);
        let title = "Connections that come and go, 16 at a time";
        let races = [race];
        self.show(title, "cycle", &contenders, &races, FLOOR);
        self.plot_ratios("cycles.svg", title, &races, FLOOR)
    }

    fn loops(&mut self) -> Result<(), Box<dyn Error>> {
        const NAME: &str = "two loops";
        if !self.options.wants(NAME) {
            return Ok(());
        }
        let on_both = |name, loops| Contender {
            cores: "0,1",
            ..self.options.ours.with(name, &["--loops", loops])
        };
        let contenders = [on_both(ONE_LOOP, "1"), on_both(TWO_LOOPS, "2")];
        let turn = self.options.plan.turn;
        let mut races = Vec::new();
        for workload in [&PING_PONGS[0], &PIPELINES[0]] {
            let script = workload.script();
            let name = format!("{NAME}, {}", workload.name);
            let plan = self.options.plan;
            let race = Race::run(&name, &contenders, plan, |_, server| {
                let connections = workload.connections;
                Load::open(server, Opening::WebSocket, connections, &script)?.turn(server, turn)
            });
            self.judge(&race, TWO_LOOPS, ONE_LOOP, 1.05);
            races.push(race);
        }
        let title = "Two loops on both cores, one of which the generator needs, too";
        self.show(title, "message", &contenders, &races, ONE_LOOP);
        Ok(())
    }

    /// Tables of one kind of work: CPU time and throughput.
    fn show(&self, title: &str, unit: &str, contenders: &[Contender], races: &[Race], base: &str) {
        if races.is_empty() {
            return;
        }
        let columns: Vec<String> = contenders.iter().map(|it| it.name.clone()).collect();
        let rows: Vec<Row> = races.iter().map(|race| tables::cpu(race, base)).collect();
        let note = format!(
            "Server's CPU time (user and system) in µs per {unit}; in brackets: divided by the \
             {base}'s, round by round."
        );
        print!("{}", tables::markdown(title, &note, &columns, &rows));
        let note =
            format!("Thousands of {unit}s per second; in brackets: how busy the server was.");
        let rows: Vec<Row> = races.iter().map(tables::throughput).collect();
        print!(
            "{}",
            tables::markdown("Throughput of the same", &note, &columns, &rows)
        );
        for race in races {
            show_failures(race);
        }
    }

    fn judge(&mut self, race: &Race, ours: &str, base: &str, target: f64) {
        self.others.extend(race.others());
        let case = format!("{}: {ours}", race.workload);
        let Some(ratio) = race.ratio(ours, base) else {
            self.verdicts.note(&format!("{case}: not run"));
            return;
        };
        self.verdicts.say(
            ratio <= target,
            &format!("{case} {ratio:.3} × {base} (target {target})"),
        );
    }

    fn syscalls(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.options.wants("system calls") {
            return Ok(());
        }
        let counters = Counter::find();
        let mut races = Vec::new();
        for &counter in &counters {
            races.extend(self.calls(counter));
        }
        let [.., ping_pong, cycle] = &races[..] else {
            println!("\nNeither `perf` nor `strace` works here: no system calls were counted.\n");
            return Ok(());
        };
        let note = "In brackets: those that wait for readiness, of which a server needs the more \
                    the less it has to do. Under `strace` it always has.";
        self.show_counts("System calls", note, &races, tables::calls);
        if let Some(floor) = ping_pong.median(FLOOR) {
            let what = format!("system calls {} (the floor's + 0.02)", ping_pong.workload);
            self.judge_count(&what, ping_pong, floor + 0.02);
        }
        self.judge_count(&format!("system calls {}", cycle.workload), cycle, 10.0);
        Ok(())
    }

    fn calls(&self, counter: Counter) -> [Race; 2] {
        let turn = self.options.plan.turn;
        let script = PING_PONGS[0].script();
        let name = format!("per message, ping-pong 20 B, by {}", counter.name());
        let ping_pong = self.count(&name, 3, |server| {
            let connections = PING_PONGS[0].connections;
            let mut load = Load::open(server, Opening::WebSocket, connections, &script)?;
            load.run(turn / 8)?;
            counter.per_unit(server, || load.run(turn))
        });
        let name = format!("per open + upgrade + close, by {}", counter.name());
        let cycle = self.count(&name, 3, |server| {
            let mut cycles = cycles::Cycles::new(server)?;
            cycles.run(turn / 8)?;
            counter.per_unit(server, || cycles.run(turn))
        });
        [ping_pong, cycle]
    }

    fn memory(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.options.wants("memory") {
            return Ok(());
        }
        let plan = self.options.memory;
        // Once: a process remembers what it allocated.
        let idle = self.count("idle, one short message echoed", 1, |server| {
            Ok(Turn::counted(memory::idle(server, plan)?))
        });
        let long = self.count("after one message of 1 MiB", 1, |server| {
            Ok(Turn::counted(memory::after_long(server, plan)?))
        });
        let races = [idle, long];
        let note = format!(
            "User-space memory in bytes per connection, a slope: from {} to {} connections open, \
             and from {} to {} that have echoed 1 MiB.",
            plan.few, plan.many, plan.long_few, plan.long_many
        );
        self.show_counts("Memory", &note, &races, tables::plain);
        let [idle, long] = &races;
        self.judge_count("bytes per idle connection", idle, 192.0);
        self.judge_count("bytes per connection after 1 MiB", long, 8192.0);
        let group = |race: &Race| Group {
            label: race.workload.clone(),
            values: race.medians().collect(),
        };
        let chart = Chart {
            title: "User-space memory per connection",
            unit: "bytes",
            base: 8.0,
            groups: &[group(idle), group(long)],
        };
        self.plot("memory.svg", &chart)
    }

    /// A race in which something else than CPU time is measured.
    fn count(
        &self,
        name: &str,
        rounds: usize,
        mut count: impl FnMut(&Server) -> Result<Turn, Box<dyn Error>>,
    ) -> Race {
        let contenders = self.options.contenders();
        let plan = Plan {
            rounds,
            ..self.options.plan
        };
        Race::run(name, &contenders, plan, |_, server| count(server))
    }

    fn show_counts(&self, title: &str, note: &str, races: &[Race], row: fn(&Race) -> Row) {
        let contenders = self.options.contenders();
        let columns: Vec<String> = contenders.into_iter().map(|it| it.name).collect();
        let rows: Vec<Row> = races.iter().map(row).collect();
        print!("{}", tables::markdown(title, note, &columns, &rows));
        for race in races {
            show_failures(race);
        }
    }

    fn judge_count(&mut self, what: &str, race: &Race, target: f64) {
        // System calls are told apart by hundredths, bytes by hundreds.
        let places = if target < 100.0 { 3 } else { 0 };
        match race.median(OURS) {
            Some(ours) => self.verdicts.say(
                ours <= target,
                &format!("{what}: {ours:.places$} (target {target:.places$})"),
            ),
            None => self.verdicts.note(&format!("{what}: not run")),
        }
    }

    fn plot_ratios(
        &mut self,
        file: &str,
        title: &str,
        races: &[Race],
        base: &str,
    ) -> Result<(), Box<dyn Error>> {
        let group = |race: &Race| Group {
            label: race.workload.clone(),
            values: race
                .entries
                .iter()
                .filter_map(|entry| Some((entry.name.clone(), race.ratio(&entry.name, base)?)))
                .filter(|(name, _)| name != base)
                .collect(),
        };
        let groups: Vec<Group> = races.iter().map(group).collect();
        let unit = format!("server CPU per message, multiples of the {base}");
        self.plot(
            file,
            &Chart {
                title,
                unit: &unit,
                base: 1.0,
                groups: &groups,
            },
        )
    }

    fn plot(&mut self, file: &str, chart: &Chart<'_>) -> Result<(), Box<dyn Error>> {
        let Some(directory) = &self.options.plots else {
            return Ok(());
        };
        fs::create_dir_all(directory)?;
        plot::draw(&directory.join(file), chart)?;
        Ok(())
    }
}

fn show_failures(race: &Race) {
    for (name, reason) in &race.failures {
        println!("- {}, {name}: not run: {reason}", race.workload);
    }
}
