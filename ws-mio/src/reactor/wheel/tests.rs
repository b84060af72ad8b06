//! The wheel against tables of times, and against a map searched from end to end.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

fn expire_all(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
    std::iter::from_fn(|| wheel.expire(now_ms)).collect()
}

#[test]
fn deadline_is_due_at_the_first_tick_at_or_after_it() {
    // now, deadline, due
    let cases = [
        (0, 1, 100),
        (0, 100, 100),
        (0, 101, 200),
        (99, 100, 100),
        (150, 151, 200),
        (150, 6_349, 6_400),
        (150, 6_400, 6_400),
        (6_350, 6_400, 6_400),
        (6_399, 6_401, 6_500),
        (0, 409_600, 409_600),
        (409_599, 409_601, 409_700),
        (7, 26_214_400 + 13, 26_214_500),
        (7, 1_000 * YEAR_MS + 1, 1_000 * YEAR_MS + 100),
        (u64::MAX - 1_000, u64::MAX - 114, u64::MAX - 15),
    ];
    for (now, at, due) in cases {
        for start in [now, due - 1] {
            let mut wheel = Wheel::new(now);
            wheel.arm(3, at);
            assert_eq!(wheel.armed_at(3), Some(due));
            assert_eq!(wheel.expire(start), None, "{at} early");
            assert_eq!(wheel.armed_at(3), Some(due));
            assert_eq!(wheel.expire(due - 1), None, "{at} early");
            assert!(wheel.next().is_some_and(|next| next <= due), "{at}");
            assert_eq!(wheel.expire(due), Some(3), "{at} late");
            assert_eq!(wheel.expire(due), None);
            assert_eq!((wheel.armed_at(3), wheel.next()), (None, None));
        }
    }
}

#[test]
fn deadline_beside_every_turn_of_a_digit() {
    for level in 1..LEVELS {
        let turn = 1_u64 << (DIGIT_BITS * level as u32);
        for from in [turn.saturating_sub(65), turn - 2, turn - 1, turn] {
            for to in [turn - 1, turn, turn + 1, turn + 63, turn + 64, turn + 65] {
                if from >= to || to >= LAST_TICK {
                    continue;
                }
                let mut wheel = Wheel::new(from * TICK_MS);
                wheel.arm(0, to * TICK_MS);
                assert_eq!(wheel.expire(to * TICK_MS - 1), None, "{from} to {to}");
                assert_eq!(wheel.expire(to * TICK_MS), Some(0), "{from} to {to}");
            }
        }
    }
}

#[test]
fn deadline_that_has_passed_is_due_at_once() {
    for at in [0, 100, 900, 1_000, 1_049, 1_050] {
        let mut wheel = Wheel::new(1_050);
        wheel.arm(0, at);
        assert!(wheel.next().is_some_and(|next| next <= 1_050));
        assert_eq!(wheel.expire(1_050), Some(0), "{at}");
    }
}

#[test]
fn deadline_armed_in_a_round_for_the_past_comes_in_that_round() {
    let mut wheel = Wheel::new(0);
    wheel.arm(0, 100);
    wheel.arm(1, 100);
    wheel.arm(2, 7_000);
    assert_eq!(wheel.expire(60_000), Some(0));
    wheel.arm(0, 59_000);
    wheel.arm(3, 60_001);
    assert_eq!(expire_all(&mut wheel, 60_000), [1, 0, 2]);
    assert_eq!(expire_all(&mut wheel, 60_100), [3]);
}

#[test]
fn one_tick_is_handed_out_in_the_order_of_arming() {
    let mut wheel = Wheel::new(0);
    for index in [4, 1, 3] {
        wheel.arm(index, 500_000);
    }
    wheel.expire(409_600);
    wheel.arm(2, 499_999);
    wheel.arm(0, 499_900);
    wheel.expire(499_800);
    wheel.arm(5, 500_000);
    assert_eq!(expire_all(&mut wheel, 500_000), [0, 4, 1, 3, 2, 5]);
}

