//! Promises that hold for every input, checked on many random ones.

mod ratio;
mod rng;
