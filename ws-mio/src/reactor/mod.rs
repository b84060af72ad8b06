//! State. What an event loop keeps.

#[cfg_attr(not(test), expect(dead_code, reason = "the engine is next"))]
mod inbox;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine is next"))]
mod slab;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine is next"))]
mod wheel;

/// What `inbox` locks with, named here so that a model checker's twin can stand in for it.
mod sync {
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

// Not below `inbox`: they would be run with the twin's locks, too, outside of its models.
#[cfg(test)]
#[path = "inbox/tests.rs"]
mod inbox_tests;
