//! Whether an answer can be resumed, and whether another goes on where it broke off. Nothing here waits, locks or reads a
//! clock.

use std::ops::RangeInclusive;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What is known of the representation that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Representation {
    /// A strong validator: as long as it is the same, so is every byte (RFC 9110, section 8.8.1).
    tag: HeaderValue,
    pub(super) length: u64,
    encoding: Option<HeaderValue>,
}

impl Representation {
    /// Read it off the answer to a GET without a range, if that can be resumed.
    ///
    /// It has to say how long it is. A layer below that decodes takes the length away and leaves the tag, and then
    /// the bytes that were counted are not those that a range counts.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status != StatusCode::OK || headers.contains_key(TRANSFER_ENCODING) || refuses_ranges(headers) {
            return None;
        }
        let tag = only(headers, &ETAG).filter(|tag| is_strong(tag.as_bytes()))?.clone();
        let length = number(only(headers, &CONTENT_LENGTH)?.as_bytes())?;
        // Of nothing there is no rest.
        (length > 0).then(|| Self { tag, length, encoding: headers.get(CONTENT_ENCODING).cloned() })
    }

    /// Ask for what comes after the first `from` bytes. From the start, that is the request as it was.
    pub(super) fn ask(&self, from: u64, headers: &mut HeaderMap) {
        if from == 0 {
            return;
        }
        let range = HeaderValue::try_from(format!("bytes={from}-"));
        headers.insert(RANGE, range.expect("digits make a field value"));
        // In the place of one that the caller sent, which says nothing without a range (RFC 9110, section 13.1.5).
        headers.insert(IF_RANGE, self.tag.clone());
    }

    /// Whether this answer goes on after the first `from` bytes.
    pub(super) fn judge(&self, from: u64, status: StatusCode, headers: &HeaderMap) -> Judgement {
        let is_changed = match only(headers, &ETAG) {
            Some(tag) if is_strong(tag.as_bytes()) => *tag != self.tag,
            // To an `If-Range`, 200 says by itself that the tag is another.
            _ if status == StatusCode::OK => return Judgement::Changed,
            _ => return Judgement::Unusable,
        };
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT if is_changed => Judgement::Changed,
            StatusCode::OK if from == 0 && Self::of(status, headers).as_ref() == Some(self) => {
                Judgement::GoOn { until: self.length }
            }
            StatusCode::PARTIAL_CONTENT if from > 0 => self.judge_part(from, headers),
            _ => Judgement::Unusable,
        }
    }

    fn judge_part(&self, from: u64, headers: &HeaderMap) -> Judgement {
        let Some(part) = only(headers, &CONTENT_RANGE).and_then(|range| Part::parse(range.as_bytes())) else {
            return Judgement::Unusable;
        };
        if part.complete != self.length {
            return Judgement::Changed;
        }
        let size = part.bytes.end() - part.bytes.start() + 1;
        let is_as_long = match only(headers, &CONTENT_LENGTH) {
            Some(length) => number(length.as_bytes()) == Some(size),
            None => !headers.contains_key(CONTENT_LENGTH),
        };
        // It may be left out of an answer to `If-Range` (RFC 9110, section 15.3.7), not be another.
        let is_coded_alike =
            headers.get(CONTENT_ENCODING).is_none_or(|encoding| Some(encoding) == self.encoding.as_ref());
        if *part.bytes.start() != from || !is_as_long || !is_coded_alike {
            return Judgement::Unusable;
        }
        // A server may send less than was asked for. What is missing then is asked for in its turn.
        Judgement::GoOn { until: part.bytes.end() + 1 }
    }
}

/// What an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Its bytes follow those that were read, up to this offset.
    GoOn { until: u64 },
    /// It is of another representation than the one that was being read.
    Changed,
    /// It does not say that its bytes follow.
    Unusable,
}

/// `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    bytes: RangeInclusive<u64>,
    complete: u64,
}

impl Part {
    fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.split_at_checked(6)?;
        // Names of units are the same in any case (section 14.1).
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let (range, complete) = split(rest, b'/')?;
        let (first, last) = split(range, b'-')?;
        let (first, last, complete) = (number(first)?, number(last)?, number(complete)?);
        (first <= last && last < complete).then_some(Self { bytes: first..=last, complete })
    }
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// Digits, and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The value of a field that stands there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether this is an entity tag, and a strong one (RFC 9110, section 8.8.3).
fn is_strong(value: &[u8]) -> bool {
    let etagc = |byte: &u8| matches!(*byte, 0x21 | 0x23..=0x7e | 0x80..=0xff);
    match value {
        [b'"', opaque @ .., b'"'] => opaque.iter().all(etagc),
        _ => false,
    }
}

