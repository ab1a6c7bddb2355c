//! Where a request stands in a trace: W3C Trace Context, levels 1 and 2.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Rng, context};

/// `traceparent`, of [W3C Trace Context](https://www.w3.org/TR/trace-context-2/): read and written by [`TraceContext`].
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`, of the same, and by the same: [`TraceContext`].
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00, which is also the least of later ones.
const LENGTH: usize = 55;
/// The caller may have recorded it.
const SAMPLED: u8 = 1;
/// The last seven bytes of the trace's identifier are random (level 2).
const RANDOM: u8 = 2;
/// As many members as a `tracestate` may have.
const MOST_MEMBERS: usize = 32;
/// The longest key, and the longest value.
const LONGEST: usize = 256;

/// Where a request stands in a trace, as `traceparent` and `tracestate` say it: the identifiers of the trace and of the span that sent
/// it, whether that was recorded, and what tracing systems have to say of it, which is passed on as it came.
///
/// A server with a [`TraceLayer`](crate::observe::TraceLayer) puts it into the extensions of each request, with a span identifier of its own, and in
/// scope, where clients find it.
///
/// ```
/// use http::HeaderMap;
/// use stonework::base::{Rng, TraceContext};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
/// let caller = TraceContext::of(&headers).unwrap()?;
/// assert_eq!(caller.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!(caller.is_sampled());
///
/// // What is told to the next hop: the same trace, another span.
/// let next = caller.child(&Rng::from_entropy());
/// assert_eq!(next.trace_id(), caller.trace_id());
/// assert_ne!(next.span_id(), caller.span_id());
/// next.write(&mut headers);
/// # Ok::<(), stonework::base::InvalidTrace>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: u8,
    state: Option<HeaderValue>,
}

/// The identifier of a trace: 128 bits that are not all zero. As text, 32 lowercase hexadecimal digits. See
/// [`TraceContext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The identifier of a span: 64 bits that are not all zero. As text, 16 lowercase hexadecimal digits. See
/// [`TraceContext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SpanId {
    fn draw(rng: &Rng) -> Self {
        // One draw in 2⁶⁴ is zero, and the next one is not.
        Self(NonZeroU64::new(rng.next_u64()).unwrap_or(NonZeroU64::MIN))
    }
}

impl TraceContext {
    /// Begin a trace, which says of itself that it is recorded, as OpenTelemetry does unless told otherwise: whoever takes part records what
    /// its parent records.
    ///
    /// ```
    /// use stonework::base::{Rng, TraceContext};
    ///
    /// let trace = TraceContext::start(&Rng::from_entropy());
    /// assert!(trace.is_sampled());
    /// ```
    #[must_use]
    pub fn start(rng: &Rng) -> Self {
        Self::numbered(rng.unique_id(), rng)
    }

    pub(crate) fn numbered(number: u128, rng: &Rng) -> Self {
        let trace = TraceId(NonZeroU128::new(number).unwrap_or(NonZeroU128::MIN));
        Self { trace, span: SpanId::draw(rng), flags: SAMPLED | RANDOM, state: None }
    }

    /// The same trace, and a span of its own.
    #[must_use]
    pub fn child(&self, rng: &Rng) -> Self {
        Self { span: SpanId::draw(rng), ..self.clone() }
    }

    /// Say whether it is recorded.
    #[must_use]
    pub const fn sampled(mut self, sampled: bool) -> Self {
        self.flags = if sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        self
    }

    /// What the work that is called or polled here and now belongs to: that of the request that a [`TraceLayer`](crate::observe::TraceLayer)
    /// has let in. What is spawned has none, unless it is [detached](super::Detach).
    #[must_use]
    pub fn current() -> Option<Self> {
        context::current().and_then(|context| context.trace.clone())
    }

    /// What the headers of a request say, or `None` if there is no `traceparent`.
    ///
    /// A later version is read as far as this one goes. A `tracestate` that cannot be read is left out, which changes nothing in the rest.
    ///
    /// # Errors
    ///
    /// [`InvalidTrace`], where the specification has a new trace begun: the field stands there more than once, is no `traceparent`, or has
    /// an identifier of zeros.
    pub fn of(headers: &HeaderMap) -> Option<Result<Self, InvalidTrace>> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return Some(Err(InvalidTrace(Flaw::Repeated)));
        }
        let parent = parent(value.as_bytes()).map_err(InvalidTrace);
        Some(parent.map(|(trace, span, flags)| Self { trace, span, flags, state: state(headers) }))
    }

    /// Write both headers, in place of what stands there.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.traceparent());
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    fn traceparent(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("digits and dashes make a field value")
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// The span that sends it: `parent-id`, for whoever receives it.
    #[must_use]
    pub const fn span_id(&self) -> SpanId {
        self.span
    }

    /// Whether the sender may have recorded it.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether the last seven bytes of the trace's identifier are known to be random (level 2).
    #[must_use]
    pub const fn is_random(&self) -> bool {
        self.flags & RANDOM != 0
    }

    /// What tracing systems have to say: a `tracestate` that is valid, in one line.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref().and_then(|state| state.to_str().ok())
    }
}

