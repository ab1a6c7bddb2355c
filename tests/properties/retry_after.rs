use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use stonework::base::{Pushback, RetryAfter};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, now in 0_u64..5_000_000_000) {
        if let Some(after) = RetryAfter::parse(&bytes) {
            let _ = after.wait(at(now));
        }
        let _ = Pushback::parse(&bytes);
    }

    #[test]
    fn nothing_that_looks_like_a_date_panics(
        text in "(Sun|Sunday|Mon),? [ 0-9]{2}[ -](Feb|Dec|Xyz)[ -][0-9]{2,5} [0-9:]{5,9}( GMT| [0-9]{4})?",
    ) {
        let _ = RetryAfter::parse(text.as_bytes());
    }

    #[test]
    fn only_digits_are_a_delay(text in "[-+]?[0-9]{0,25}(\\.[0-9]{1,3})?") {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let expected = digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        prop_assert_eq!(RetryAfter::parse(text.as_bytes()).map(|after| after.wait(at(0))), expected);
    }

    #[test]
    fn a_date_in_any_form_is_the_time_until_then(date in 0_u64..253_402_300_800, now in 0_u64..5_000_000_000) {
        let text = httpdate::fmt_http_date(at(date));
        let wait = RetryAfter::parse(text.as_bytes()).map(|after| after.wait(at(now)));
        prop_assert_eq!(wait, Some(Duration::from_secs(date.saturating_sub(now))));
    }

    #[test]
    fn what_is_sent_is_never_shorter_than_the_wait(secs in 0_u64..u64::MAX, nanos in 0_u32..1_000_000_000) {
        let wait = Duration::new(secs, nanos);
        let sent = RetryAfter::parse(RetryAfter::header_value(wait).as_bytes()).unwrap().wait(at(0));
        prop_assert!(sent >= wait && sent - wait < Duration::from_secs(1));
    }
}
