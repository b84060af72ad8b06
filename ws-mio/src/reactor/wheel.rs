//! State. A hierarchical timing wheel: one deadline per index, armed and disarmed in constant time.
//!
//! Time is cut into ticks, and a tick's number into digits of six bits, one per level. A deadline
//! waits on the level of the highest digit in which it differs from the present tick, in the slot of
//! that digit:
//!
//! ```text
//! level 2   ..[ ][x][ ]..   4096 ticks a slot    when the present reaches a slot, what waits there
//! level 1   ..[x][ ][x]..     64 ticks a slot    is dealt out again among the levels below;
//! level 0   ..[ ][x][x]..      1 tick a slot     here it is due
//! ```
//!
//! There are levels for all digits of the last tick that milliseconds can name, so no deadline is
//! too far, and an empty level costs its heads, half a kilobyte. Digits above a waiting deadline's
//! level equal the present's: every occupied slot lies ahead on its level, and all of a level comes
//! before any of the next. So the next thing to do is the first occupied slot, found by the levels'
//! bitmaps, however far the present jumps.
//!
//! The price: where a high digit turns, all deadlines beyond the turn are dealt out at once. For a
//! million of them, every seven minutes, that took 18 ms on two shared cores of a virtual machine.
//!
//! Slots are lists through an array of links, by index: nothing is allocated to arm a deadline.

use super::slab;

/// The grain of time. A WebSocket's timeouts are seconds; one wake-up serves all deadlines of a tick.
pub(crate) const TICK_MS: u64 = 100;

