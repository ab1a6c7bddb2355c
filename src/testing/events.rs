use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{CallId, Delivery, Ending, Event, Observer};

/// An [`Observer`] that keeps every event. Clones share what they keep: give one to a layer, ask another.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use stonework::retry::RetryLayer;
/// use stonework::testing::{Recorder, Scripted, Step};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let answer = |status| Step::Answer(Response::builder().status(status).body(String::new()).expect("valid"));
/// let flaky = Scripted::<Request<Full<Bytes>>, _>::steps([answer(502), answer(200)]);
///
/// let recorder = Recorder::new();
/// let service = ServiceBuilder::new().layer(RetryLayer::new().observer(recorder.clone())).service(flaky);
/// service.oneshot(Request::get("/").body(Full::default()).unwrap()).await.expect("answered");
///
/// assert_eq!(recorder.events().len(), 5); // started, ended, scheduled, started, ended
/// let timeline = recorder.timeline();
/// assert!(timeline.starts_with("call 1 attempt 1 at 0ns: 502 Bad Gateway (failure) after 0ns; again in "));
/// assert!(timeline.ends_with(": 200 OK (success) after 0ns\n"));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<(Instant, Event)>>>);

impl Recorder {
    /// A recorder with no events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every event so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.kept().iter().map(|(_, event)| event.clone()).collect()
    }

    /// Takes the events out, and starts anew.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.kept()).into_iter().map(|(_, event)| event).collect()
    }

    /// All events so far with the instants at which they were told, in that order.
    #[must_use]
    pub fn timed_events(&self) -> Vec<(Instant, Event)> {
        self.kept().clone()
    }

    /// One line for each attempt, in the order they started, and one for whatever happens to a circuit, for people to read:
    ///
    /// ```text
    /// call 1 attempt 1 at 0ns: 503 Service Unavailable (overload) after 12ms; again in 1s
    /// call 1 attempt 2 at 1.012s: the transport failed (failure, delivery unknown) after 3ms; not again: the retry budget is spent
    /// call 2 attempt 1 at 2s: no answer
    /// circuit example.com at 2.5s: closed, now open for 5s: too many failures
    /// ```
    ///
    /// Calls are numbered as they first appear, and times count from the first event, so that two runs on a paused
    /// clock read the same. The wording may change; match on [`events`](Self::events) instead.
    #[must_use]
    pub fn timeline(&self) -> String {
        let kept = self.kept();
        let Some((start, _)) = kept.first() else { return String::new() };
        let mut lines = Lines::default();
        for (at, event) in kept.iter() {
            match event {
                Event::AttemptStarted { call, attempt } => {
                    lines.begin(*call, *attempt, format_args!("at {:?}: ", *at - *start));
                }
                Event::AttemptEnded { call, attempt, ending, outcome, delivery, elapsed } => {
                    let outcome = format!("{outcome:?}").to_lowercase();
                    let line = lines.of(*call, *attempt);
                    line.ended = true;
                    let _ = match ending {
                        Ending::Dropped => write!(line.text, "dropped ({outcome}) after {elapsed:?}"),
                        Ending::Status(status) => write!(line.text, "{status} ({outcome}) after {elapsed:?}"),
                        Ending::Error(kind) => {
                            write!(line.text, "{kind} ({outcome}, {}) after {elapsed:?}", words(*delivery))
                        }
                    };
                }
                Event::RetryScheduled { call, attempt, delay } => {
                    // It names the attempt to come; the line belongs to the one before.
                    let line = lines.of(*call, attempt.saturating_sub(1));
                    let _ = write!(line.behind, "; again in {delay:?}");
                }
                Event::RetrySkipped { call, attempt, why } => {
                    let line = lines.of(*call, *attempt);
                    let _ = write!(line.behind, "; not again: {why}");
                }
                Event::CircuitChanged { circuit, from, to, why, open_for } => {
                    let length = open_for.map(|length| format!(" for {length:?}")).unwrap_or_default();
                    lines.note(format_args!(
                        "{}: {from}, now {to}{length}: {why}",
                        at_of("circuit", circuit, *at - *start)
                    ));
                }
                Event::CircuitProbed { circuit, ending } => {
                    let ending = format!("{ending:?}").to_lowercase();
                    lines.note(format_args!("{}: probe: {ending}", at_of("circuit", circuit, *at - *start)));
                }
                Event::DiscoveryFailed { balancer, kind } => {
                    let at = at_of("balancer", balancer, *at - *start);
                    lines.note(format_args!("{at}: endpoints could not be discovered: {kind}"));
                }
                Event::EndpointChanged { endpoint, from, to, why, .. } => {
                    let at = at_of("endpoint", endpoint.as_str(), *at - *start);
                    lines.note(format_args!("{at}: {from}, now {to}: {why}"));
                }
                Event::FitnessChanged { endpoint, from, to, output, .. } => {
                    let at = at_of("endpoint", endpoint.as_str(), *at - *start);
                    let colon = if output.is_some() { ": " } else { "" };
                    let output = output.as_deref().unwrap_or_default();
                    lines.note(format_args!("{at}: {from}, now {to}{colon}{output}"));
                }
                Event::FailedOver { endpoint, kind, .. } => {
                    let at = at_of("endpoint", endpoint.as_str(), *at - *start);
                    lines.note(format_args!("{at}: a request came back unsent, and goes to another: {kind}"));
                }
                Event::PanicChanged { balancer, tier, begins } => {
                    let at = at_of("balancer", balancer, *at - *start);
                    let what = if *begins { "panics" } else { "panics no more" };
                    lines.note(format_args!("{at}: tier {tier} {what}"));
                }
                Event::FellBack { kind, delivery } => {
                    let at = *at - *start;
                    lines.note(format_args!("at {at:?}: fell back: {kind}, {}", words(*delivery)));
                }
                Event::HedgeFired { attempt, waited } => {
                    let at = *at - *start;
                    lines.note(format_args!(
                        "at {at:?}: attempt {attempt} beside the first, after {waited:?}"
                    ));
                }
                Event::HedgeSkipped { why } => {
                    lines.note(format_args!("at {:?}: no attempt beside the first: {why}", *at - *start));
                }
                Event::HedgeWon { attempt } => {
                    lines.note(format_args!("at {:?}: attempt {attempt} has the answer", *at - *start));
                }
                Event::ConnectionClosed { why } => {
                    let why = format!("{why:?}").to_lowercase();
                    lines.note(format_args!("at {:?}: connection closed: {why}", *at - *start));
                }
                Event::ConnectionTaken { host, http2, reused, waited } => {
                    let at = at_of("host", host, *at - *start);
                    let (http, reused) =
                        (http_name(*http2), if *reused { "one that was there" } else { "a new one" });
                    lines.note(format_args!("{at}: {http} over {reused} after {waited:?}"));
                }
                Event::ConnectionOpened { host, http2, took, .. } => {
                    let at = at_of("host", host, *at - *start);
                    lines.note(format_args!("{at}: connected in {took:?}: {}", http_name(*http2)));
                }
                Event::ConnectFailed { host, kind, .. } => {
                    lines.note(format_args!(
                        "{}: could not connect: {kind}",
                        at_of("host", host, *at - *start)
                    ));
                }
                Event::RequestReplayed { host } => {
                    let at = at_of("host", host, *at - *start);
                    lines.note(format_args!("{at}: a request came back unsent, and goes out again"));
                }
                Event::HandlerPanicked { message } => {
                    lines.note(format_args!("at {:?}: handler panicked: {message}", *at - *start));
                }
                Event::KeySkipped { why } => {
                    lines.note(format_args!("at {:?}: key left out: {why}", *at - *start));
                }
                Event::KeyedReplayed {} => {
                    lines.note(format_args!("at {:?}: keyed request answered as before", *at - *start));
                }
                Event::KeyedRefused { why } => {
                    lines.note(format_args!("at {:?}: keyed request refused: {why}", *at - *start));
                }
                Event::KeyedLost {} => {
                    lines.note(format_args!("at {:?}: keyed request taken for lost", *at - *start));
                }
                Event::KeysNotFetched { from, kind, again_in } => {
                    let at = at_of("keys of", from, *at - *start);
                    lines.note(format_args!("{at}: could not be fetched: {kind}, again in {again_in:?}"));
                }
                Event::KeysReplaced { usable, skipped } => {
                    let at = *at - *start;
                    lines.note(format_args!("at {at:?}: keys replaced: {usable} usable, {skipped} left out"));
                }
                Event::TokenRefused { why, .. } => {
                    lines.note(format_args!("at {:?}: token refused: {why}", *at - *start));
                }
                Event::PoolClosed { pool, why } => {
                    lines.note(format_args!("{}: closed one: {why}", at_of("pool", pool, *at - *start)));
                }
                Event::PoolConnected { pool, took } => {
                    lines.note(format_args!("{}: connected in {took:?}", at_of("pool", pool, *at - *start)));
                }
                Event::PoolConnectFailed { pool, kind, again_in } => {
                    let at = at_of("pool", pool, *at - *start);
                    lines.note(format_args!("{at}: could not connect: {kind}; again in {again_in:?}"));
                }
                Event::ServerPhaseChanged { to } => {
                    let to = format!("{to:?}").to_lowercase();
                    lines.note(format_args!("at {:?}: server: {to}", *at - *start));
                }
                Event::HealthChanged { check, from, to, output } => {
                    let (at, colon) = (*at - *start, if output.is_some() { ": " } else { "" });
                    let output = output.as_deref().unwrap_or_default();
                    lines.note(format_args!("check {check} at {at:?}: {from}, now {to}{colon}{output}"));
                }
            }
        }
        lines.join()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Instant, Event)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        let now = Instant::now();
        self.kept().push((now, event.clone()));
    }
}

