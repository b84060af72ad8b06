//! State. What an event loop keeps.

#[cfg_attr(not(test), expect(dead_code, reason = "the engine is next"))]
mod slab;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine is next"))]
mod wheel;
