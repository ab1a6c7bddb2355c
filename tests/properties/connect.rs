//! What a proxy answers, and which hosts have none.

use proptest::prelude::*;

use crate::parsers;

/// Nearly an answer.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("HTTP/1.1 ".to_owned()),
        (100_u16..600).prop_map(|status| format!("HTTP/1.1 {status} Said\r\n")),
        Just("HTTP/1.0 200\r\n\r\n".to_owned()),
        Just("HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        "[a-z]{1,9}: [ -~]{0,20}\r\n",
        Just("\r\n".to_owned()),
        "\\PC{0,9}",
    ];
    prop::collection::vec(part, 0..9).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_answer_of_a_proxy_panics_or_is_taken_for_another(bytes: Vec<u8>, likely in answer()) {
        parsers::connect_head(&bytes);
        parsers::connect_head(&likely);
    }

    #[test]
    fn a_list_of_hosts_without_a_proxy_is_as_good_as_its_entries(
        text in "\\PC{0,30}", likely in "([.*]{0,2}[ab]{1,2}(.[ab])?(:80|:443)?|10.0.0.[0-9](/[0-9]{1,2})?|::1(/128)?|\\[::1\\]:80|\\*|[, ]){0,6}",
    ) {
        parsers::no_proxy(text.as_bytes());
        parsers::no_proxy(likely.as_bytes());
    }
}
