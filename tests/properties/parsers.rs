//! What must hold of every parser of bytes that a peer sends, whatever the bytes.
//!
//! One function a parser; it panics where a promise is broken, and says whether the bytes were a valid value. The fuzz
//! targets below `fuzz/` run these very functions, and so does `mutations.rs`. What is right is worked out here a
//! second time, in another way.

use std::io::Cursor;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use stonework::base::{
    Delivery, IDEMPOTENCY_KEY, IdempotencyKey, InvalidKey, Kind, Peer, Phase, Pushback, RequestId,
    RetryAfter, Rng, Safety, TRACEPARENT, TRACESTATE, TimeoutHeader, TraceContext, X_REQUEST_ID,
};
use stonework::connect::{ConnectError, Connector, Offer, Progress, Proxy, Target, connect_fn};
use stonework::limit::{ForwardingHeader, TrustedProxies};

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout-ms");
/// The last second of the year 9999, the last that an HTTP date can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// The number that these digits are, if they are digits and nothing else; what is too large for it is `u128::MAX`.
fn number(text: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u128::MAX))
}

/// Header fields of this name, one for each value.
fn fields(name: &HeaderName, values: &[&HeaderValue]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for value in values {
        fields.append(name, (*value).clone());
    }
    fields
}

/// `Retry-After` and `grpc-retry-pushback-ms`.
pub(crate) fn retry_after(bytes: &[u8]) -> bool {
    let parsed = RetryAfter::parse(bytes);
    let pushback = Pushback::parse(bytes);
    let trimmed = bytes.trim_ascii();
    assert_eq!(RetryAfter::parse(trimmed), parsed, "whitespace around it does not matter");
    assert_eq!(Pushback::parse(trimmed), pushback);

    let number = number(trimmed);
    match parsed {
        Some(RetryAfter::Delay(delay)) => {
            let number = number.expect("digits alone are a delay");
            assert_eq!(delay, Duration::from_secs(u64::try_from(number).unwrap_or(u64::MAX)));
            let sent = RetryAfter::header_value(delay);
            assert_eq!(RetryAfter::parse(sent.as_bytes()), parsed, "what is sent is what was read");
        }
        Some(RetryAfter::At(date)) => {
            let since = date.duration_since(SystemTime::UNIX_EPOCH).expect("no date before 1970");
            assert!(since.as_secs() <= LAST_SECOND && since.subsec_nanos() == 0, "{since:?}");
            let canonical = httpdate::fmt_http_date(date);
            assert_eq!(RetryAfter::parse(canonical.as_bytes()), parsed);
            // Of the three forms, the one that is sent has a length of its own.
            if trimmed.len() == canonical.len() {
                assert_eq!(trimmed, canonical.as_bytes());
            }
        }
        None => assert_eq!(number, None, "any number of seconds is a value"),
    }
    match (pushback, number) {
        (Pushback::After(delay), Some(number)) => {
            assert_eq!(delay.as_millis(), number);
            assert!(number <= u128::from(u32::MAX));
        }
        (Pushback::After(delay), None) => panic!("{delay:?} out of no number"),
        (Pushback::Stop, number) => assert!(number.is_none_or(|number| number > u128::from(u32::MAX))),
    }

    let epoch = SystemTime::UNIX_EPOCH;
    if let Some(after) = parsed {
        let (then, later) = (after.wait(epoch), after.wait(epoch + Duration::from_secs(784_111_777)));
        assert!(later <= then, "no wait grows with time");
        assert_eq!(
            after.wait(epoch + Duration::from_secs(LAST_SECOND)).is_zero(),
            match after {
                RetryAfter::At(_) => true,
                RetryAfter::Delay(delay) => delay.is_zero(),
            }
        );
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let wait = parsed.map(|after| after.wait(epoch));
        assert_eq!(RetryAfter::of(&fields(&RETRY_AFTER, &[&value]), epoch), wait);
        let seven = HeaderValue::from_static("7");
        let longest = wait.unwrap_or_default().max(Duration::from_secs(7));
        assert_eq!(RetryAfter::of(&fields(&RETRY_AFTER, &[&value, &seven]), epoch), Some(longest));
        assert_eq!(RetryAfter::of(&fields(&RETRY_AFTER, &[&seven, &value]), epoch), Some(longest));
        assert_eq!(Pushback::of(&fields(&PUSHBACK, &[&value])), Some(pushback));
        assert_eq!(Pushback::of(&fields(&PUSHBACK, &[&value, &value])), Some(Pushback::Stop));
    }
    parsed.is_some()
}

