#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/quota_parsers.rs"]
mod quota_parsers;

fuzz_target!(|bytes: &[u8]| {
    quota_parsers::limits(bytes);
});
