#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/sse_parsers.rs"]
mod sse_parsers;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (cuts, stream) = input;
    sse_parsers::events(&cuts, &stream);
});