#[test]
fn arming_again_replaces() {
    let mut wheel = Wheel::new(0);
    wheel.arm(0, 1_000);
    wheel.arm(0, 90_000);
    assert_eq!(wheel.expire(1_000), None);
    wheel.arm(0, 2_000);
    assert_eq!(expire_all(&mut wheel, 90_000), [0]);
}

#[test]
fn disarmed_is_silent_wherever_it_stood_in_its_slot() {
    for gone in 0..3 {
        let mut wheel = Wheel::new(0);
        (0..3).for_each(|index| wheel.arm(index, 9_000));
        wheel.disarm(gone);
        wheel.disarm(gone);
        assert_eq!(wheel.armed_at(gone), None);
        let left: Vec<u32> = (0..3).filter(|index| *index != gone).collect();
        assert_eq!(expire_all(&mut wheel, 9_000), left);
    }
    let mut wheel = Wheel::new(0);
    wheel.disarm(70_000);
    wheel.arm(0, 9_000);
    wheel.disarm(0);
    assert_eq!((wheel.next(), wheel.armed_at(70_000)), (None, None));
}

#[test]
fn times_up_to_the_last_do_not_overflow() {
    let mut wheel = Wheel::new(0);
    wheel.arm(0, u64::MAX);
    wheel.arm(1, u64::MAX - 16);
    wheel.arm(2, u64::MAX - TICK_MS);
    assert_eq!(wheel.armed_at(0), Some(u64::MAX));
    assert_eq!(expire_all(&mut wheel, u64::MAX - 100), [0; 0]);
    // The last tick begins 15 ms before the end.
    assert_eq!(expire_all(&mut wheel, u64::MAX - 15), [1, 2]);
    // The tick after the last deadline is beyond time: it stays armed.
    assert_eq!(wheel.expire(u64::MAX - 1), None);
    assert_eq!(wheel.next(), Some(u64::MAX));
    let mut wheel = Wheel::new(u64::MAX);
    wheel.arm(0, u64::MAX);
    assert_eq!(wheel.expire(u64::MAX), Some(0));
}

#[test]
fn clock_that_goes_back_changes_nothing() {
    let mut wheel = Wheel::new(10_000);
    wheel.arm(0, 12_000);
    assert_eq!(wheel.expire(11_000), None);
    assert_eq!(wheel.expire(5_000), None);
    wheel.arm(1, 9_000);
    assert_eq!(expire_all(&mut wheel, 5_000), [1]);
    assert_eq!(expire_all(&mut wheel, 12_000), [0]);
}

#[test]
fn wake_ups_for_one_deadline_are_no_more_than_levels() {
    for distance in [99, 6_400, 409_600, 30 * YEAR_MS, u64::MAX / 2] {
        let mut wheel = Wheel::new(12_345);
        wheel.arm(0, 12_345 + distance);
        let mut calls = 0;
        while let Some(next) = wheel.next() {
            wheel.expire(next);
            calls += 1;
        }
        assert!(calls <= LEVELS, "{calls} calls for {distance} ms");
    }
}

/// An idle wheel keeps up with the present: what is armed next is not behind slots of the past.
#[test]
fn empty_wheel_moves_on() {
    let mut wheel = Wheel::new(0);
    assert_eq!(wheel.expire(10_000_000), None);
    wheel.arm(0, 10_000_500);
    assert!(wheel.next().is_some_and(|next| next > 10_000_000));
}

