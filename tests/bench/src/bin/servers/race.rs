//! Interleaved rounds: in each of them every server has one turn, one right after the other.

use std::{error::Error, time::Duration};

use ws_bench::harness::median;

use crate::{
    load::Turn,
    process::{SERVER_CORE, Server},
};

/// A server's command line under a name.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) cores: &'static str,
}

impl Contender {
    pub(crate) fn new(name: &str, command: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            command: command.to_vec(),
            cores: SERVER_CORE,
        }
    }

    /// The same under another name and with more arguments.
    pub(crate) fn with(&self, name: &str, arguments: &[&str]) -> Self {
        let more = arguments.iter().copied().map(str::to_owned);
        Self {
            name: name.to_owned(),
            command: self.command.iter().cloned().chain(more).collect(),
            cores: self.cores,
        }
    }

    pub(crate) fn start(&self) -> Result<Server, Box<dyn Error>> {
        Server::start(&self.command, self.cores)
    }
}

/// How long a race takes.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    /// How often a turn is repeated in which other programs took too much of the machine.
    pub(crate) repeats: usize,
}

impl Plan {
    /// For figures to be believed.
    pub(crate) const FULL: Self = Self {
        rounds: 21,
        turn: Duration::from_millis(130),
        repeats: 2,
    };
    /// For seeing that everything works.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        turn: Duration::from_millis(50),
        repeats: 0,
    };
}

/// What one server did in all rounds.
pub(crate) struct Entry {
    pub(crate) name: String,
    turns: Vec<Turn>,
}

/// What a race found out.
pub(crate) struct Race {
    pub(crate) workload: String,
    pub(crate) entries: Vec<Entry>,
    /// Who did not finish, and why.
    pub(crate) failures: Vec<(String, String)>,
}

impl Race {
    /// Fresh processes for all, then the rounds. A server that fails is out of the race, and the
    /// others go on.
    pub(crate) fn run(
        workload: &str,
        contenders: &[Contender],
        plan: Plan,
        mut turn: impl FnMut(&str, &Server) -> Result<Turn, Box<dyn Error>>,
    ) -> Self {
        let mut race = Self {
            workload: workload.to_owned(),
            entries: Vec::new(),
            failures: Vec::new(),
        };
        let mut servers = Vec::new();
        for contender in contenders {
            match contender.start() {
                Ok(server) => servers.push((contender.name.clone(), server, Vec::new())),
                Err(error) => race.fail(&contender.name, &*error),
            }
        }
        for round in 0..plan.rounds {
            // Back and forth, so that what drifts drifts against everybody.
            if round > 0 {
                servers.reverse();
            }
            servers.retain_mut(|(name, server, turns)| {
                let turn = calmest(plan.repeats, || turn(name, server));
                match turn {
                    Ok(turn) => {
                        turns.push(turn);
                        true
                    }
                    Err(error) => {
                        race.fail(name, &*error);
                        false
                    }
                }
            });
        }
        race.entries = servers
            .into_iter()
            .map(|(name, _, turns)| Entry { name, turns })
            .collect();
        race
    }

    fn fail(&mut self, name: &str, error: &dyn Error) {
        self.failures.push((name.to_owned(), error.to_string()));
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The median of one server's cost.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        Some(self.entry(name)?.median(|turn| turn.cost))
    }

    /// The same of all that were in the race to its end.
    pub(crate) fn medians(&self) -> impl Iterator<Item = (String, f64)> {
        let median = |entry: &Entry| (entry.name.clone(), entry.median(|turn| turn.cost));
        self.entries.iter().map(median)
    }

    /// How many cores others had in each turn.
    pub(crate) fn others(&self) -> impl Iterator<Item = f64> {
        let turns = self.entries.iter().flat_map(|entry| &entry.turns);
        turns.map(|turn| turn.others)
    }

    /// The median over the rounds of one server's cost divided by another's in the same round.
    pub(crate) fn ratio(&self, name: &str, base: &str) -> Option<f64> {
        let pairs = self.entry(name)?.turns.iter().zip(&self.entry(base)?.turns);
        let ratios: Vec<f64> = pairs.map(|(ours, base)| ours.cost / base.cost).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

/// Repeats a turn that others disturbed; the least disturbed counts.
fn calmest(
    repeats: usize,
    mut turn: impl FnMut() -> Result<Turn, Box<dyn Error>>,
) -> Result<Turn, Box<dyn Error>> {
    /// Of a core: above what the clocks can tell from nothing.
    const TOLERATED: f64 = 0.1;

    let mut best = turn()?;
    for _ in 0..repeats {
        if best.others <= TOLERATED {
            break;
        }
        let again = turn()?;
        if again.others < best.others {
            best = again;
        }
    }
    Ok(best)
}

impl Entry {
    /// The median of one figure.
    pub(crate) fn median(&self, figure: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(figure).collect())
    }
}
