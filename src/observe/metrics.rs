use metrics::{counter, histogram};

use crate::base::{Delivery, Ending, Event, Observer, Outcome, Skip};

/// An [`Observer`] that counts every event with the [`metrics`](https://docs.rs/metrics) facade: whatever recorder the
/// program has installed receives them.
///
/// | metric | kind | labels | what it counts |
/// |---|---|---|---|
/// | `stonework.attempts` | counter | `outcome`, `delivery` | attempts that ended |
/// | `stonework.attempt.duration` | histogram, in seconds | `outcome` | from the start of an attempt to its response head or error; not of those that were dropped |
/// | `stonework.retries` | counter | | attempts that were scheduled after another |
/// | `stonework.retry.delay` | histogram, in seconds | | how long they were to wait |
/// | `stonework.retries.skipped` | counter | `reason` | failed attempts that were not repeated |
///
/// Every label is one of a few fixed words, whatever a peer sends.
///
/// ```
/// use stonework::observe::MetricsObserver;
/// use stonework::retry::RetryLayer;
///
/// let layer = RetryLayer::new().observer(MetricsObserver);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct MetricsObserver;

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event) {
        match event {
            Event::AttemptEnded { ending, outcome, delivery, elapsed, .. } => {
                let outcome = outcome_name(*outcome);
                counter!("stonework.attempts", "outcome" => outcome, "delivery" => delivery_name(*delivery))
                    .increment(1);
                if *ending != Ending::Dropped {
                    histogram!("stonework.attempt.duration", "outcome" => outcome)
                        .record(elapsed.as_secs_f64());
                }
            }
            Event::RetryScheduled { delay, .. } => {
                counter!("stonework.retries").increment(1);
                histogram!("stonework.retry.delay").record(delay.as_secs_f64());
            }
            Event::RetrySkipped { why, .. } => {
                counter!("stonework.retries.skipped", "reason" => skip_name(*why)).increment(1);
            }
            Event::AttemptStarted { .. } => {}
        }
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failure => "failure",
        Outcome::Neutral => "neutral",
        Outcome::Overload => "overload",
        Outcome::Success => "success",
    }
}

const fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Answered => "answered",
        Delivery::NotSent => "not_sent",
        Delivery::Refused => "refused",
        Delivery::Unknown => "unknown",
    }
}

const fn skip_name(why: Skip) -> &'static str {
    match why {
        Skip::Attempts => "attempts",
        Skip::Body => "body",
        Skip::Budget => "budget",
        Skip::Deadline => "deadline",
        Skip::Nested => "nested",
        Skip::Never => "never",
        Skip::Pushback => "pushback",
        Skip::RetryAfter => "retry_after",
        Skip::Schedule => "schedule",
        Skip::Unsafe => "unsafe",
    }
}
