#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target runs one of its functions")]
#[path = "../../tests/properties/token_parsers.rs"]
mod token_parsers;

fuzz_target!(|bytes: &[u8]| {
    token_parsers::discovery(bytes);
});
