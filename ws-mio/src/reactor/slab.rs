//! State. A slab in pages: entries never move, indices are reused, a generation tells tenants apart.
//!
//! One growing `Vec` would copy every entry while the loop stands still, and would need both the old
//! and the new memory for that moment. Pages cost one more indexing and are never copied. They are
//! not given back either: what a peak took, the next one finds.

/// Names one tenant of a slab: no later tenant of the same index has an equal key, until a
/// generation has wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// Entries by [`Key`], all operations in constant time.
pub(crate) struct Slab<T> {
    pages: Vec<Box<[Slot<T>; PAGE]>>,
    /// The slot vacated last, whose memory is the likeliest to be in a cache; `NONE` if none is free.
    free: u32,
    len: usize,
}

/// Entries of a slab at most. It is a multiple of a page, and the indices above it are free for
/// marks of others: a poll's own tokens, the timing wheel's list heads.
pub(crate) const CAPACITY: u32 = (u32::MAX >> (32 - INDEX_BITS)) - (RESERVED - 1);

/// So many of the largest tokens, from `usize::MAX` downwards, belong to no key of a slab.
pub(crate) const RESERVED: u32 = 1024;

impl Key {
    /// The key in a poll's token.
    pub(crate) fn to_token(self) -> usize {
        (self.generation as usize) << INDEX_BITS | self.index as usize
    }

    /// The key which became `token`. Any number is a key, though perhaps of no entry.
    pub(crate) fn from_token(token: usize) -> Self {
        Self {
            index: (token & INDEX_MASK) as u32,
            generation: (token >> INDEX_BITS) as u32,
        }
    }

    /// Which place of the slab: dense, for arrays kept beside it.
    pub(crate) fn index(self) -> u32 {
        self.index
    }
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// # Panics
    ///
    /// With [`CAPACITY`] entries, below which the limit of connections has to stay.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Inserts what `make` makes of the key it will have.
    ///
    /// # Panics
    ///
    /// As [`insert`](Self::insert) does.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        if self.free == NONE {
            self.add_page();
        }
        let index = self.free;
        let slot = self
            .slot_mut(index)
            .expect("the free list holds slots of the pages");
        let key = Key {
            index,
            generation: slot.generation,
        };
        // Made before anything changes: if `make` panics, the slot is still free.
        slot.value = Some(make(key));
        self.free = slot.next_free;
        self.len += 1;
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let next_free = self.free;
        let slot = self.tenanted_mut(key)?;
        let value = slot.value.take()?;
        slot.generation = key.generation.wrapping_add(1) & GENERATION_MASK;
        slot.next_free = next_free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.tenanted_mut(key)?.value.as_mut()
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slot(key.index)
            .filter(|slot| slot.generation == key.generation)?
            .value
            .as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of whoever lives at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slot(index)?;
        slot.value.as_ref().map(|_| Key {
            index,
            generation: slot.generation,
        })
    }

    /// All keys by index, in time linear in the most entries there ever were.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let end = (self.pages.len() * PAGE) as u32;
        (0..end).filter_map(|index| self.key_at(index))
    }

    fn add_page(&mut self) {
        let first = (self.pages.len() * PAGE) as u32;
        assert!(
            first < CAPACITY,
            "more entries than a slab can name: limit the connections"
        );
        let last = first + (PAGE as u32 - 1);
        let slots: Vec<_> = (first..=last)
            .map(|index| Slot {
                value: None,
                generation: 0,
                next_free: if index == last { NONE } else { index + 1 },
            })
            .collect();
        let Ok(page) = slots.into_boxed_slice().try_into() else {
            unreachable!("collected from as many indices as a page has")
        };
        self.pages.push(page);
        self.free = first;
    }

    #[inline]
    fn tenanted_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        self.slot_mut(key.index)
            .filter(|slot| slot.generation == key.generation)
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let page = self.pages.get_mut(index as usize / PAGE)?;
        Some(&mut page[index as usize % PAGE])
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let page = self.pages.get(index as usize / PAGE)?;
        Some(&page[index as usize % PAGE])
    }
}

/// `value` beside the two numbers rather than an enum around them: where `T` has a niche, `Option`
/// is free, and a slot is eight bytes more than its tenant.
struct Slot<T> {
    value: Option<T>,
    /// Of the tenant, or of the next one if the slot is vacant.
    generation: u32,
    /// Meaningful only if vacant.
    next_free: u32,
}

/// A power of two, so that the index in the page is a mask and needs no check.
const PAGE: usize = 128;

/// No index, as `CAPACITY` lies below.
const NONE: u32 = u32::MAX;

/// Where a token has 64 bits, index and generation have half each. Of 32 bits the index has 20 (a
/// million connections, whose slots alone are a good part of such a machine's memory), and the
/// generation wraps after 4096 tenants of an index.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const INDEX_MASK: usize = usize::MAX >> (usize::BITS - INDEX_BITS);
const GENERATION_MASK: u32 = (usize::MAX >> INDEX_BITS) as u32;