#[derive(Clone, Debug)]
enum Step {
    Arm {
        index: u32,
        delay_ms: i64,
    },
    Disarm(u32),
    Advance(u64),
    /// Advances to `next()`, as an event loop does.
    Wait,
    /// Calls at each tick, so many times.
    Tick(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let index = prop_oneof![4 => 0..12_u32, 1 => 0..2_000_u32];
    let delay = prop_oneof![
        1 => -5_000..=0_i64,
        4 => 0..3_000_i64,
        3 => 0..60_000_i64,
        2 => 0..2_000_000_i64,
        1 => 0..100 * YEAR_MS as i64,
        1 => Just(i64::MAX),
    ];
    let advance = prop_oneof![
        4 => 0..1_000_u64,
        3 => 0..30_000_u64,
        2 => 0..1_000_000_u64,
        1 => 0..40 * YEAR_MS,
    ];
    prop_oneof![
        6 => (index.clone(), delay).prop_map(|(index, delay_ms)| Step::Arm { index, delay_ms }),
        2 => index.prop_map(Step::Disarm),
        2 => advance.prop_map(Step::Advance),
        2 => Just(Step::Wait),
        1 => (1..100_u8).prop_map(Step::Tick),
    ]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0..10_000_000_u64,
        (6..58_u32, 0..1_000_u64)
            .prop_map(|(bits, before)| (TICK_MS << bits).saturating_sub(before)),
        (0..1_000_000_u64).prop_map(|before| u64::MAX - before),
    ]
}

/// Deadlines by index: the tick and the turn in which they were armed.
struct Model {
    now_ms: u64,
    turn: usize,
    deadlines: BTreeMap<u32, (u64, usize)>,
}

impl Model {
    fn apply(&mut self, step: &Step, wheel: &mut Wheel) {
        match *step {
            Step::Arm { index, delay_ms } => self.arm(index, delay_ms, wheel),
            Step::Disarm(index) => {
                wheel.disarm(index);
                self.deadlines.remove(&index);
            }
            Step::Advance(ms) => self.advance(ms, wheel),
            Step::Wait => {
                let next = wheel.next().unwrap_or(self.now_ms);
                self.advance(next.saturating_sub(self.now_ms), wheel);
            }
            Step::Tick(times) => (0..times).for_each(|_| self.advance(TICK_MS, wheel)),
        }
        self.check(wheel);
    }

    fn arm(&mut self, index: u32, delay_ms: i64, wheel: &mut Wheel) {
        let at_ms = self.now_ms.saturating_add_signed(delay_ms);
        let tick = if at_ms <= self.now_ms {
            self.now_ms / TICK_MS
        } else {
            at_ms.div_ceil(TICK_MS)
        };
        wheel.arm(index, at_ms);
        self.turn += 1;
        let deadline = self.deadlines.entry(index).or_insert((tick, self.turn));
        if deadline.0 != tick {
            *deadline = (tick, self.turn);
        }
    }

    fn advance(&mut self, ms: u64, wheel: &mut Wheel) {
        self.now_ms = self.now_ms.saturating_add(ms);
        let present = self.now_ms / TICK_MS;
        let mut due = Vec::new();
        self.deadlines.retain(|index, deadline| {
            let waits = deadline.0 > present;
            if !waits {
                due.push((*deadline, *index));
            }
            waits
        });
        due.sort_unstable();
        let due: Vec<_> = due.into_iter().map(|(_, index)| index).collect();
        assert_eq!(expire_all(wheel, self.now_ms), due, "at {}", self.now_ms);
    }

    fn check(&self, wheel: &Wheel) {
        for index in (0..12).chain(self.deadlines.keys().copied()) {
            let tick = self.deadlines.get(&index).map(|(tick, _)| *tick);
            assert_eq!(wheel.armed_at(index), tick.map(to_ms));
        }
        let first = self.deadlines.values().map(|(tick, _)| to_ms(*tick)).min();
        match (wheel.next(), first) {
            (Some(next), Some(first)) => assert!(next <= first, "{next} is later than {first}"),
            (next, first) => assert_eq!(next, first),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn does_as_a_map_searched_from_end_to_end(now_ms in start(), steps in vec(step(), 0..120)) {
        let mut wheel = Wheel::new(now_ms);
        let mut model = Model { now_ms, turn: 0, deadlines: BTreeMap::new() };
        for step in &steps {
            model.apply(step, &mut wheel);
        }
    }
}