/// Deadlines of one event loop, by the index of what they are for.
pub(crate) struct Wheel {
    /// As the caller told it last.
    now_ms: u64,
    /// The present tick. While due deadlines are handed out it lags behind `now_ms`.
    tick: u64,
    /// Which slots of each level are occupied.
    occupied: [u64; LEVELS],
    slots: Box<[Slot; LEVELS * SLOTS]>,
    links: Vec<Box<[Link; PAGE]>>,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            now_ms,
            tick: now_ms / TICK_MS,
            occupied: [0; LEVELS],
            slots: Box::new(std::array::from_fn(|slot| Slot::empty(mark(slot)))),
            links: Vec::new(),
        }
    }

    /// Sets the deadline of `index`, in place of the one it may have. It is due at the first tick at
    /// or after `at_ms`; if `at_ms` has passed, at the next call of [`expire`](Self::expire).
    pub(crate) fn arm(&mut self, index: u32, at_ms: u64) {
        let at = if at_ms <= self.now_ms {
            self.tick
        } else {
            at_ms.div_ceil(TICK_MS)
        };
        self.grow_to(index);
        // Most arming puts off a deadline by a little, often by less than a tick.
        if self.link(index).at != at {
            self.disarm(index);
            self.enter(index, at);
        }
    }

    /// As [`arm`](Self::arm), unless a deadline is set that is due as early.
    #[inline]
    pub(crate) fn arm_by(&mut self, index: u32, at_ms: u64) {
        let armed = self.armed_tick(index);
        if armed.is_none_or(|at| at_ms.div_ceil(TICK_MS) < at) {
            self.arm(index, at_ms);
        }
    }

    /// Whether `index` has a deadline.
    #[inline]
    pub(crate) fn is_armed(&self, index: u32) -> bool {
        self.armed_tick(index).is_some()
    }

    pub(crate) fn disarm(&mut self, index: u32) {
        if self.armed_tick(index).is_some() {
            self.leave(index);
            self.link_mut(index).at = DISARMED;
        }
    }

    /// Takes one index whose deadline has come and disarms it; to be called until there is none.
    ///
    /// Earlier ticks come first, and those of one tick in the order in which they were armed. What is
    /// armed in the meantime for a time that has passed comes after those of the tick just handed out:
    /// a caller which arms such deadlines has to bound its round.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<u32> {
        self.now_ms = self.now_ms.max(now_ms);
        let present = self.now_ms / TICK_MS;
        while let Some((level, slot)) = self.first_occupied()
            && self.start_of(level, slot) <= present
        {
            self.tick = self.start_of(level, slot);
            if level == 0 {
                let index = self.slots[slot].first;
                self.disarm(index);
                return Some(index);
            }
            self.deal_out(level, slot);
        }
        self.tick = present;
        None
    }

    /// When to call [`expire`](Self::expire) next: never later than the next deadline's tick, perhaps
    /// earlier, to deal out a slot.
    pub(crate) fn next(&self) -> Option<u64> {
        let (level, slot) = self.first_occupied()?;
        Some(to_ms(self.start_of(level, slot)))
    }

    /// The deadline of `index`, to a tick.
    pub(crate) fn armed_at(&self, index: u32) -> Option<u64> {
        self.armed_tick(index).map(to_ms)
    }

    fn armed_tick(&self, index: u32) -> Option<u64> {
        let page = self.links.get(index as usize / PAGE)?;
        Some(page[index as usize % PAGE].at).filter(|at| *at != DISARMED)
    }

    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot: the present's digits above the level, the slot, and zeros.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = DIGIT_BITS * level as u32;
        let above = self.tick >> shift & !(SLOTS as u64 - 1);
        (above | slot as u64) << shift
    }

    /// Enters all of a slot anew, the present having reached it: each falls by a level at least.
    fn deal_out(&mut self, level: usize, slot: usize) {
        while self.occupied[level] & 1 << slot != 0 {
            let index = self.slots[level * SLOTS + slot].first;
            self.leave(index);
            self.enter(index, self.link(index).at);
        }
    }

    /// Appends to the slot of `at`, which is no tick of the past.
    fn enter(&mut self, index: u32, at: u64) {
        let highest_bit = (at ^ self.tick | 1).ilog2();
        let level = (highest_bit / DIGIT_BITS) as usize;
        let slot = (at >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;

        let slot = level * SLOTS + slot;
        let previous = self.slots[slot].last;
        *self.link_mut(index) = Link {
            at,
            previous,
            next: mark(slot),
        };
        self.set_next(previous, index);
        self.slots[slot].last = index;
    }

    /// Takes out of its slot, wherever that is: the ends of a list tell.
    fn leave(&mut self, index: u32) {
        let Link { previous, next, .. } = *self.link(index);
        self.set_next(previous, next);
        self.set_previous(next, previous);
        if previous == next
            && let Some(slot) = slot_of(next)
        {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
    }

    fn set_next(&mut self, of: u32, next: u32) {
        match slot_of(of) {
            Some(slot) => self.slots[slot].first = next,
            None => self.link_mut(of).next = next,
        }
    }

    fn set_previous(&mut self, of: u32, previous: u32) {
        match slot_of(of) {
            Some(slot) => self.slots[slot].last = previous,
            None => self.link_mut(of).previous = previous,
        }
    }

    /// Indices come from a slab, which has no gaps: so have the pages.
    fn grow_to(&mut self, index: u32) {
        debug_assert!(index < slab::CAPACITY);
        while self.links.len() <= index as usize / PAGE {
            self.links.push(Box::new([Link::DISARMED; PAGE]));
        }
    }

    fn link(&self, index: u32) -> &Link {
        &self.links[index as usize / PAGE][index as usize % PAGE]
    }

    fn link_mut(&mut self, index: u32) -> &mut Link {
        &mut self.links[index as usize / PAGE][index as usize % PAGE]
    }
}

/// The two ends of a slot's list; its own mark if it is empty.
#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

impl Slot {
    fn empty(mark: u32) -> Self {
        Self {
            first: mark,
            last: mark,
        }
    }
}

/// The deadline of an index and its neighbours in the slot's list, or the slot's mark at the ends.
#[derive(Clone, Copy)]
struct Link {
    at: u64,
    previous: u32,
    next: u32,
}

impl Link {
    const DISARMED: Self = Self {
        at: DISARMED,
        previous: 0,
        next: 0,
    };
}

/// What stands for a slot among the indices: a number which no index has.
fn mark(slot: usize) -> u32 {
    FIRST_MARK + slot as u32
}

fn slot_of(index_or_mark: u32) -> Option<usize> {
    index_or_mark
        .checked_sub(FIRST_MARK)
        .map(|slot| slot as usize)
}

/// The last ticks' milliseconds are beyond `u64`: a deadline there never comes.
fn to_ms(tick: u64) -> u64 {
    tick.saturating_mul(TICK_MS)
}

/// Links of a page: 4 KiB.
const PAGE: usize = 256;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = LAST_TICK.ilog2() as usize / DIGIT_BITS as usize + 1;
const LAST_TICK: u64 = u64::MAX.div_ceil(TICK_MS);

const FIRST_MARK: u32 = u32::MAX - (LEVELS * SLOTS) as u32 + 1;
const DISARMED: u64 = u64::MAX;

const _: () = assert!(
    SLOTS == u64::BITS as usize,
    "a bitmap has a bit for each slot"
);
const _: () = assert!(slab::CAPACITY <= FIRST_MARK && LAST_TICK < DISARMED);
const _: () = assert!(size_of::<Link>() == 16);

#[cfg(test)]
mod tests;
