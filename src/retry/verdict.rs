//! Decides whether a request goes out once more. Nothing here waits, locks or reads a clock.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::RetryCosts;
use crate::base::{Delivery, GrpcStatus, Outcome, RetryAfter, Safety, Skip};

/// Where a retry stands among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// No other repeats what it does.
    Outermost,
    /// What it does is part of another's second or later attempt, in this task or before this hop.
    PartOfRetry,
    /// Another one outside, in the same stack, repeats this very request.
    Inside,
}

/// What is known once an attempt has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) outcome: Outcome,
    pub(super) delivery: Delivery,
    pub(super) safety: Safety,
    pub(super) role: Role,
    /// A retry inside has repeated it already, or did and gave up.
    pub(super) spent: bool,
    /// Attempts that count, this one included.
    pub(super) attempts: u32,
    /// How many attempts there may be.
    pub(super) allowed: u32,
    /// The caller said: once, whatever happens.
    pub(super) single: bool,
    /// The attempt ran into a connection that was already gone, or was refused unprocessed, for the first time.
    pub(super) innocent: bool,
    /// There is a copy of the request, or the request came back.
    pub(super) repeatable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is nothing to repeat.
    Done,
    /// It failed, and that is that.
    Skip(Skip),
    /// Send it again, after a pause.
    Again,
    /// Send it again at once; it neither counts nor costs.
    AtOnce,
}

pub(super) fn judge(facts: &Facts) -> Verdict {
    let unprocessed = matches!(facts.delivery, Delivery::NotSent | Delivery::Refused);
    if !facts.outcome.is_retryable() && facts.delivery != Delivery::Refused {
        return Verdict::Done;
    }
    if facts.single {
        return Verdict::Skip(Skip::Never);
    }
    if facts.role == Role::Inside {
        return Verdict::Skip(Skip::Nested);
    }
    // One attempt is one. A replay that does not count is for those who want more.
    if facts.allowed <= 1 {
        return Verdict::Skip(Skip::Attempts);
    }
    if facts.safety == Safety::Unsafe && !unprocessed {
        return Verdict::Skip(Skip::Unsafe);
    }
    if facts.spent {
        return Verdict::Skip(Skip::Nested);
    }
    if !facts.repeatable {
        return Verdict::Skip(Skip::Body);
    }
    if facts.innocent && unprocessed {
        return Verdict::AtOnce;
    }
    // RFC 9110, section 9.2.2: an automatic retry that failed is not to be retried automatically.
    if facts.role == Role::PartOfRetry {
        return Verdict::Skip(Skip::Nested);
    }
    if facts.attempts >= facts.allowed {
        return Verdict::Skip(Skip::Attempts);
    }
    Verdict::Again
}

/// What the server said about coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    None,
    /// Not before so long.
    After(Duration),
    /// Not before so long, and then as if it were the first time.
    Restart(Duration),
    /// Not at all.
    Stop,
}

/// The pause before the next attempt: the scheduled one, and on top of whatever the server asked for, so that clients
/// told to come back at the same instant do not. `left` is what the deadline leaves.
pub(super) fn pause(
    scheduled: Duration,
    advice: Advice,
    ceiling: Duration,
    left: Option<Duration>,
) -> Result<Duration, Skip> {
    let pause = match advice {
        Advice::None => scheduled,
        Advice::Stop => return Err(Skip::Pushback),
        Advice::After(asked) | Advice::Restart(asked) if asked > ceiling => return Err(Skip::RetryAfter),
        Advice::After(asked) | Advice::Restart(asked) => asked.saturating_add(scheduled),
    };
    match left {
        // An attempt that begins at the deadline cannot finish.
        Some(left) if pause >= left => Err(Skip::Deadline),
        _ => Ok(pause),
    }
}

/// What a retry after this attempt costs. It is free where nothing was sent, since it adds nothing to what the service
/// has to do; where time ran out, the service has worked for long already.
pub(super) fn cost(costs: &RetryCosts, outcome: Outcome, delivery: Delivery, timed_out: bool) -> u32 {
    match (delivery, outcome) {
        (Delivery::NotSent, _) => 0,
        _ if timed_out => costs.timeout,
        (_, Outcome::Overload) => costs.overload,
        _ => costs.failure,
    }
}

/// Whether a retry further out would only repeat what this one has done or was told not to do.
pub(super) fn is_spent(role: Role, why: Skip, attempts: u32, spent_inside: bool) -> bool {
    let told = matches!(why, Skip::Budget | Skip::Pushback | Skip::RetryAfter);
    role != Role::Inside && why != Skip::Never && (told || attempts > 1 || spent_inside)
}

/// Whether a response says that time ran out further on.
pub(super) fn says_too_late(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::GATEWAY_TIMEOUT || GrpcStatus::of(headers) == Some(GrpcStatus::DeadlineExceeded)
}

