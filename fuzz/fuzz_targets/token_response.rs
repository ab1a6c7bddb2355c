#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target runs one of its functions")]
#[path = "../../tests/properties/oauth_parsers.rs"]
mod oauth_parsers;

fuzz_target!(|bytes: &[u8]| {
    oauth_parsers::token_response(bytes);
});