/// `Accept-Ranges: none` (RFC 9110, section 14.3).
fn refuses_ranges(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_RANGES).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|unit| unit.trim_ascii().eq_ignore_ascii_case(b"none"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn first() -> Representation {
        let headers = headers(&[("etag", "\"v1\""), ("content-length", "100")]);
        Representation::of(StatusCode::OK, &headers).expect("it can be resumed")
    }

    #[test]
    fn only_a_strong_tag_a_length_and_a_plain_200_can_be_resumed() {
        let can = |status: u16, fields: &[(&'static str, &str)]| {
            Representation::of(StatusCode::from_u16(status).unwrap(), &headers(fields)).is_some()
        };
        let (tag, length) = (("etag", "\"v1\""), ("content-length", "100"));
        assert!(can(200, &[tag, length]));
        assert!(can(200, &[tag, length, ("accept-ranges", "bytes"), ("content-encoding", "gzip")]));
        assert!(can(200, &[("etag", "\"\""), length]), "an empty tag is one");
        assert!(can(200, &[("etag", "\"a'b\\c#\""), length]));
        for status in [201, 203, 204, 206, 304, 404, 500] {
            assert!(!can(status, &[tag, length]), "{status}");
        }
        for bad in
            ["W/\"v1\"", "v1", "\"v1", "v1\"", "\"", "\"a b\"", "\"a\"b\"", "w/\"v1\"", "\"a\", \"b\"", ""]
        {
            assert!(!can(200, &[("etag", bad), length]), "{bad}");
        }
        for bad in ["", "0", "-1", "+1", "1.0", "0x10", "100, 100", "18446744073709551616"] {
            assert!(!can(200, &[tag, ("content-length", bad)]), "{bad}");
        }
        assert!(!can(200, &[tag]), "of unknown length");
        assert!(!can(200, &[length]));
        assert!(!can(200, &[tag, tag, length]), "two tags");
        assert!(!can(200, &[tag, length, length]));
        assert!(!can(200, &[tag, length, ("transfer-encoding", "chunked")]));
        for none in ["none", "None", "bytes, none"] {
            assert!(!can(200, &[tag, length, ("accept-ranges", none)]), "{none}");
        }
    }

    #[test]
    fn the_rest_is_asked_for_with_a_range_and_the_tag() {
        let mut asked = headers(&[("accept", "*/*"), ("if-range", "\"the caller's\"")]);
        first().ask(40, &mut asked);
        assert_eq!(asked, headers(&[("accept", "*/*"), ("range", "bytes=40-"), ("if-range", "\"v1\"")]));
        let mut whole = headers(&[("accept", "*/*")]);
        first().ask(0, &mut whole);
        assert_eq!(whole, headers(&[("accept", "*/*")]), "from the start it is the request as it was");
    }

    #[test]
    fn only_a_part_that_begins_where_the_body_broke_off_goes_on() {
        let judge = |status: u16, fields: &[(&'static str, &str)]| {
            first().judge(40, StatusCode::from_u16(status).unwrap(), &headers(fields))
        };
        let (tag, other) = (("etag", "\"v1\""), ("etag", "\"v2\""));
        let part = |range| ("content-range", range);
        let on = |until| Judgement::GoOn { until };
        for (status, fields, expected) in [
            (206, vec![tag, part("bytes 40-99/100")], on(100)),
            (206, vec![tag, part("Bytes 40-99/100"), ("content-length", "60")], on(100)),
            (206, vec![tag, part("bytes 40-59/100")], on(60)),
            (206, vec![other, part("bytes 40-99/100")], Judgement::Changed),
            (206, vec![tag, part("bytes 40-119/120")], Judgement::Changed),
            (206, vec![part("bytes 40-99/100")], Judgement::Unusable),
            (206, vec![("etag", "W/\"v1\""), part("bytes 40-99/100")], Judgement::Unusable),
            (206, vec![tag], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-99/100"), part("bytes 40-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 39-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 41-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 0-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-99/*")], Judgement::Unusable),
            (206, vec![tag, part("bytes */100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-100/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-39/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes=40-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-99")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40 - 99/100")], Judgement::Unusable),
            (206, vec![tag, part("items 40-99/100")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-99/100"), ("content-length", "61")], Judgement::Unusable),
            (206, vec![tag, part("bytes 40-99/100"), ("content-encoding", "gzip")], Judgement::Unusable),
            (200, vec![other, ("content-length", "100")], Judgement::Changed),
            (200, vec![("content-length", "100")], Judgement::Changed),
            (200, vec![tag, ("content-length", "100")], Judgement::Unusable),
            (416, vec![part("bytes */50")], Judgement::Unusable),
            (304, vec![other], Judgement::Unusable),
            (503, vec![], Judgement::Unusable),
        ] {
            assert_eq!(judge(status, &fields), expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn from_the_start_only_the_same_answer_takes_over() {
        let judge = |status: u16, fields: &[(&'static str, &str)]| {
            first().judge(0, StatusCode::from_u16(status).unwrap(), &headers(fields))
        };
        let (tag, length) = (("etag", "\"v1\""), ("content-length", "100"));
        assert_eq!(judge(200, &[tag, length]), Judgement::GoOn { until: 100 });
        // The head of the first answer is with the reader already.
        assert_eq!(judge(200, &[("etag", "\"v2\""), length]), Judgement::Changed);
        assert_eq!(judge(200, &[length]), Judgement::Changed);
        assert_eq!(judge(200, &[tag, ("content-length", "99")]), Judgement::Unusable);
        assert_eq!(judge(206, &[tag, ("content-range", "bytes 0-99/100")]), Judgement::Unusable);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let likely = prop::sample::select(b"0123456789-/* \"bytesW=,".to_vec());
        prop::collection::vec(prop_oneof![4 => likely, 1 => any::<u8>()], 0..32)
    }

    proptest! {
        #[test]
        fn a_content_range_that_is_written_is_read(first: u64, size in 1..u64::MAX, beyond in 0..u64::MAX) {
            let Some(last) = first.checked_add(size - 1) else { return Ok(()) };
            let Some(complete) = last.checked_add(1).and_then(|end| end.checked_add(beyond)) else { return Ok(()) };
            let read = Part::parse(format!("bytes {first}-{last}/{complete}").as_bytes());
            prop_assert_eq!(read, Some(Part { bytes: first..=last, complete }));
        }

        #[test]
        fn what_is_read_from_any_bytes_is_what_they_say(bytes in text(), prefix: bool) {
            let bytes = if prefix { [b"bytes ".as_slice(), &bytes].concat() } else { bytes };
            if let Some(Part { bytes: range, complete }) = Part::parse(&bytes) {
                prop_assert!(range.start() <= range.end() && *range.end() < complete);
                let said: Vec<u64> = String::from_utf8(bytes).unwrap()[6..]
                    .split(['-', '/']).map(|number| number.parse().unwrap()).collect();
                prop_assert_eq!(said, [*range.start(), *range.end(), complete]);
            }
        }

        #[test]
        fn a_tag_is_strong_only_between_two_quotes(bytes in text()) {
            if is_strong(&bytes) {
                prop_assert!(bytes.len() >= 2 && bytes[0] == b'"' && bytes[bytes.len() - 1] == b'"');
                prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'"').count(), 2);
                prop_assert!(!bytes.contains(&b' '));
            }
        }

        #[test]
        fn nothing_goes_on_but_the_same_bytes_from_the_same_place(
            from in 0..120_u64,
            status in prop::sample::select(vec![200_u16, 206, 304, 416, 503]),
            tag in prop::sample::select(vec!["\"v1\"", "\"v2\"", "W/\"v1\"", "v1"]),
            start in 0..120_u64, size in 1..120_u64, complete in 90..110_u64,
            length in prop::option::of(0..120_u64),
        ) {
            let last = start + size - 1;
            let mut answer = headers(&[("etag", tag), ("content-range", &format!("bytes {start}-{last}/{complete}"))]);
            if let Some(length) = length {
                answer.insert("content-length", length.into());
            }
            let status = StatusCode::from_u16(status).unwrap();
            if let Judgement::GoOn { until } = first().judge(from, status, &answer) {
                prop_assert_eq!(tag, "\"v1\"");
                prop_assert!(until > from && until <= 100);
                if from == 0 {
                    prop_assert_eq!((status.as_u16(), length, until), (200, Some(100), 100));
                } else {
                    prop_assert_eq!((status.as_u16(), start, complete, until), (206, from, 100, last + 1));
                    prop_assert!(length.is_none_or(|length| length == size));
                }
            }
        }
    }
}