/// `Idempotency-Key`.
pub(crate) fn idempotency_key(bytes: &[u8]) -> bool {
    let visible = bytes.iter().all(|byte| (0x21..=0x7e).contains(byte));
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        assert!(!visible, "what is visible is a field value");
        return false;
    };
    let key = IdempotencyKey::try_from(value.clone());
    let fault = match bytes.len() {
        0 => Some(InvalidKey::Empty),
        1..=255 => (!visible).then_some(InvalidKey::NotVisible),
        _ => Some(InvalidKey::TooLong),
    };
    assert_eq!(key.as_ref().err(), fault.as_ref());

    let headers = fields(&IDEMPOTENCY_KEY, &[&value]);
    assert_eq!(IdempotencyKey::of(&headers), Some(key.clone()));
    let twice = fields(&IDEMPOTENCY_KEY, &[&value, &value]);
    assert_eq!(IdempotencyKey::of(&twice), Some(Err(InvalidKey::Repeated)));
    let safety = |headers| Safety::of(&Method::POST, headers);
    assert_eq!(safety(&headers) == Safety::Keyed, key.is_ok(), "no other key makes a POST safe to repeat");
    assert_eq!(safety(&twice), Safety::Unsafe);

    let Ok(key) = key else { return false };
    assert_eq!(key.as_str().as_bytes(), bytes, "kept byte for byte");
    assert_eq!(key.header_value(), &value);
    assert_eq!(IdempotencyKey::try_from(key.as_str()).as_ref(), Ok(&key));
    assert_eq!(format!("{key:?}"), format!("IdempotencyKey({} bytes)", bytes.len()));
    assert_eq!(HeaderValue::from(key), value);
    true
}

/// `grpc-timeout` and a timeout in milliseconds.
pub(crate) fn timeout_header(bytes: &[u8]) -> bool {
    let grpc = bytes.split_last().and_then(|(unit, digits)| {
        let nanos = match unit {
            b'n' => 1,
            b'u' => 1_000,
            b'm' => 1_000_000,
            b'S' => 1_000_000_000,
            b'M' => 60_000_000_000,
            b'H' => 3_600_000_000_000,
            _ => return None,
        };
        number(digits).filter(|_| digits.len() <= 8).map(|number| number * nanos)
    });
    let millis = number(bytes)
        .filter(|number| bytes.len() <= 20 && *number <= u128::from(u64::MAX))
        .map(|number| number * 1_000_000);
    let mut valid = false;
    for (header, expected) in [(TimeoutHeader::Grpc, grpc), (TimeoutHeader::Millis(TIMEOUT), millis)] {
        valid |= expected.is_some();
        decodes(&header, bytes, expected);
        // The same bytes, as the time that is left and the margin of the hop.
        let eight = |at: usize| {
            let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
            u64::from_le_bytes(std::array::from_fn(|n| byte(at + n)))
        };
        let left = Duration::new(eight(0), (eight(8) % 1_000_000_000) as u32);
        encodes(&header, left, Duration::from_nanos(eight(12)));
    }
    valid
}

