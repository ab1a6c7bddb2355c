//! Properties that hold for any input.

mod body;
