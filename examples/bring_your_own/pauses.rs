//! Pauses of one's own: each as long as the two before it together, and after some of them it is over.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use stonework::Body;
use stonework::base::{BoxError, Delays, Event, Rng, Schedule, Skip};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Recorder, Scripted, Step};
use tower::{Layer, ServiceExt};

use crate::kit::Verdict;

#[derive(Debug)]
struct Fibonacci {
    first: Duration,
    /// How many pauses there are.
    most: usize,
}

/// Those of one call.
struct Pauses {
    before: Duration,
    next: Duration,
    left: usize,
}

impl Schedule for Fibonacci {
    fn start(&self) -> Box<dyn Delays> {
        Box::new(Pauses { before: Duration::ZERO, next: self.first, left: self.most })
    }
}

impl Delays for Pauses {
    fn next(&mut self, rng: &Rng) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        (self.before, self.next) = (pause, self.before + pause);
        // A tenth by chance, so that callers who failed together do not come back together.
        Some(pause + rng.duration_below(pause / 10))
    }
}

// ───────────────────────────────────────────────────────────────────────────── what comes of it

const FIRST: Duration = Duration::from_millis(100);
const EXPECTED: [u64; 5] = [100, 100, 200, 300, 500];

fn answer(status: StatusCode, after: Option<&'static str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let after = after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after)));
    response.headers_mut().extend(after);
    response
}

/// Whether each is as long as expected, with up to a tenth more; the whole tenth too, since tokio's timers end with a millisecond.
fn are(pauses: &[Duration], expected: &[u64]) -> bool {
    let expected: Vec<_> = expected.iter().copied().map(Duration::from_millis).collect();
    let is = |(pause, expected): (&Duration, &Duration)| (*expected..=*expected * 11 / 10).contains(pause);
    pauses.len() == expected.len() && pauses.iter().zip(&expected).all(is)
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nHow long to wait: the two pauses before, together\n");
    // More attempts than pauses, so that it is the schedule that ends it.
    let settings = RetrySettings::new().attempts(10).without_budget();
    let events = Recorder::new();
    let schedule = Fibonacci { first: FIRST, most: EXPECTED.len() };
    let layer = RetryLayer::from(settings).schedule(schedule).rng(Rng::seeded(1)).observer(events.clone());
    let get = || Request::new(Body::empty());

    let broken =
        Scripted::<Request<Body>, _>::script(|_, _| Step::Answer(answer(StatusCode::BAD_GATEWAY, None)));
    let seen = broken.seen();
    let last = layer.layer(broken.clone()).oneshot(get()).await?;
    println!("  502, always:           {:?}", seen.gaps());
    let skipped = events.take().into_iter().rev().find_map(|event| match event {
        Event::RetrySkipped { why, .. } => Some(why),
        _ => None,
    });
    verdict
        .claim(are(&seen.gaps(), &EXPECTED), "each is as long as the two before it, with a tenth by chance");
    verdict.claim(
        skipped == Some(Skip::Schedule) && last.status() == 502,
        "when there is no other, the last answer is the caller's, and the observer hears why",
    );

    layer.layer(broken).oneshot(get()).await?;
    verdict.claim(
        are(&seen.gaps()[EXPECTED.len() + 1..], &EXPECTED),
        "the next call begins with the first again, whatever came before",
    );

    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let steps = [answer(unavailable, Some("2")), answer(unavailable, None), answer(StatusCode::OK, None)];
    let busy = Scripted::<Request<Body>, _>::steps(steps.map(Step::Answer));
    let seen = busy.seen();
    layer.layer(busy).oneshot(get()).await?;
    println!("\n  Retry-After: 2, once:  {:?}", seen.gaps());
    let told = Duration::from_secs(2);
    let beyond: Vec<_> =
        seen.gaps().iter().zip([told, Duration::ZERO]).map(|(gap, told)| gap.saturating_sub(told)).collect();
    verdict.claim(
        are(&beyond, &EXPECTED[..2]),
        "what a server asks for goes first, and the schedule's own comes on top",
    );
    Ok(())
}
