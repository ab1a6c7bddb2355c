//! Promises that hold for every input, checked on many random ones.

mod backoff;
mod ratio;
mod rng;
