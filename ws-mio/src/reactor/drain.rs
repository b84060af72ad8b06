//! State. A shutdown that is going on: who is still to be told, and when.

use super::slab::Key;
use crate::config::{Report, Shutdown};

pub(super) struct Drain {
    pub(super) plan: Shutdown,
    started_ms: u64,
    /// Those that are still to be told.
    untold: Vec<Key>,
    /// How many there were in the beginning.
    count: u64,
    pub(super) report: Report,
}

/// At the least: a stagger is for crowds.
const CLOSES_PER_MS: u64 = 2;

impl Drain {
    pub(super) fn new(plan: Shutdown, open: Vec<Key>, now_ms: u64) -> Self {
        Self {
            plan,
            started_ms: now_ms,
            count: open.len() as u64,
            untold: open,
            report: Report::default(),
        }
    }

    /// Who is to be told by now.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Key> {
        let elapsed = now_ms.saturating_sub(self.started_ms);
        let stagger = self.stagger_ms();
        let told = if elapsed >= stagger {
            self.count
        } else {
            // At once those of the first tick, so that a few do not wait at all.
            self.count * (elapsed + TICK_MS).min(stagger) / stagger
        };
        let left = usize::try_from(self.count - told).unwrap_or(0);
        self.untold.split_off(left.min(self.untold.len()))
    }

    /// Whether those who are still there are given up on.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.end_ms()
    }

    pub(super) fn next_ms(&self, now_ms: u64) -> u64 {
        if self.untold.is_empty() {
            self.end_ms()
        } else {
            self.end_ms().min(now_ms.saturating_add(TICK_MS))
        }
    }

    fn stagger_ms(&self) -> u64 {
        self.plan.stagger_ms.min(self.count / CLOSES_PER_MS)
    }

    fn end_ms(&self) -> u64 {
        self.started_ms.saturating_add(self.plan.deadline_ms)
    }
}

const TICK_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::{super::slab::Slab, *};

    fn drain(count: usize, stagger_ms: u64) -> Drain {
        let mut slab = Slab::new();
        let keys = (0..count).map(|_| slab.insert(())).collect();
        let plan = Shutdown {
            stagger_ms,
            ..Shutdown::new()
        };
        Drain::new(plan, keys, 1_000)
    }

    #[test]
    fn crowds_are_told_evenly_and_each_once() {
        let mut drain = drain(100_000, 5_000);
        let told: Vec<_> = (1_000..=6_000)
            .step_by(100)
            .map(|now| drain.due(now).len())
            .collect();
        assert_eq!(told[..49], [2_000; 49]);
        assert_eq!(told.iter().sum::<usize>(), 100_000);
        assert_eq!(drain.next_ms(6_000), 31_000);
    }

    #[test]
    fn a_few_are_told_at_once() {
        let mut drain = drain(150, 5_000);
        assert_eq!(drain.due(1_000).len(), 150);
        assert!(!drain.is_over(30_999));
        assert!(drain.is_over(31_000));
    }
}
