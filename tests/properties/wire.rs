use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use stonework::base::TimeoutHeader;

fn headers() -> impl Strategy<Value = TimeoutHeader> {
    let millis = TimeoutHeader::Millis(HeaderName::from_static("x-timeout-ms"));
    prop_oneof![Just(TimeoutHeader::Grpc), Just(millis)]
}

fn durations() -> impl Strategy<Value = Duration> {
    // Every order of magnitude is equally likely, up to what eight digits of hours can say.
    (0_u32..68, any::<u64>(), 0_u32..1_000_000_000).prop_map(|(shift, bits, nanos)| {
        let most = Duration::from_secs(99_999_999 * 3_600);
        let secs = bits.checked_shr(shift).unwrap_or(0);
        let nanos = if shift < 64 { nanos } else { nanos >> (8 * (shift - 64)) };
        Duration::new(secs, nanos).min(most)
    })
}

fn unit(value: &HeaderValue) -> Duration {
    match value.as_bytes().last() {
        Some(b'n') => Duration::from_nanos(1),
        Some(b'u') => Duration::from_micros(1),
        Some(b'S') => Duration::from_secs(1),
        Some(b'M') => Duration::from_secs(60),
        Some(b'H') => Duration::from_secs(3_600),
        _ => Duration::from_millis(1),
    }
}

proptest! {
    #[test]
    fn what_arrives_is_what_is_left_rounded_down_by_less_than_one_unit(
        header in headers(), left in durations(),
    ) {
        let value = header.encode(left, Duration::ZERO);
        let arrived = header.decode(&HeaderMap::from_iter([(header.name(), value.clone())])).unwrap().unwrap();
        prop_assert!(arrived <= left);
        prop_assert!(left - arrived < unit(&value), "{left:?} as {value:?}");
        if header == TimeoutHeader::Grpc {
            prop_assert!(value.len() <= 9);
            prop_assert_eq!(arrived.is_zero(), left.is_zero());
        }
    }

    #[test]
    fn no_hop_hands_on_more_than_it_has_less_the_margin(
        header in headers(), left in durations(), margin in durations(),
    ) {
        let value = header.encode(left, margin);
        prop_assert_eq!(&value, &header.encode(left.saturating_sub(margin), Duration::ZERO));
        let arrived = header.decode(&HeaderMap::from_iter([(header.name(), value)])).unwrap().unwrap();
        prop_assert!(arrived <= left.saturating_sub(margin));
    }

    #[test]
    fn no_value_panics(header in headers(), bytes: Vec<u8>) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let _ = header.decode(&HeaderMap::from_iter([(header.name(), value)]));
        }
    }

    #[test]
    fn only_one_to_eight_digits_and_a_unit_are_a_grpc_timeout(text in "[ +-]?[0-9]{0,10}[HMSmunhs]?") {
        let digits = text.trim_end_matches(['H', 'M', 'S', 'm', 'u', 'n']);
        let valid = (1..=8).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.len() + 1 == text.len();
        let value = HeaderValue::from_str(&text).unwrap();
        let decoded = TimeoutHeader::Grpc.decode(&HeaderMap::from_iter([(TimeoutHeader::Grpc.name(), value)]));
        prop_assert_eq!(decoded.is_ok(), valid);
    }
}
