//! What the next hop is told of the deadline, and what is left of what the last one told.

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;

use crate::base::{TimeoutHeader, says_grpc};

/// In which header it is said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    header: TimeoutHeader,
    /// Calls of gRPC say it in their own.
    by_kind: bool,
}

impl Said {
    pub(super) const fn new(header: TimeoutHeader, by_kind: bool) -> Self {
        Self { header, by_kind }
    }

    /// The one of a message with these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> &TimeoutHeader {
        if self.by_kind && says_grpc(headers) { &TimeoutHeader::Grpc } else { &self.header }
    }
}

/// What becomes of the header of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It says no more than what is left: it stays.
    Keep,
    /// It gets this value.
    Write(HeaderValue),
    /// The time is over, or what the header could say of it is nothing.
    Spent,
}

/// With `left` until the deadline, tell the next hop that less the margin, and never more than the caller wrote.
///
/// A header that the caller wrote and nobody can read is replaced.
pub(super) fn note(header: &TimeoutHeader, headers: &HeaderMap, left: Duration, margin: Duration) -> Note {
    let told = less_margin(left, margin);
    let value = header.encode(told, Duration::ZERO);
    // Milliseconds are whole: half of one would be told as none.
    if told.is_zero() || value == "0" {
        return Note::Spent;
    }
    match header.decode(headers) {
        Ok(Some(written)) if written <= told => Note::Keep,
        _ => Note::Write(value),
    }
}

/// What a margin leaves. It takes a tenth at most: the time that an answer needs for its way back matters less than
/// that a short deadline is not all margin.
pub(super) fn less_margin(time: Duration, margin: Duration) -> Duration {
    time.saturating_sub(margin.min(time / 10))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MARGIN: Duration = Duration::from_millis(10);

    fn millis() -> TimeoutHeader {
        TimeoutHeader::Millis(HeaderName::from_static("x-timeout-ms"))
    }

    fn noted(header: &TimeoutHeader, written: &[&str], left: Duration) -> Note {
        let headers = written.iter().map(|value| (header.name(), value.parse().unwrap())).collect();
        note(header, &headers, left, MARGIN)
    }

    fn write(value: &'static str) -> Note {
        Note::Write(HeaderValue::from_static(value))
    }

    #[test]
    fn the_margin_comes_off_and_takes_a_tenth_at_most() {
        for (left, told) in [(1_000, 990_000), (100, 90_000), (50, 45_000), (10, 9_000), (1, 900)] {
            assert_eq!(less_margin(left * MS, MARGIN), Duration::from_micros(told), "{left} ms");
        }
        assert_eq!(less_margin(Duration::ZERO, MARGIN), Duration::ZERO);
        assert_eq!(less_margin(Duration::MAX, Duration::MAX), Duration::MAX - Duration::MAX / 10);
        assert_eq!(less_margin(MS, Duration::ZERO), MS);
    }

    #[test]
    fn what_is_longer_or_cannot_be_read_is_replaced_and_what_is_shorter_stays() {
        for header in [TimeoutHeader::Grpc, millis()] {
            let (longer, same, shorter, ours) = match header {
                TimeoutHeader::Grpc => ("300m", "290m", "5m", "290000u"),
                TimeoutHeader::Millis(_) => ("300", "290", "5", "290"),
            };
            assert_eq!(noted(&header, &[], 300 * MS), write(ours));
            assert_eq!(noted(&header, &[longer], 300 * MS), write(ours));
            assert_eq!(noted(&header, &["soon"], 300 * MS), write(ours));
            assert_eq!(noted(&header, &[shorter, shorter], 300 * MS), write(ours));
            assert_eq!(noted(&header, &[same], 300 * MS), Note::Keep);
            assert_eq!(noted(&header, &[shorter], 300 * MS), Note::Keep);
        }
    }

    #[test]
    fn a_call_of_grpc_says_it_in_its_own_header_where_that_is_wanted() {
        let grpc = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        )]);
        for (by_kind, headers, expected) in [
            (true, &grpc, TimeoutHeader::Grpc),
            (true, &HeaderMap::new(), millis()),
            (false, &grpc, millis()),
        ] {
            assert_eq!(*Said::new(millis(), by_kind).of(headers), expected);
        }
    }

    #[test]
    fn no_time_is_spent_and_so_is_less_than_the_header_can_say() {
        assert_eq!(noted(&TimeoutHeader::Grpc, &[], Duration::ZERO), Note::Spent);
        assert_eq!(noted(&TimeoutHeader::Grpc, &[], Duration::from_nanos(1)), write("1n"));
        assert_eq!(noted(&millis(), &[], Duration::ZERO), Note::Spent);
        assert_eq!(noted(&millis(), &[], MS), Note::Spent, "0.9 ms would be told as 0");
        assert_eq!(noted(&millis(), &["5"], MS), Note::Spent, "whatever the caller wrote");
        assert_eq!(noted(&millis(), &[], 2 * MS), write("1"));
    }

    proptest! {
        #[test]
        fn the_next_hop_is_never_told_more_than_is_left_nor_more_than_the_caller_wrote(
            left in 0_u64..10_000_000_000_000, margin: u64, written in prop::option::of(0_u64..100_000_000),
            grpc: bool,
        ) {
            let (left, margin) = (Duration::from_nanos(left), Duration::from_nanos(margin));
            let header = if grpc { TimeoutHeader::Grpc } else { millis() };
            let unit = if grpc { "m" } else { "" };
            let mut headers: HeaderMap =
                written.iter().map(|ms| (header.name(), format!("{ms}{unit}").parse().unwrap())).collect();
            match note(&header, &headers, left, margin) {
                Note::Spent => prop_assert!(left <= 2 * MS),
                Note::Keep => {}
                Note::Write(value) => { headers.insert(header.name(), value); }
            }
            if let Some(told) = header.decode(&headers).unwrap() {
                if left > 2 * MS {
                    prop_assert!(told <= left);
                }
                prop_assert!(written.is_none_or(|ms| told <= Duration::from_millis(ms)));
            }
        }
    }
}