const fn words(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not sent",
        Delivery::Refused => "refused unprocessed",
        Delivery::Unknown => "delivery unknown",
        Delivery::Answered => "answered",
    }
}

const fn http_name(http2: bool) -> &'static str {
    if http2 { "HTTP/2" } else { "HTTP/1.1" }
}

fn at_of(what: &str, name: &str, at: Duration) -> String {
    let name = if name.is_empty() { String::new() } else { format!(" {name}") };
    format!("{what}{name} at {at:?}")
}

#[derive(Default)]
struct Lines {
    calls: Vec<CallId>,
    lines: Vec<Line>,
}

struct Line {
    /// The attempt that the line is of, if it is of one.
    attempt: Option<(CallId, u32)>,
    text: String,
    ended: bool,
    /// What was decided after it.
    behind: String,
}

impl Lines {
    fn begin(&mut self, call: CallId, attempt: u32, rest: std::fmt::Arguments<'_>) {
        let known = self.calls.iter().position(|known| *known == call);
        let number = 1 + known.unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        });
        let text = format!("call {number} attempt {attempt} {rest}");
        let attempt = Some((call, attempt));
        self.lines.push(Line { attempt, text, ended: false, behind: String::new() });
    }

    /// Something that is of no single attempt.
    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.lines.push(Line { attempt: None, text: text.to_string(), ended: true, behind: String::new() });
    }

    fn of(&mut self, call: CallId, attempt: u32) -> &mut Line {
        let known = self.lines.iter().rposition(|line| line.attempt == Some((call, attempt)));
        let at = known.unwrap_or_else(|| {
            // The recorder was put in place, or emptied, in the middle of a call.
            self.begin(call, attempt, format_args!("started unseen: "));
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    fn join(self) -> String {
        let mut all = String::new();
        for Line { text, ended, behind, .. } in self.lines {
            let _ = writeln!(all, "{text}{}{behind}", if ended { "" } else { "no answer" });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::base::{Kind, Outcome, Skip};

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn the_timeline_has_one_line_for_each_attempt() {
        let recorder = Recorder::new();
        assert_eq!(recorder.timeline(), "");
        let (call, other) = (CallId::next(), CallId::next());
        let (overload, status) = (Outcome::Overload, Ending::Status(StatusCode::SERVICE_UNAVAILABLE));
        recorder.observe(&Event::AttemptStarted { call, attempt: 1 });
        recorder.observe(&Event::AttemptStarted { call: other, attempt: 1 });
        tokio::time::advance(12 * MS).await;
        recorder.observe(&Event::AttemptEnded {
            call,
            attempt: 1,
            ending: status,
            outcome: overload,
            delivery: Delivery::Answered,
            elapsed: 12 * MS,
        });
        recorder.observe(&Event::RetryScheduled { call, attempt: 2, delay: 50 * MS });
        tokio::time::advance(50 * MS).await;
        recorder.observe(&Event::AttemptStarted { call, attempt: 2 });
        recorder.observe(&Event::AttemptEnded {
            call,
            attempt: 2,
            ending: Ending::Error(Kind::Transport),
            outcome: Outcome::Failure,
            delivery: Delivery::Unknown,
            elapsed: Duration::ZERO,
        });
        recorder.observe(&Event::RetrySkipped { call, attempt: 2, why: Skip::Budget });

        let (timeline, transport) = (recorder.timeline(), Kind::Transport);
        let expected = [
            "call 1 attempt 1 at 0ns: 503 Service Unavailable (overload) after 12ms; again in 50ms"
                .to_owned(),
            "call 2 attempt 1 at 0ns: no answer".to_owned(),
            format!(
                "call 1 attempt 2 at 62ms: {transport} (failure, delivery unknown) after 0ns; not again: {}",
                Skip::Budget
            ),
        ];
        assert_eq!(timeline.lines().collect::<Vec<_>>(), expected);
        assert_eq!(recorder.events().len(), 7);
    }

    #[test]
    fn clones_share_what_they_keep() {
        let recorder = Recorder::new();
        let call = CallId::next();
        recorder.clone().observe(&Event::RetrySkipped { call, attempt: 3, why: Skip::Never });
        assert!(recorder.timeline().starts_with("call 1 attempt 3 started unseen: no answer; not again: "));
        assert_eq!(recorder.take().len(), 1);
        assert!(recorder.events().is_empty());
    }
}