/// As it stands in a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

fn parent(value: &[u8]) -> Result<(TraceId, SpanId, u8), Flaw> {
    // Parsers of HTTP take it off; whoever makes headers by hand may not.
    let value = value.trim_ascii();
    if value.len() < LENGTH {
        return Err(Flaw::Length);
    }
    let version = hex(&value[..2])?;
    if [2, 35, 52].iter().any(|at| value[*at] != b'-') {
        return Err(Flaw::Form);
    }
    match (version, value.get(LENGTH)) {
        (0xff, _) => return Err(Flaw::Version),
        (0, Some(_)) => return Err(Flaw::Length),
        (_, Some(byte)) if *byte != b'-' => return Err(Flaw::Form),
        _ => {}
    }
    let trace = NonZeroU128::new(hex(&value[3..35])?).ok_or(Flaw::Zero)?;
    // Sixteen digits are 64 bits, and two are eight.
    let span = NonZeroU64::new(hex(&value[36..52])? as u64).ok_or(Flaw::Zero)?;
    let flags = hex(&value[53..LENGTH])? as u8;
    let known = if version == 0 { SAMPLED | RANDOM } else { SAMPLED };
    Ok((TraceId(trace), SpanId(span), flags & known))
}

/// The number that up to 32 lowercase digits are.
fn hex(digits: &[u8]) -> Result<u128, Flaw> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(Flaw::Form),
        };
        Ok(number << 4 | u128::from(digit))
    })
}

/// All lines as one, without empty members; nothing, if one member is none.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let first = lines.next()?;
    let mut members = 0;
    let mut joined = Vec::with_capacity(first.len());
    for line in std::iter::once(first).chain(lines) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            members += 1;
            if members > MOST_MEMBERS || !is_member(member) {
                return None;
            }
            if !joined.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(member);
        }
    }
    if joined.is_empty() { None } else { HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok() }
}

fn is_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let goes_on = |byte: &u8| begins(byte) || b"_-*/@".contains(byte);
    let printed = |byte: &u8| matches!(byte, 0x20..=0x7e) && *byte != b'=';
    matches!(key.len(), 1..=LONGEST)
        && key.first().is_some_and(begins)
        && key.iter().all(goes_on)
        && matches!(value.len(), 1..=LONGEST)
        && value.iter().all(printed)
}

