//! How likely is it that this request would be sent in vain? "Handling Overload", chapter 21 of *Site Reliability Engineering* (Beyer and
//! others, 2016), under "client-side throttling".

use super::ThrottleSettings;
use crate::base::{Delivery, Kind, Outcome};

/// What was counted lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// What there was to send, whether it was sent or not.
    pub(super) requests: u64,
    /// What the service took of it.
    pub(super) accepts: u64,
}

/// With which chance the next request is not sent, from 0 to 1.
pub(super) fn chance(counted: Counted, settings: &ThrottleSettings) -> f64 {
    if counted.requests < u64::from(settings.min_requests) {
        return 0.0;
    }
    let requests = counted.requests as f64;
    let expected = settings.multiplier * counted.accepts as f64;
    let chance = (requests - expected) / (requests + 1.0);
    chance.clamp(0.0, settings.max_rejection.as_f64())
}

/// Whether the service took a request that ended so; nothing, if that is not known. Taken is what was answered, be it with an error of the
/// service's own, unless the answer says that there is too much to do. What was never sent says nothing, but where nobody took the
/// connection; nor do errors of the caller's own and of bodies.
pub(super) fn was_taken(outcome: Outcome, error: Option<(Kind, Delivery)>) -> Option<bool> {
    match (outcome, error) {
        (Outcome::Neutral, _) => None,
        (Outcome::Success, _) | (Outcome::Failure, None) => Some(true),
        (Outcome::Overload, None) | (_, Some((Kind::Connect, _))) => Some(false),
        (_, Some((Kind::Body | Kind::Invalid, _) | (_, Delivery::NotSent))) => None,
        (_, Some(_)) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Ratio;

    fn at(requests: u64, accepts: u64) -> f64 {
        chance(Counted { requests, accepts }, &ThrottleSettings::new())
    }

    #[test]
    fn nothing_is_refused_until_more_than_half_was() {
        for (requests, accepts, expected) in [
            (0, 0, 0.0),
            (19, 0, 0.0),
            (20, 10, 0.0),
            (100, 100, 0.0),
            (100, 50, 0.0),
            (100, 40, 20.0 / 101.0),
            (100, 25, 50.0 / 101.0),
            (100, 0, 0.9),
            (1_000_000, 0, 0.9),
            (1_000_000, 400_000, 200_000.0 / 1_000_001.0),
        ] {
            assert!((at(requests, accepts) - expected).abs() < 1e-12, "{accepts} of {requests}");
        }
    }

    #[test]
    fn taken_is_what_was_answered_and_not_said_to_be_too_much() {
        use Delivery::{Answered, NotSent, Refused, Unknown};
        use Outcome::{Failure, Neutral, Overload, Success};
        for (outcome, error, expected) in [
            (Success, None, Some(true)),
            (Failure, None, Some(true)),
            (Overload, None, Some(false)),
            (Neutral, None, None),
            (Success, Some((Kind::Other, Unknown)), Some(true)),
            (Failure, Some((Kind::Timeout, Unknown)), Some(false)),
            (Failure, Some((Kind::Transport, Unknown)), Some(false)),
            (Failure, Some((Kind::Transport, Refused)), Some(false)),
            (Failure, Some((Kind::Connect, NotSent)), Some(false)),
            (Overload, Some((Kind::Overload, Answered)), Some(false)),
            // A limit or a circuit below: the service has not been asked.
            (Overload, Some((Kind::Overload, NotSent)), None),
            (Overload, Some((Kind::CircuitOpen, NotSent)), None),
            (Failure, Some((Kind::Timeout, NotSent)), None),
            (Failure, Some((Kind::Body, Unknown)), None),
            (Neutral, Some((Kind::Invalid, NotSent)), None),
        ] {
            assert_eq!(was_taken(outcome, error), expected, "{outcome:?} {error:?}");
        }
    }

    proptest! {
        #[test]
        fn the_chance_is_one_whatever_is_counted_grows_with_requests_and_falls_with_accepts(
            requests in any::<u64>(), accepts in any::<u64>(), more in 0_u64..1_000,
            multiplier in 1.0..1e9, most in 0_u32..=1_000_000, least in any::<u32>(),
        ) {
            let most = Ratio::per_million(most).unwrap();
            let settings = ThrottleSettings::new().multiplier(multiplier).max_rejection(most).min_requests(least);
            let chance = |requests, accepts| chance(Counted { requests, accepts }, &settings);
            let now = chance(requests, accepts);
            prop_assert!((0.0..=most.as_f64()).contains(&now));
            prop_assert!(chance(requests.saturating_add(more), accepts) >= now - 1e-9);
            prop_assert!(chance(requests, accepts.saturating_add(more)) <= now + 1e-9);
            if accepts as f64 * multiplier >= requests as f64 {
                prop_assert_eq!(now, 0.0);
            }
        }
    }
}
