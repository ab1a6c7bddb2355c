#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target runs one of its functions")]
#[path = "../../tests/properties/keyed_parsers.rs"]
mod keyed_parsers;

fuzz_target!(|bytes: &[u8]| {
    keyed_parsers::record(bytes);
});