/// A `traceparent` that is none; see [`TraceContext::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `traceparent` is invalid: {0}")]
pub struct InvalidTrace(Flaw);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Flaw {
    #[error("it is not made of lowercase hexadecimal digits, with dashes in between")]
    Form,
    #[error("it has not the length of its version")]
    Length,
    #[error("it stands there more than once")]
    Repeated,
    #[error("there is no version ff")]
    Version,
    #[error("an identifier has zeros only")]
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    fn of(parents: &[&str], states: &[&str]) -> Option<Result<TraceContext, InvalidTrace>> {
        let mut headers = HeaderMap::new();
        for value in parents {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        for value in states {
            headers.append(TRACESTATE, value.parse().unwrap());
        }
        TraceContext::of(&headers)
    }

    fn state_of(states: &[&str]) -> Option<String> {
        of(&[GOOD], states).unwrap().unwrap().state().map(str::to_owned)
    }

    #[test]
    fn a_parent_is_read_and_written_as_it_was() {
        assert_eq!(of(&[], &["a=1"]), None, "a state alone says nothing");
        for value in [GOOD, "00-0000000000000000000000000000000a-000000000000000f-03"] {
            assert_eq!(of(&[value], &[]).unwrap().unwrap().to_string(), value);
        }
        for (flags, known) in
            [("00", (false, false)), ("01", (true, false)), ("02", (false, true)), ("03", (true, true))]
        {
            let parent = GOOD.replace("6-01", &format!("6-{flags}"));
            let read = of(&[&parent], &[]).unwrap().unwrap();
            assert_eq!((read.is_sampled(), read.is_random()), known, "{flags}");
        }
        let unknown_flags = of(&["00-12345678901234567890123456789012-1234567890123456-ff"], &[]);
        assert!(unknown_flags.unwrap().unwrap().to_string().ends_with("-03"), "only those that are known");
        assert_eq!(of(&[&format!(" {GOOD}\t")], &[]).unwrap().unwrap().to_string(), GOOD);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_this_one_goes() {
        for value in [
            "cc-12345678901234567890123456789012-1234567890123456-01",
            "01-12345678901234567890123456789012-1234567890123456-ff",
            "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
            "fe-12345678901234567890123456789012-1234567890123456-01-",
        ] {
            assert_eq!(of(&[value], &[]).unwrap().unwrap().to_string(), GOOD, "{value}");
        }
        let glued = of(&["cc-12345678901234567890123456789012-1234567890123456-01.what"], &[]);
        assert_eq!(glued, Some(Err(InvalidTrace(Flaw::Form))));
    }

    #[test]
    fn what_is_no_parent_is_refused_and_the_reason_is_told() {
        for (value, flaw) in [
            ("", Flaw::Length),
            ("00", Flaw::Length),
            ("ff-12345678901234567890123456789012-1234567890123456-01", Flaw::Version),
            (".0-12345678901234567890123456789012-1234567890123456-01", Flaw::Form),
            ("000-12345678901234567890123456789012-1234567890123456-01", Flaw::Form),
            ("0-12345678901234567890123456789012-1234567890123456-01", Flaw::Length),
            ("00-00000000000000000000000000000000-1234567890123456-01", Flaw::Zero),
            ("00-12345678901234567890123456789012-0000000000000000-01", Flaw::Zero),
            ("00-.2345678901234567890123456789012-1234567890123456-01", Flaw::Form),
            ("00-ABCDEF78901234567890123456789012-1234567890123456-01", Flaw::Form),
            ("00-12345678901234567890123456789012-1234567890123456-.1", Flaw::Form),
            ("00-12345678901234567890123456789012-1234567890123456-001", Flaw::Length),
            ("00-12345678901234567890123456789012-1234567890123456-1", Flaw::Length),
            ("00-12345678901234567890123456789012-1234567890123456-01-", Flaw::Length),
            ("00_12345678901234567890123456789012_1234567890123456_01", Flaw::Form),
        ] {
            assert_eq!(of(&[value], &[]), Some(Err(InvalidTrace(flaw))), "{value}");
        }
        assert_eq!(of(&[GOOD, GOOD], &[]), Some(Err(InvalidTrace(Flaw::Repeated))));
        assert!(InvalidTrace(Flaw::Zero).to_string().starts_with("the header `traceparent` is invalid: "));
    }

    #[test]
    fn all_lines_of_a_state_are_one_and_empty_members_are_left_out() {
        for (lines, whole) in [
            (&[][..], None),
            (&[""], None),
            (&[" , ,"], None),
            (&["foo=1"], Some("foo=1")),
            (&["foo=1", "", "bar=2"], Some("foo=1,bar=2")),
            (&["foo=1 \t , \t bar=2, \t baz=3"], Some("foo=1,bar=2,baz=3")),
            (&["foo=1,foo=2"], Some("foo=1,foo=2")),
            (&["foo= 1 2"], Some("foo= 1 2")),
            (&["foo@=1,foo@@bar=1,0z*/_-=~"], Some("foo@=1,foo@@bar=1,0z*/_-=~")),
        ] {
            assert_eq!(state_of(lines).as_deref(), whole, "{lines:?}");
        }
    }

    #[test]
    fn a_state_with_one_bad_member_is_left_out_and_the_parent_stays() {
        for line in
            ["foo", "=1", "foo=", "foo=,bar=3", "foo =1", "FOO=1", "foo.bar=1", "@foo=1", "foo=bar=baz"]
        {
            assert_eq!(state_of(&["a=1", line]), None, "{line}");
        }
        let many =
            |count: usize| (0..count).map(|number| format!("bar{number}=1")).collect::<Vec<_>>().join(",");
        assert!(state_of(&[&many(32)]).is_some() && state_of(&[&many(33)]).is_none());
        for (length, good) in [(256, true), (257, false)] {
            assert_eq!(state_of(&[&format!("{}=1", "z".repeat(length))]).is_some(), good);
            assert_eq!(state_of(&[&format!("z={}", "1".repeat(length))]).is_some(), good);
        }
    }

    #[test]
    fn a_trace_that_begins_here_is_random_and_its_children_are_of_it() {
        let rng = Rng::seeded(1);
        let first = TraceContext::start(&rng);
        assert!(first.is_sampled() && first.is_random());
        assert!(!first.clone().sampled(false).is_sampled() && first.clone().sampled(false).is_random());
        let child = first.child(&rng);
        assert_eq!((child.trace_id(), child.flags), (first.trace_id(), first.flags));
        assert_ne!(child.span_id(), first.span_id());
        assert_ne!(TraceContext::start(&rng).trace_id(), first.trace_id());
        let mut headers = HeaderMap::from_iter([(TRACESTATE, HeaderValue::from_static("of=another"))]);
        child.write(&mut headers);
        assert_eq!(TraceContext::of(&headers), Some(Ok(child)));
    }
}
