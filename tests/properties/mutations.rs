//! The parsers of foreign bytes under 100 000 mutations each (those of JSON under 20 000), the same in every run. `fuzz/` looks further.

use stonework::base::Rng;

use crate::{keyed_parsers, oauth_parsers, parsers, quota_parsers, token_parsers};

const MUTATIONS: u32 = 100_000;

const RETRY_AFTER: &[&[u8]] = &[
    b"0",
    b"120",
    b" 007\t",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-1",
    b"+1",
    b"1.5",
    b"1e3",
    b"0x10",
    b"",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Thu, 29 Feb 2024 23:59:59 GMT",
    b"Sun, 31 Feb 1994 08:49:37 GMT",
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b"Wed, 31 Dec 1969 23:59:59 GMT",
    b"Fri, 31 Dec 9999 23:59:59 GMT",
    b"Fri, 31 Dec 9999 23:59:60 GMT",
    b"Tuesday, 29-Feb-00 24:00:00 GMT",
    "１２０".as_bytes(),
];

const QUOTAS: &[&[u8]] = &[
    br#""a";r=0;t=10"#,
    br#""burst";r=50;t=30, "day";r=0;t=86400"#,
    br#""a";q=100;w=60;qu="requests";pk=:YQ==:"#,
    br#""a";r=0;t=10;pk=:YQ==:, "a";r=1;t=5"#,
    br#""\"a\\";r=999999999999999;t=999999999999999"#,
    br#""a";r=-1;t=1.5, b;r=?1, ("c" "d");r=@5"#,
    b"limit=100, remaining=0, reset=10",
    b"",
];

const RECORDS: &[&[u8]] = &[
    b"\x01\x00\xc8\0\0\0\0\0\0\0\0\0",
    b"\x01\x00\xc9\0\0\0\x01\0\0\0\x01a\0\0\0\x01b\0\0\0\x02cd\0",
    b"\x01\x01\x94\0\0\0\x02\0\0\0\x08location\0\0\0\x02/7\0\0\0\x01x\0\0\0\0\0\0\0\x04body\x01\0\0\0\x01\0\0\0\x05x-sum\0\0\0\x017",
    b"\x01\x00\xc8\0\0\0\0\0\0\0\x0cbinary \0\xff\x80\x01\n\x01\0\0\0\0",
    b"\x02\x00\xc8\0\0\0\0\0\0\0\0\0",
];

const KEYS: &[&[u8]] = &[
    b"a",
    b"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
    b"order-42",
    b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
    &[b'k'; 254],
    &[b'k'; 255],
    &[b'k'; 256],
    b"two words",
    b"tab\t",
    b"\x7f",
    b"\r\nx: y",
    b"",
    "schlüssel".as_bytes(),
];

const TRACES: &[&[u8]] = &[
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    b" 00-00000000000000000000000000000001-0000000000000001-ff\t",
    b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-the-future-will-be-like",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02\nfoo=1,bar= 2 , ,0z*/_@-=~\n\nbaz=3",
    b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    b"order-42",
    b"",
];

const TIMEOUTS: &[&[u8]] = &[
    b"0n",
    b"1u",
    b"250m",
    b"3S",
    b"4M",
    b"5H",
    b"99999999H",
    b"00000001S",
    b"100000000n",
    b"5s",
    b"S",
    b"-1S",
    b"1 S",
    b"0",
    b"1500",
    b"18446744073709551615",
    b"18446744073709551616",
    b"00000000000000000001",
    b"000000000000000000001",
    b"",
];

const FORWARDED: &[&[u8]] = &[
    b"192.0.2.7",
    b"203.0.113.9, 192.0.2.7:8080",
    b"203.0.113.9,, 2001:db8::7",
    b"[2001:db8::7]:4711",
    b"::ffff:192.0.2.7 ",
    b"10.0.0.3, 10.0.0.2",
    b"fe80::1%eth0",
    b"[fe80::1%2]:80",
    b"unknown",
    b"for=192.0.2.7",
    b"for=_hidden, for=192.0.2.7;proto=https",
    b"For=\"[2001:db8::7]:4711\"; by=203.0.113.43",
    b"host=\"a,\\\";b\\\\\";for=\"192.0.2.7:_port\"",
    b"for=\"[::ffff:192.0.2.7]\"",
    b"for=192.0.2.7;for=192.0.2.8",
    b"for=\"192.0.2.7",
    b"\"\\\"",
    b";;,;for=192.0.2.7;",
    b"",
];