/// Whether `bytes` are read as so many nanoseconds, or refused.
fn decodes(header: &TimeoutHeader, bytes: &[u8], expected: Option<u128>) {
    assert_eq!(header.decode(&HeaderMap::new()), Ok(None));
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        assert_eq!(expected, None, "what is valid is a field value");
        return;
    };
    let name = header.name();
    let decoded = header.decode(&fields(&name, &[&value]));
    assert_eq!(decoded.as_ref().ok().copied().flatten().map(|time| time.as_nanos()), expected);
    match decoded {
        Ok(time) => {
            let time = time.expect("the field is there");
            assert_eq!(
                encodes(header, time, Duration::ZERO),
                time,
                "what was read can be handed on as it is"
            );
        }
        Err(refused) => assert_eq!(refused.header(), name),
    }
    assert!(header.decode(&fields(&name, &[&value, &value])).is_err(), "nobody can tell which one counts");
}

/// What arrives at the next hop of the time that is left here: no more than that, less the margin.
fn encodes(header: &TimeoutHeader, left: Duration, margin: Duration) -> Duration {
    let sent = header.encode(left, margin);
    let arrived = header.decode(&fields(&header.name(), &[&sent])).expect("of our own form").expect("there");
    assert!(arrived <= left.saturating_sub(margin), "{left:?} less {margin:?} became {arrived:?}");
    assert_eq!(header.encode(arrived, Duration::ZERO), sent, "one value, one form");
    arrived
}

/// What two proxies add, in some forms, each after the first by one that is asked from 10.0.0.0/8.
const ADDED: &[(ForwardingHeader, [&str; 2], &str)] = &[
    (ForwardingHeader::XForwardedFor, ["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
    (ForwardingHeader::XForwardedFor, ["[2001:db8::7]:4711", "::ffff:10.0.0.2"], "2001:db8::7"),
    (ForwardingHeader::Forwarded, ["for=192.0.2.7", "by=_b;for=10.0.0.2"], "192.0.2.7"),
    (
        ForwardingHeader::Forwarded,
        ["For=\"[2001:db8::7]:4711\";host=\"a,\\\";\\\\\"", "for=\"10.0.0.2:_p\""],
        "2001:db8::7",
    ),
];

/// `X-Forwarded-For` and `Forwarded`: as a client writes them, before what two proxies add; and as one proxy does.
pub(crate) fn forwarded(bytes: &[u8]) -> bool {
    let Ok(written) = HeaderValue::from_bytes(bytes) else { return false };
    let peer = Peer::from(SocketAddr::from(([10, 0, 0, 1], 80)));
    let proxies = TrustedProxies::networks(["10.0.0.0/8"]).expect("a network");
    for (header, [first, second], expected) in ADDED {
        let expected: Option<IpAddr> = expected.parse().ok();
        let value = |text: Vec<u8>| HeaderValue::from_bytes(&text).expect("no control characters");
        let both = value([bytes, b",", first.as_bytes(), b", ", second.as_bytes()].concat());
        let one = value([bytes, b", ", first.as_bytes()].concat());
        let [first, second] = [first, second].map(|text| HeaderValue::from_static(text));
        let hops = TrustedProxies::hops(2).expect("at least one").header(*header);
        let networks = proxies.clone().header(*header);
        for lines in [&[&both][..], &[&written, &first, &second], &[&one, &second], &[&written, &both]] {
            let headers = fields(&header.name(), lines);
            for proxies in [&hops, &networks] {
                let client = proxies.client(peer, &headers);
                assert_eq!(client.ip(), expected, "{proxies} of {lines:?}");
            }
        }
    }

    let last = |header: ForwardingHeader| {
        let hops = TrustedProxies::hops(1).expect("at least one").header(header);
        let headers = fields(&header.name(), &[&written]);
        let found = hops.client(Peer::default(), &headers).ip();
        // Where the peer is trusted, it is believed as far as it can be read.
        let networks = proxies.clone().header(header);
        let client = networks.client(peer, &headers).ip();
        match found {
            Some(ip @ IpAddr::V4(v4)) if v4.octets()[0] != 10 => assert_eq!(client, Some(ip)),
            Some(ip @ IpAddr::V6(_)) => assert_eq!(client, Some(ip)),
            Some(_) => assert!(client.is_some()),
            None => assert_eq!(client, peer.addr().map(|addr| addr.ip())),
        }
        found
    };
    let plain = last(ForwardingHeader::XForwardedFor);
    let entry = bytes.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    assert_eq!(plain, std::str::from_utf8(entry.trim_ascii()).ok().and_then(address));
    let forwarded = last(ForwardingHeader::Forwarded);
    if let Some(elements) = elements(bytes) {
        // Read from its start, by the grammar, as nobody should who has to know which part is whose.
        let expected = elements.last().and_then(|value| node(std::str::from_utf8(value.as_deref()?).ok()?));
        assert_eq!(forwarded, expected);
    }
    plain.is_some() || forwarded.is_some()
}

fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let ip = bare.or_else(|| {
        let (ip, port) = text.rsplit_once(':')?;
        let short = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let socket: SocketAddr = format!("{ip}:80").parse().ok().filter(|_| short)?;
        // What the standard library reads beyond an address: a zone.
        (!ip.contains('%')).then_some(socket.ip())
    });
    ip.map(|ip| ip.to_canonical())
}

/// The address of a node of `Forwarded`, whose IPv6 addresses stand in brackets, and whose ports may be hidden.
fn node(text: &str) -> Option<IpAddr> {
    if text.starts_with('[') || text.matches(':').count() <= 1 {
        let hidden = text.rsplit_once(":_").filter(|(_, name)| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            !name.is_empty() && name.chars().all(allowed)
        });
        return match hidden {
            Some((ip, _)) if ip.ends_with(']') || !ip.contains(':') => address(ip),
            _ => address(text),
        };
    }
    None
}

