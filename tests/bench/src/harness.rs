//! Interleaved races: every contender runs a turn in every round, and medians are taken.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// One program under measurement.
pub struct Contender<'a> {
    /// Its name in the table.
    pub name: String,
    /// What it checks, or how it was driven.
    pub note: &'static str,
    /// Frames, bytes or requests in one pass: what the result is divided by.
    pub units: usize,
    /// One pass over the batch; the time it returns leaves out the preparation.
    pub pass: Box<dyn FnMut() -> Duration + 'a>,
}

/// How long a race takes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds; in each of them every contender has one turn.
    pub rounds: usize,
    /// The least length of a turn.
    pub turn: Duration,
}

impl Plan {
    /// For figures to be believed.
    pub const FULL: Self = Self {
        rounds: 41,
        turn: Duration::from_micros(1500),
    };
    /// For seeing that everything works.
    pub const QUICK: Self = Self {
        rounds: 5,
        turn: Duration::from_micros(300),
    };
}

/// Fewest passes in a turn; the first of them finds the previous contender's data in the caches,
/// hence a median.
const PASSES_MIN: usize = 5;

/// What a race found out: nanoseconds per unit, by contender and round.
#[derive(Debug)]
pub struct Race {
    names: Vec<String>,
    notes: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
}

impl Race {
    /// Lets the contenders run in turn, A B C A B C.
    pub fn run(contenders: &mut [Contender<'_>], plan: Plan) -> Self {
        let mut rounds = vec![Vec::new(); contenders.len()];
        for _ in 0..plan.rounds {
            for (contender, results) in contenders.iter_mut().zip(&mut rounds) {
                results.push(turn(contender, plan.turn));
            }
        }
        Self {
            names: contenders
                .iter()
                .map(|contender| contender.name.clone())
                .collect(),
            notes: contenders.iter().map(|contender| contender.note).collect(),
            rounds,
        }
    }

    /// All names, in the order of running.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What this contender checks, or how it was driven.
    #[must_use]
    pub fn note(&self, name: &str) -> &'static str {
        self.index(name).map_or("", |index| self.notes[index])
    }

    /// The median of all rounds.
    #[must_use]
    pub fn median(&self, name: &str) -> Option<f64> {
        Some(median(self.rounds[self.index(name)?].clone()))
    }

    /// The median over the rounds of one contender's time divided by the sum of others' in the same
    /// round.
    #[must_use]
    pub fn ratio(&self, name: &str, base: &[&str]) -> Option<f64> {
        let ours = &self.rounds[self.index(name)?];
        let base: Option<Vec<usize>> = base.iter().map(|name| self.index(name)).collect();
        let base = base?;
        let ratio = |(round, time): (usize, &f64)| {
            time / base
                .iter()
                .map(|&index| self.rounds[index][round])
                .sum::<f64>()
        };
        Some(median(ours.iter().enumerate().map(ratio).collect()))
    }

    /// The name with the lowest median among those which satisfy the condition.
    #[must_use]
    pub fn fastest(&self, mut among: impl FnMut(&str) -> bool) -> Option<&str> {
        let median = |name: &&str| self.median(name).unwrap_or(f64::MAX);
        self.names()
            .filter(|name| among(name))
            .min_by(|a, b| median(a).total_cmp(&median(b)))
    }

    /// Takes from each round of `name` what `cost` took in the same round.
    pub fn deduct(&mut self, name: &str, cost: &str) {
        if let (Some(name), Some(cost)) = (self.index(name), self.index(cost)) {
            for round in 0..self.rounds[name].len() {
                self.rounds[name][round] -= self.rounds[cost][round];
            }
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|candidate| candidate == name)
    }
}

/// The time a piece of work takes, less the time it takes to look at the clock.
pub fn timed(work: impl FnOnce()) -> Duration {
    static COST: OnceLock<Duration> = OnceLock::new();
    let cost = *COST.get_or_init(|| typical(|| Instant::now().elapsed()));
    let start = Instant::now();
    work();
    start.elapsed().saturating_sub(cost)
}

/// The same by this thread's CPU time: for work of milliseconds, during which others get their turn
/// on a shared machine. Its clock is a system call, and too coarse for shorter work.
pub fn timed_by_cpu(work: impl FnOnce()) -> Duration {
    static COST: OnceLock<Duration> = OnceLock::new();
    let cost = *COST.get_or_init(|| {
        typical(|| {
            let start = cpu_time();
            cpu_time() - start
        })
    });
    let start = cpu_time();
    work();
    (cpu_time() - start).saturating_sub(cost)
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What two looks at a clock cost.
fn typical(look: impl Fn() -> Duration) -> Duration {
    let mut looks: Vec<Duration> = (0..10_001).map(|_| look()).collect();
    looks.sort();
    looks[looks.len() / 2]
}

/// The middle one; the mean of the middle two would invent a figure that nobody measured.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn turn(contender: &mut Contender<'_>, at_least: Duration) -> f64 {
    let start = Instant::now();
    let mut passes = Vec::new();
    while passes.len() < PASSES_MIN || start.elapsed() < at_least {
        passes.push((contender.pass)().as_nanos() as f64 / contender.units as f64);
    }
    median(passes)
}