const _: () = assert!(usize::BITS >= 32 && PAGE.is_power_of_two());
const _: () = assert!(CAPACITY.is_multiple_of(PAGE as u32) && CAPACITY < NONE);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// As large as a connection, with a niche in the box.
    struct Tenant {
        _box: Box<u8>,
        _rest: [u64; 18],
    }

    const _: () = assert!(size_of::<Tenant>() == 152);
    const _: () = assert!(size_of::<Slot<Tenant>>() == 160);
    const _: () = assert!(size_of::<Slot<Box<u8>>>() == size_of::<Box<u8>>() + 8);
    const _: () = assert!(size_of::<Key>() == 8);

    #[test]
    fn key_survives_its_token() {
        for index in [0, 1, 127, 128, CAPACITY - 1] {
            for generation in [0, 1, GENERATION_MASK / 2 + 1, GENERATION_MASK] {
                let key = Key { index, generation };
                assert_eq!(Key::from_token(key.to_token()), key);
                assert!(key.to_token() <= usize::MAX - RESERVED as usize);
            }
        }
    }

    #[test]
    fn reserved_tokens_name_no_entry() {
        for n in 0..RESERVED as usize {
            assert!(Key::from_token(usize::MAX - n).index >= CAPACITY);
        }
        let last = Key {
            index: CAPACITY - 1,
            generation: GENERATION_MASK,
        };
        assert_eq!(last.to_token(), usize::MAX - RESERVED as usize);
        let slab = Slab::<Box<u8>>::new();
        assert!(slab.get(Key::from_token(usize::MAX)).is_none());
    }

    #[test]
    fn slot_vacated_last_is_taken_first() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..3).map(|n| slab.insert(n)).collect();
        assert_eq!(
            keys.iter().map(|key| key.index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        slab.remove(keys[0]);
        slab.remove(keys[2]);
        assert_eq!(slab.insert(7).index, 2);
        assert_eq!(slab.insert(8).index, 0);
        assert_eq!(slab.insert(9).index, 3);
    }

    #[test]
    fn entries_stay_where_they_are() {
        let mut slab = Slab::new();
        let first = slab.insert(0_usize);
        let place: *const usize = slab.get(first).expect("just inserted");
        for n in 1..10 * PAGE {
            slab.insert(n);
        }
        assert!(std::ptr::eq(place, slab.get(first).expect("never removed")));
        assert_eq!(slab.len(), 10 * PAGE);
    }

    #[test]
    fn entry_is_made_of_its_key() {
        let mut slab = Slab::new();
        slab.insert(0);
        let key = slab.insert_with(Key::to_token);
        assert_eq!(slab.get(key), Some(&key.to_token()));
        assert_eq!(key.index(), 1);
    }

    #[test]
    fn panic_while_making_leaves_the_slot_free() {
        let mut slab = Slab::<u8>::new();
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slab.insert_with(|_| panic!("on purpose"))
        }));
        assert!(failed.is_err() && slab.is_empty() && slab.keys().next().is_none());
        assert_eq!(slab.insert(1).index, 0);
        assert_eq!(slab.insert(2).index, 1);
    }

    #[test]
    fn generation_wraps_after_all_its_values() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        slab.pages[0][0].generation = GENERATION_MASK;
        let last = slab.key_at(0).expect("occupied");
        assert!(slab.get(first).is_none());
        assert_eq!(slab.remove(last), Some('a'));
        assert_eq!(slab.insert('b'), first);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        /// Removes the live entry at this place of a list of them.
        Remove(usize),
        /// Writes by the live entry's key.
        Write(usize, u16),
        /// Removes a number of the oldest, so that whole pages become empty.
        RemoveMany(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => any::<u16>().prop_map(Step::Insert),
            3 => any::<usize>().prop_map(Step::Remove),
            2 => (any::<usize>(), any::<u16>()).prop_map(|(at, value)| Step::Write(at, value)),
            1 => (0..40_usize).prop_map(Step::RemoveMany),
        ]
    }

    /// The slab, a map which does the same, and all keys there were.
    #[derive(Default)]
    struct Model {
        entries: HashMap<Key, u16>,
        live: Vec<Key>,
        gone: Vec<Key>,
    }

    impl Model {
        fn apply(&mut self, step: Step, slab: &mut Slab<u16>) {
            match step {
                Step::Insert(value) => {
                    let key = slab.insert(value);
                    assert!(!self.gone.contains(&key), "a key came back");
                    assert_eq!(self.entries.insert(key, value), None, "a key is taken");
                    self.live.push(key);
                }
                Step::Remove(at) if !self.live.is_empty() => {
                    self.remove(at % self.live.len(), slab);
                }
                Step::Write(at, value) if !self.live.is_empty() => {
                    let key = self.live[at % self.live.len()];
                    *slab.get_mut(key).expect("live") = value;
                    self.entries.insert(key, value);
                }
                Step::RemoveMany(count) => {
                    for _ in 0..count.min(self.live.len()) {
                        self.remove(0, slab);
                    }
                }
                Step::Remove(_) | Step::Write(..) => {}
            }
        }

        fn remove(&mut self, at: usize, slab: &mut Slab<u16>) {
            let key = self.live.remove(at);
            assert_eq!(slab.remove(key), self.entries.remove(&key));
            self.gone.push(key);
        }

        fn check(&self, slab: &mut Slab<u16>) {
            assert_eq!(slab.len(), self.entries.len());
            assert_eq!(slab.is_empty(), self.entries.is_empty());
            for key in &self.live {
                assert_eq!(slab.get(*key), self.entries.get(key));
                assert_eq!(slab.key_at(key.index), Some(*key));
            }
            for key in &self.gone {
                assert_eq!(slab.get(*key), None);
                assert_eq!(slab.get_mut(*key), None);
                assert_eq!(slab.remove(*key), None);
            }
            let mut live = self.live.clone();
            live.sort_by_key(|key| key.index);
            assert!(slab.keys().eq(live), "keys by index");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn does_as_a_map_does(steps in vec(step(), 0..800)) {
            let mut slab = Slab::new();
            let mut model = Model::default();
            for (n, step) in steps.into_iter().enumerate() {
                model.apply(step, &mut slab);
                if n % 50 == 0 {
                    model.check(&mut slab);
                }
            }
            model.check(&mut slab);
        }
    }
}
