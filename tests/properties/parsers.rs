//! What must hold of every parser of bytes that a peer sends, whatever the bytes.
//!
//! One function a parser; it panics where a promise is broken, and says whether the bytes were a valid value. The fuzz
//! targets below `fuzz/` run these very functions, and so does `mutations.rs`. What is right is worked out here a
//! second time, in another way.

use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use stonework::base::{
    IDEMPOTENCY_KEY, IdempotencyKey, InvalidKey, Pushback, RetryAfter, Safety, TimeoutHeader,
};

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
