//! A client that holds back. "Handling Overload", chapter 21 of *Site Reliability Engineering* (Beyer and others, 2016): a client that does
//! not send a request with the chance max(0, (requests − K · accepts) / (requests + 1)), counted over two minutes, sends a service that has too
//! much to do about K times what it takes.
//!
//! Here a service takes ten calls a second of a hundred, and refuses the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use stonework::base::Rng;
use stonework::limit::{AdaptiveThrottle, AdaptiveThrottleLayer, ThrottleSettings};
use stonework::{Body, Error};
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{Bar, Experiment, Figure, Finding, Mean, each_seed, poisson};

const CALLS: f64 = 100.0;
const TAKES: f64 = 10.0;
/// As many as it may take at once, after it had nothing to do.
const BURST: f64 = 5.0;
/// Until what is counted, two minutes, knows nothing of the beginning.
const WARM_UP: Duration = Duration::from_secs(180);
const TIME: Duration = Duration::from_secs(600);
const ANSWER: Duration = Duration::from_millis(20);

pub const THROTTLE: Experiment = Experiment {
    letter: 'K',
    name: "throttle",
    title: "a client that holds back: what is sent to a service that takes ten of a hundred calls a second",
    published: "Google (\"Handling Overload\" in \"Site Reliability Engineering\", 2016) has clients that do not send a part of their requests, by how \
                many were taken lately: under an overload a service gets about K times what it takes. They use 2.",
    examine,
};

/// In a second.
struct Run {
    sent: f64,
    taken: f64,
}

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say("    client         | sent a second   | taken a second  | sent for each that is taken");
    let mut told = Vec::new();
    for (name, multiplier) in [("sends all", None), ("K = 2, default", Some(2.0)), ("K = 1.5", Some(1.5))] {
        let runs = each_seed(seeds, |seed| run(multiplier, seed));
        let over = |what: fn(&Run) -> f64| Mean::of(&runs.iter().map(what).collect::<Vec<_>>());
        let (sent, taken) = (over(|run| run.sent), over(|run| run.taken));
        let each = over(|run| run.sent / run.taken);
        let [shown_sent, shown_taken] = [sent, taken].map(|mean| format!("{mean:.2}"));
        finding.say(format_args!("    {name:<14} | {shown_sent:<15} | {shown_taken:<15} | {each:.3}"));
        let Some(multiplier) = multiplier else { continue };
        finding.hold(
            format!("sent for each call that is taken, with K = {multiplier}"),
            format!("about {multiplier}"),
            Figure::mean(each, 3, ""),
            Bar::Between(multiplier * 0.95, multiplier * 1.05),
        );
        // Chance leaves it without a call at times, the more so the fewer are sent.
        finding.hold(
            format!("taken a second of {TAKES} that can be, with K = {multiplier}"),
            "",
            Figure::mean(taken, 2, ""),
            Bar::AtLeast(TAKES * 0.95),
        );
        told.push((sent, taken));
    }
    if let [(sent, taken), ..] = told[..] {
        finding.words = format!(
            "With the defaults, of {CALLS} calls a second {:.1} are sent to a service that takes {TAKES}, and it still takes {:.1} of them.",
            sent.mean, taken.mean
        );
    }
    finding
}

async fn run(multiplier: Option<f64>, seed: u64) -> Run {
    let rng = Rng::seeded(seed);
    let (sent, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (begin, room) = (Instant::now(), Arc::new(Mutex::new((Instant::now(), BURST))));
    let service = service_fn({
        let (sent, taken) = (Arc::clone(&sent), Arc::clone(&taken));
        move |_: Request<Body>| {
            let now = Instant::now();
            let is_taken = {
                let mut room = room.lock().expect("nobody panics with it");
                let (since, left) = *room;
                let left = BURST.min(left + (now - since).as_secs_f64() * TAKES);
                let is_taken = left >= 1.0;
                *room = (now, if is_taken { left - 1.0 } else { left });
                is_taken
            };
            if now >= begin + WARM_UP {
                sent.fetch_add(1, Ordering::Relaxed);
                taken.fetch_add(u64::from(is_taken), Ordering::Relaxed);
            }
            async move {
                sleep(ANSWER).await;
                let mut response = Response::new(Body::empty());
                *response.status_mut() =
                    if is_taken { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
                Ok::<_, Error>(response)
            }
        }
    });
    let settings = ThrottleSettings::new().multiplier(multiplier.unwrap_or(2.0));
    let throttle = AdaptiveThrottle::new(settings).expect("possible settings").rng(rng.clone());
    let layer = AdaptiveThrottleLayer::from(throttle).when(multiplier.is_some());
    let service = ServiceBuilder::new().layer(layer).service(service);
    poisson(&rng, CALLS, TIME, |_| {
        let call = service.clone().oneshot(Request::new(Body::empty()));
        async move { drop(call.await) }
    })
    .await;
    let in_a_second =
        |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / (TIME - WARM_UP).as_secs_f64();
    Run { sent: in_a_second(&sent), taken: in_a_second(&taken) }
}