const TOKENS: &[&[u8]] = &[
    br#"{"alg":"HS256"}"#,
    br#"{"typ":"at+jwt","alg":"HS256","x":[{"y":null}]}"#,
    br#"{"alg":"HS256","kid":"nobody","typ":"application/JWT"}"#,
    br#"{"alg":"EdDSA","kid":"ed"}"#,
    br#"{"alg":"none"}"#,
    br#"{"alg":"HS256","crit":["exp"]}"#,
    br#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#,
    br#"{"iss":"i","aud":"a","exp":2000000000}"#,
    br#"{"iss":"i","aud":["b","a"],"exp":2e9,"nbf":5.5,"iat":-3,"jti":"\u006a","scope":"a b","roles":["r"]}"#,
    br#"{"iss":"i","aud":"a","exp":1000000000,"sub":"s","scp":["a","b c"],"roles":{"x":1}}"#,
    b"eyJhbGciOiJIUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"eyJhbGciOiJub25lIn0.e30.",
    b"",
];

const JWKS: &[&[u8]] = &[
    br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    br#"{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    br#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
    br#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
    br#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}"#,
];

const KEY_SETS: &[&[u8]] = &[
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"AKP"}]}"#,
    br#"{"keys":[1,{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}],"x":{}}"#,
    br#"{"keys":[]}"#,
    br#"[["keys"]]"#,
];

const DOCUMENTS: &[&[u8]] = &[
    br#"{"issuer":"https://i.example","jwks_uri":"https://i.example/keys"}"#,
    br#"{"jwks_uri":"https://keys.example:8443/a?b=c","a":{"b":[1,null]},"issuer":"https://i.example"}"#,
    br#"{"issuer":"https://j.example","jwks_uri":"https://i.example/keys"}"#,
    br#"{"issuer":"https://i.example","jwks_uri":"http://me:secret@i.example/keys#a"}"#,
];

const TOKEN_RESPONSES: &[&[u8]] = &[
    br#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":3600,"scope":"a b"}"#,
    br#"{"token_type":"bearer","access_token":"t","expires_in":"60"}"#,
    br#"{"access_token":"t","token_type":"Bearer","expires_in":-1e300,"x":[{"y":null}]}"#,
    br#"{"access_token":"\u0074","token_type":"BEARER","expires_in":null,"refresh_token":"r"}"#,
    br#"{"error":"invalid_client","error_description":"no"}"#,
];

const INTROSPECTIONS: &[&[u8]] = &[
    br#"{"active":true,"iss":"i","aud":"a","sub":"s","client_id":"c","scope":"a b","exp":4102444800}"#,
    br#"{"active":true,"iss":"i","aud":["b","a"],"exp":4e9,"nbf":5.5,"roles":["r"],"username":"u"}"#,
    br#"{"active":true,"iss":"i","aud":"a","client_id":null,"x":{"y":[1]}}"#,
    br#"{"active":false}"#,
];

fn pick<'a>(rng: &Rng, seeds: &[&'a [u8]]) -> &'a [u8] {
    seeds[rng.below(seeds.len() as u64) as usize]
}

/// A place in `bytes`, or just behind them.
fn place(rng: &Rng, bytes: &[u8]) -> usize {
    rng.below(bytes.len() as u64 + 1) as usize
}

fn digits(rng: &Rng, most: u64) -> Vec<u8> {
    (0..=rng.below(most)).map(|_| b'0' + rng.below(10) as u8).collect()
}

