#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target runs one of its functions")]
#[path = "../../tests/properties/parsers.rs"]
mod parsers;

fuzz_target!(|bytes: &[u8]| {
    parsers::trace(bytes);
});
