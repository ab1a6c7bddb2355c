//! x
#![allow(dead_code, missing_docs)]
#[path = "promises/transport/cut_off.rs"]
mod cut_off;
#[path = "promises/transport/http2.rs"]
mod http2;
#[path = "promises/transport/kit.rs"]
mod kit;
#[path = "promises/transport/reuse.rs"]
mod reuse;
