//! Tables and verdicts, in Markdown.

use std::fmt::Write as _;

use crate::harness::Race;

/// The name under which this workspace's code runs in every race.
pub const OURS: &str = "ours";

/// Races over one kind of work at several sizes, shown as one table.
#[derive(Debug)]
pub struct Table {
    title: String,
    unit: &'static str,
    columns: Vec<(String, Race)>,
}

impl Table {
    /// A table without columns; `unit` says what a figure is.
    #[must_use]
    pub fn new(title: &str, unit: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            unit,
            columns: Vec::new(),
        }
    }

    /// Adds the race of one size.
    pub fn column(&mut self, head: &str, race: Race) {
        self.columns.push((head.to_owned(), race));
    }

    /// The race of one size.
    #[must_use]
    pub fn race(&self, head: &str) -> Option<&Race> {
        self.columns
            .iter()
            .find(|column| column.0 == head)
            .map(|column| &column.1)
    }

    /// Rows are contenders, columns sizes; behind each figure, how long we take compared with it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "\n### {}\n\n{}; in brackets: ours divided by it.\n\n",
            self.title, self.unit
        );
        let heads: Vec<&str> = self
            .columns
            .iter()
            .map(|column| column.0.as_str())
            .collect();
        text += &format!(
            "| | {} | notes |\n|---|{}---|\n",
            heads.join(" | "),
            "--:|".repeat(heads.len())
        );
        for name in self.names() {
            let cells: Vec<String> = self
                .columns
                .iter()
                .map(|column| cell(&column.1, name))
                .collect();
            let note = self
                .columns
                .iter()
                .map(|column| column.1.note(name))
                .find(|note| !note.is_empty());
            text += &format!(
                "| {name} | {} | {} |\n",
                cells.join(" | "),
                note.unwrap_or_default()
            );
        }
        text
    }

    fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for name in self.columns.iter().flat_map(|column| column.1.names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Whether the targets are met.
#[derive(Debug, Default)]
pub struct Verdicts {
    lines: String,
    missed: usize,
}

impl Verdicts {
    /// Compares ours with the sum of others in the same race.
    pub fn judge(&mut self, case: &str, race: Option<&Race>, base: &[&str], target: f64) {
        self.judge_one(case, race, OURS, base, target);
    }

    /// Compares one contender with the sum of others in the same race.
    pub fn judge_one(
        &mut self,
        case: &str,
        race: Option<&Race>,
        name: &str,
        base: &[&str],
        target: f64,
    ) {
        let Some(race) = race else { return };
        let Some(ratio) = race.ratio(name, base) else {
            let _ = writeln!(self.lines, "- {case}: not measured");
            return;
        };
        let ours = race.median(name).unwrap_or_default();
        let theirs: f64 = base.iter().filter_map(|name| race.median(name)).sum();
        let met = ratio <= target;
        self.missed += usize::from(!met);
        let verdict = if met { "ok" } else { "**missed**" };
        let _ = writeln!(
            self.lines,
            "- {case}: ours {}, {} {}: {ratio:.2} (target {target}) {verdict}",
            figure(ours),
            base.join(" + "),
            figure(theirs)
        );
    }

    /// A line of its own.
    pub fn say(&mut self, met: bool, line: &str) {
        self.missed += usize::from(!met);
        let _ = writeln!(
            self.lines,
            "- {line} {}",
            if met { "ok" } else { "**missed**" }
        );
    }

    /// A line that is neither met nor missed.
    pub fn note(&mut self, line: &str) {
        let _ = writeln!(self.lines, "- {line}");
    }

    /// All lines and their sum.
    #[must_use]
    pub fn markdown(&self) -> String {
        let sum = match self.missed {
            0 => "All targets met.".to_owned(),
            missed => format!("{missed} targets missed."),
        };
        format!("\n### Verdicts\n\n{}\n{sum}\n", self.lines)
    }
}

/// Under what conditions the figures were measured: they mean nothing without.
#[must_use]
pub fn conditions(rounds: usize) -> String {
    format!("{}; medians of {rounds} interleaved rounds.\n", machine())
}

/// Processor, compiler, target CPU and day, without a full stop.
#[must_use]
pub fn machine() -> String {
    // The script that starts us knows them; the processor's name is the system's to tell.
    let told = |name| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("?");
    format!(
        "{}; {}; target CPU {}; {}",
        model.trim_start_matches([' ', '\t', ':']),
        told("BENCH_RUSTC"),
        told("BENCH_CPU"),
        told("BENCH_DATE"),
    )
}

/// Three digits are all that such measurements bear.
#[must_use]
pub fn figure(value: f64) -> String {
    match value {
        small if small < 9.95 => format!("{small:.1}"),
        large => format!("{large:.0}"),
    }
}

fn cell(race: &Race, name: &str) -> String {
    match (race.median(name), race.ratio(OURS, &[name])) {
        (Some(median), Some(ratio)) if name != OURS => format!("{} ({ratio:.2})", figure(median)),
        (Some(median), _) => figure(median),
        (None, _) => String::new(),
    }
}