/// Each element's value of `for`, as it stands there: read by RFC 7239, section 4, from the start to the end. Nothing, if
/// the whole is not of that form.
fn elements(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut all = vec![None];
    let mut rest = bytes;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let token = |rest: &mut &[u8]| {
        let length = rest.iter().take_while(|byte| is_token(byte)).count();
        let (token, left) = rest.split_at(length);
        *rest = left;
        token.to_vec()
    };
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => return Some(all),
            Some((b',', left)) => (rest, _) = (left, all.push(None)),
            Some((b';', left)) => rest = left,
            Some(_) => {
                let name = token(&mut rest);
                rest = rest.strip_prefix(b"=")?;
                let value = if let Some(quoted) = rest.strip_prefix(b"\"") {
                    let mut escaped = false;
                    let end = quoted.iter().position(|byte| {
                        let ends = *byte == b'"' && !escaped;
                        escaped = *byte == b'\\' && !escaped;
                        ends
                    })?;
                    rest = &quoted[end + 1..];
                    quoted[..end].to_vec()
                } else {
                    let value = token(&mut rest);
                    if value.is_empty() { return None } else { value }
                };
                let follows = rest.trim_ascii_start().first();
                if name.is_empty() || !matches!(follows, None | Some(b',' | b';')) {
                    return None;
                }
                if name.eq_ignore_ascii_case(b"for") {
                    let place = all.last_mut().expect("never empty");
                    if place.replace(value).is_some() {
                        return None;
                    }
                }
            }
        }
    }
}

/// What a proxy answers, before there is a tunnel.
pub(crate) fn connect_head(bytes: &[u8]) -> bool {
    let said = bytes.to_vec();
    let transport = connect_fn(move |_: Target| {
        let both = tokio::io::join(Cursor::new(said.clone()), tokio::io::sink());
        async move { std::io::Result::Ok(both) }
    });
    let proxy = Proxy::http("proxy.test").expect("an address");
    let connector = Connector::builder().transport(transport).proxy(proxy).build().expect("it fits");
    let (to, progress) = (Target::new("orders.test", 443, true), Progress::default());
    let mut dial = pin!(connector.dial(&to, Offer::Http1, &progress));
    let Poll::Ready(dialed) = dial.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("all of it is there, and it waits");
    };
    let error = dialed.expect_err("nobody speaks TLS here");
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
    let contains = |text: &str| bytes.windows(text.len()).any(|some| some == text.as_bytes());
    match error.cause() {
        Some(ConnectError::ProxyFailed { .. }) => false,
        Some(ConnectError::ProxyRefused { status, .. }) => {
            assert!(!status.is_success() && contains(status.as_str()), "{status}");
            true
        }
        // There is a tunnel, and at its other end nobody speaks TLS.
        Some(why) => {
            assert!(why.step() == Phase::Tls && contains(" 2") && contains("HTTP/1."), "{error:?}");
            true
        }
        None => panic!("it does not say which step it was: {error:?}"),
    }
}

