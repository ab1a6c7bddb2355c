//! Promises that hold for every input, checked on many random ones.

mod backoff;
mod budget;
mod ratio;
mod rng;