fn mutate(rng: &Rng, seeds: &[&[u8]], bytes: &mut Vec<u8>) {
    let at = place(rng, bytes);
    let to = at + rng.below((bytes.len() - at) as u64 + 1) as usize;
    match rng.below(9) {
        // One bit; another digit or letter of the seeds; any byte.
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        1 if at < bytes.len() => bytes[at] = pick(rng, seeds).first().copied().unwrap_or(b' '),
        2 if at < bytes.len() => bytes[at] = b'0' + rng.below(10) as u8,
        3 => bytes.insert(at, rng.below(256) as u8),
        4 => drop(bytes.drain(at..to)),
        5 => {
            let twice = bytes[at..to].to_vec();
            drop(bytes.splice(at..at, twice));
        }
        6 => {
            // The end of another one.
            let other = pick(rng, seeds);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[place(rng, other)..]);
        }
        7 => drop(bytes.splice(at..to, digits(rng, 40))),
        _ => *bytes = digits(rng, 21),
    }
}

/// The mutation that broke a promise, in the output of the test.
struct Told<'a>(&'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the bytes were b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn survives(parser: fn(&[u8]) -> bool, seeds: &[&[u8]]) {
    survives_so_many(MUTATIONS, 0.1, parser, seeds);
}

/// Of JSON most mutations are none.
fn json_survives(parser: fn(&[u8]) -> bool, seeds: &[&[u8]]) {
    survives_so_many(MUTATIONS / 5, 0.02, parser, seeds);
}

fn survives_so_many(mutations: u32, least: f64, parser: fn(&[u8]) -> bool, seeds: &[&[u8]]) {
    let rng = Rng::seeded(6_585);
    let mut valid = 0;
    let mut seen = |bytes: &[u8]| {
        let _told = Told(bytes);
        valid += u32::from(parser(bytes));
    };
    seeds.iter().for_each(|seed| seen(seed));
    for _ in 0..mutations {
        let mut bytes = pick(&rng, seeds).to_vec();
        for _ in 0..=rng.below(3) {
            mutate(&rng, seeds, &mut bytes);
        }
        seen(&bytes);
    }
    // Values that are all refused, or all accepted, would prove little.
    let share = f64::from(valid) / f64::from(mutations);
    assert!((least..0.9).contains(&share), "{share} of the mutations were valid");
}

#[test]
fn mutations_of_what_a_server_says_of_its_limits_do_no_harm() {
    // It counts those that leave nothing, and not all that can be read.
    survives_so_many(MUTATIONS, 0.02, quota_parsers::limits, QUOTAS);
}

#[test]
fn mutations_of_a_retry_after_and_its_dates_do_no_harm() {
    survives(parsers::retry_after, RETRY_AFTER);
}

#[test]
fn mutations_of_an_idempotency_key_do_no_harm() {
    survives(parsers::idempotency_key, KEYS);
}

#[test]
fn mutations_of_the_key_of_a_request_do_no_harm() {
    // Each of them goes through the whole layer.
    survives_so_many(MUTATIONS / 5, 0.1, keyed_parsers::key, KEYS);
}

#[test]
fn mutations_of_a_kept_answer_do_no_harm() {
    // One length that is another one, and it is none.
    survives_so_many(MUTATIONS, 0.02, keyed_parsers::record, RECORDS);
}

#[test]
fn mutations_of_a_timeout_header_do_no_harm() {
    survives(parsers::timeout_header, TIMEOUTS);
}

#[test]
fn mutations_of_a_place_in_a_trace_do_no_harm() {
    survives(parsers::trace, TRACES);
}

#[test]
fn mutations_of_a_list_of_forwarded_addresses_do_no_harm() {
    survives(parsers::forwarded, FORWARDED);
}

#[test]
fn mutations_of_a_token_and_its_parts_do_no_harm() {
    json_survives(token_parsers::token, TOKENS);
}

#[test]
fn mutations_of_a_key_do_no_harm() {
    json_survives(token_parsers::jwk, JWKS);
}

#[test]
fn mutations_of_a_set_of_keys_do_no_harm() {
    json_survives(token_parsers::jwks, KEY_SETS);
}

#[test]
fn mutations_of_a_discovery_document_do_no_harm() {
    json_survives(token_parsers::discovery, DOCUMENTS);
}

#[test]
fn mutations_of_an_answer_with_a_token_do_no_harm() {
    json_survives(oauth_parsers::token_response, TOKEN_RESPONSES);
}

#[test]
fn mutations_of_an_answer_about_a_token_do_no_harm() {
    json_survives(oauth_parsers::introspection, INTROSPECTIONS);
}
