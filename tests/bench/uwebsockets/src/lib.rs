//! Nothing: a package must have a target, and this one is for its lock file. See `build`.