/// A list of hosts that have no proxy.
pub(crate) fn no_proxy(bytes: &[u8]) -> bool {
    let Ok(list) = std::str::from_utf8(bytes) else { return false };
    let passes = |list: &str, host: &str, port: u16| {
        let proxy = Proxy::http("proxy.test").expect("an address").no_proxy(list);
        !proxy.is_used_for(&Target::new(host, port, true))
    };
    let mut any = false;
    for (host, port) in
        [("a.b", 443), ("b", 80), ("10.0.0.7", 443), ("::1", 80), ("::ffff:10.0.0.7", 443), (list, 1)]
    {
        // A list is as good as its entries, in any letters and order.
        let expected = list
            .split(|letter: char| letter == ',' || letter.is_ascii_whitespace())
            .any(|entry| passes(entry, host, port));
        assert_eq!(passes(list, host, port), expected, "{host} {port} in {list:?}");
        assert_eq!(passes(&list.to_ascii_uppercase(), host, port), expected, "{host} {port} in {list:?}");
        assert!(passes(&format!("{list},*"), host, port));
        any |= expected;
    }
    any
}

/// `traceparent`, or, behind the first line feed, `tracestate` in lines; and `x-request-id`.
pub(crate) fn trace(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    let parent = lines.next().unwrap_or_default();
    let Ok(value) = HeaderValue::from_bytes(parent) else { return false };
    headers.insert(TRACEPARENT, value.clone());
    for line in lines {
        let Ok(value) = HeaderValue::from_bytes(line) else { return false };
        headers.append(TRACESTATE, value);
    }

    headers.insert(X_REQUEST_ID, value);
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    let id = RequestId::read(&headers, &X_REQUEST_ID);
    assert_eq!(id.is_some(), (1..=128).contains(&parent.len()) && parent.iter().all(harmless));

    // By its fields, where the library goes by places.
    let fields: Vec<&[u8]> = parent.trim_ascii().splitn(5, |byte| *byte == b'-').collect();
    let digits = |text: &[u8], count| {
        let all = text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
        text.len() == count && all
    };
    let zeros = |text: &[u8]| text.iter().all(|byte| *byte == b'0');
    let valid = match &fields[..] {
        [version, trace, span, flags, rest @ ..] => {
            digits(version, 2)
                && *version != b"ff"
                && (rest.is_empty() || *version != b"00")
                && digits(trace, 32)
                && !zeros(trace)
                && digits(span, 16)
                && !zeros(span)
                && digits(flags, 2)
        }
        _ => false,
    };
    let read = TraceContext::of(&headers).expect("it is there");
    assert_eq!(read.is_ok(), valid, "{}", String::from_utf8_lossy(parent));
    let Ok(trace) = read else { return false };
    assert_eq!(trace.trace_id().to_string().as_bytes(), fields[1]);
    assert_eq!(trace.span_id().to_string().as_bytes(), fields[2]);
    assert_eq!(trace.is_sampled(), b"13579bdf".contains(&fields[3][1]));

    let child = trace.child(&Rng::seeded(bytes.len() as u64));
    assert_eq!((child.trace_id(), child.state()), (trace.trace_id(), trace.state()));
    for told in [trace, child] {
        let mut written = HeaderMap::new();
        told.write(&mut written);
        assert_eq!(written[TRACEPARENT].len(), 55);
        assert!(written.get(TRACESTATE).is_none_or(|state| !state.is_empty() && state.len() <= 32 * 514));
        assert_eq!(TraceContext::of(&written), Some(Ok(told)), "what is written is read");
    }
    true
}