/// Whether a response to a request with a key says that another one with the same key is being done, and when to ask what became of it
/// (draft-ietf-httpapi-idempotency-key-header). What says no time is final: there, nobody knows, or it will not be told.
pub(super) fn is_under_way(status: StatusCode, headers: &HeaderMap) -> bool {
    // A date or not, it has to be one that can be read.
    status == StatusCode::CONFLICT && RetryAfter::of(headers, SystemTime::UNIX_EPOCH).is_some()
}

/// Whether a response would be taken for a reason to try again. A gRPC status stands in the head when there is no message.
pub(super) fn asks_for_another(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = GrpcStatus::of(headers).is_some_and(|status| status != GrpcStatus::Ok);
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || is_under_way(status, headers)
        || grpc
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const FAILED: Facts = Facts {
        outcome: Outcome::Failure,
        delivery: Delivery::Unknown,
        safety: Safety::Idempotent,
        role: Role::Outermost,
        spent: false,
        attempts: 1,
        allowed: 3,
        single: false,
        innocent: false,
        repeatable: true,
    };

    #[test]
    fn the_replay_table_holds_in_every_cell() {
        use Delivery::{Answered, NotSent, Refused, Unknown};
        for (delivery, safety, expected) in [
            (NotSent, Safety::Idempotent, Verdict::Again),
            (NotSent, Safety::Keyed, Verdict::Again),
            (NotSent, Safety::Unsafe, Verdict::Again),
            (Refused, Safety::Unsafe, Verdict::Again),
            (Unknown, Safety::Idempotent, Verdict::Again),
            (Unknown, Safety::Keyed, Verdict::Again),
            (Unknown, Safety::Unsafe, Verdict::Skip(Skip::Unsafe)),
            (Answered, Safety::Idempotent, Verdict::Again),
            (Answered, Safety::Keyed, Verdict::Again),
            (Answered, Safety::Unsafe, Verdict::Skip(Skip::Unsafe)),
        ] {
            assert_eq!(judge(&Facts { delivery, safety, ..FAILED }), expected, "{delivery:?}, {safety:?}");
        }
    }

    #[test]
    fn another_request_is_under_way_where_409_says_when_to_ask_again() {
        let fields = |value: &'static str| {
            HeaderMap::from_iter([(http::header::RETRY_AFTER, http::HeaderValue::from_static(value))])
        };
        for value in ["0", "7", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert!(is_under_way(StatusCode::CONFLICT, &fields(value)), "{value}");
            assert!(asks_for_another(StatusCode::CONFLICT, &fields(value)), "{value}");
            assert!(!is_under_way(StatusCode::UNPROCESSABLE_ENTITY, &fields(value)), "{value}");
        }
        for value in ["", "soon", "-1", "1.5"] {
            assert!(!is_under_way(StatusCode::CONFLICT, &fields(value)), "{value}");
        }
        assert!(!is_under_way(StatusCode::CONFLICT, &HeaderMap::new()));
        assert!(!asks_for_another(StatusCode::CONFLICT, &HeaderMap::new()));
    }

    #[test]
    fn each_reason_not_to_repeat_is_named() {
        let skip = |facts| judge(&facts);
        assert_eq!(skip(Facts { single: true, ..FAILED }), Verdict::Skip(Skip::Never));
        assert_eq!(skip(Facts { attempts: 3, ..FAILED }), Verdict::Skip(Skip::Attempts));
        let one = Facts { allowed: 1, innocent: true, delivery: Delivery::NotSent, ..FAILED };
        assert_eq!(skip(one), Verdict::Skip(Skip::Attempts), "not even what would neither count nor cost");
        assert_eq!(skip(Facts { repeatable: false, ..one }), Verdict::Skip(Skip::Attempts));
        assert_eq!(skip(Facts { repeatable: false, ..FAILED }), Verdict::Skip(Skip::Body));
        assert_eq!(skip(Facts { outcome: Outcome::Success, ..FAILED }), Verdict::Done);
        assert_eq!(skip(Facts { outcome: Outcome::Neutral, ..FAILED }), Verdict::Done);
    }

    #[test]
    fn an_innocent_attempt_is_repeated_at_once_even_when_all_are_used() {
        let facts = Facts { delivery: Delivery::NotSent, innocent: true, attempts: 3, ..FAILED };
        assert_eq!(judge(&facts), Verdict::AtOnce);
        let refused = Facts { delivery: Delivery::Refused, outcome: Outcome::Success, ..facts };
        assert_eq!(judge(&refused), Verdict::AtOnce, "a 425 is a success to nobody but the classifier");
    }

    #[test]
    fn of_several_retries_one_acts() {
        let inside = Facts { role: Role::Inside, delivery: Delivery::NotSent, innocent: true, ..FAILED };
        assert_eq!(judge(&inside), Verdict::Skip(Skip::Nested), "the one outside does");
        assert_eq!(
            judge(&Facts { spent: true, ..FAILED }),
            Verdict::Skip(Skip::Nested),
            "the one inside did"
        );
        let part = Facts { role: Role::PartOfRetry, ..FAILED };
        assert_eq!(judge(&part), Verdict::Skip(Skip::Nested));
        let harmless = Facts { delivery: Delivery::NotSent, innocent: true, ..part };
        assert_eq!(judge(&harmless), Verdict::AtOnce, "which adds nothing to the load");
    }

    #[test]
    fn whoever_gave_up_says_so_but_not_for_what_another_may_still_do() {
        let spent = |why, attempts| is_spent(Role::Outermost, why, attempts, false);
        for why in [Skip::Budget, Skip::Pushback, Skip::RetryAfter] {
            assert!(spent(why, 1), "{why:?}");
        }
        for why in [Skip::Attempts, Skip::Body, Skip::Deadline, Skip::Schedule, Skip::Unsafe] {
            assert!(!spent(why, 1) && spent(why, 2), "{why:?}");
        }
        assert!(!spent(Skip::Nested, 1), "the one outside has attempts left");
        assert!(!spent(Skip::Never, 2));
        assert!(is_spent(Role::Outermost, Skip::Unsafe, 1, true));
        assert!(!is_spent(Role::Inside, Skip::Nested, 1, false), "the one outside is about to act");
    }

    #[test]
    fn a_retry_costs_what_its_failure_did_to_the_service() {
        let costs = RetryCosts::new().failure(3).overload(4).timeout(5);
        let cost = |outcome, delivery, timed_out| cost(&costs, outcome, delivery, timed_out);
        assert_eq!(cost(Outcome::Failure, Delivery::NotSent, false), 0);
        assert_eq!(cost(Outcome::Failure, Delivery::NotSent, true), 0, "it waited for its turn");
        assert_eq!(cost(Outcome::Failure, Delivery::Unknown, false), 3);
        assert_eq!(cost(Outcome::Failure, Delivery::Refused, false), 3);
        assert_eq!(cost(Outcome::Overload, Delivery::Answered, false), 4);
        assert_eq!(cost(Outcome::Failure, Delivery::Unknown, true), 5);
    }

    #[test]
    fn an_answer_says_by_either_protocol_that_time_ran_out_or_that_another_try_may_do() {
        let grpc = |status| {
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])
        };
        let (ok, none) = (StatusCode::OK, HeaderMap::new());
        assert!(says_too_late(StatusCode::GATEWAY_TIMEOUT, &none) && says_too_late(ok, &grpc("4")));
        assert!(!says_too_late(StatusCode::BAD_GATEWAY, &none) && !says_too_late(ok, &grpc("14")));
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS] {
            assert!(asks_for_another(status, &none), "{status}");
        }
        assert!(asks_for_another(ok, &grpc("14")));
        assert!(!asks_for_another(StatusCode::NOT_FOUND, &none));
        assert!(!asks_for_another(ok, &none) && !asks_for_another(ok, &grpc("0")));
    }

    #[test]
    fn advice_delays_within_the_ceiling_and_the_deadline() {
        let seconds = Duration::from_secs;
        let (short, ceiling) = (Duration::from_millis(40), seconds(60));
        assert_eq!(pause(short, Advice::None, ceiling, None), Ok(short));
        assert_eq!(pause(short, Advice::After(seconds(7)), ceiling, None), Ok(seconds(7) + short));
        assert_eq!(pause(short, Advice::After(ceiling), ceiling, None), Ok(ceiling + short));
        assert_eq!(pause(short, Advice::Restart(seconds(7)), ceiling, None), Ok(seconds(7) + short));
        assert_eq!(pause(short, Advice::After(seconds(61)), ceiling, None), Err(Skip::RetryAfter));
        assert_eq!(pause(short, Advice::After(seconds(10)), ceiling, Some(seconds(3))), Err(Skip::Deadline));
        assert_eq!(pause(seconds(3), Advice::None, ceiling, Some(seconds(3))), Err(Skip::Deadline));
        assert_eq!(pause(short, Advice::Stop, ceiling, None), Err(Skip::Pushback));
    }

    proptest! {
        #[test]
        fn an_unsafe_request_that_may_have_been_received_never_goes_out_again(
            outcome in prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Overload, Outcome::Neutral]),
            delivery in prop::sample::select(vec![Delivery::Unknown, Delivery::Answered]),
            role in prop::sample::select(vec![Role::Outermost, Role::PartOfRetry, Role::Inside]),
            attempts: u32, allowed: u32, single: bool, innocent: bool, repeatable: bool, spent: bool,
        ) {
            let safety = Safety::Unsafe;
            let facts = Facts {
                outcome, delivery, safety, role, spent, attempts, allowed, single, innocent, repeatable,
            };
            prop_assert!(matches!(judge(&facts), Verdict::Done | Verdict::Skip(_)));
        }
    }
}
