//! What a throttle promises: how much a service gets that is overloaded, who is held back, and when that ends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, Request, Response};
use stonework::Error;
use stonework::base::{CircuitState, Delivery, Kind, Outcome, Ratio, Rng};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::{
    AdaptiveThrottle, AdaptiveThrottleLayer, InvalidThrottle, KeyedAdaptiveThrottle, Sent, ThrottleSettings,
    Throttled,
};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::Recorder;
use stonework::timeout::AttemptTimeoutLayer;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Content, NeverReady, SECOND, answer, request, skips};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

fn throttle() -> AdaptiveThrottle {
    with(ThrottleSettings::new())
}

fn with(settings: ThrottleSettings) -> AdaptiveThrottle {
    AdaptiveThrottle::new(settings).expect("valid settings").rng(Rng::seeded(7))
}

/// A service that answers with what this number is, and how often it was asked.
fn says(
    status: Arc<AtomicU64>,
) -> (
    impl Service<Request<Content>, Response = Response<Content>, Error = Infallible, Future: Send> + Clone + Send,
    Arc<AtomicU64>,
) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let service = service_fn(move |_: Request<Content>| {
        count.fetch_add(1, Relaxed);
        let status = status.load(Relaxed) as u16;
        async move { Ok(answer(status)) }
    });
    (service, asked)
}

fn ask() -> Request<Content> {
    request(Method::GET)
}

// ───────────────────────────────────────────────────────────────────────────── how much is sent

/// What a service that takes so many of each second's calls sees of many times as many, in the last minutes of ten; for each call that it took.
async fn under_overload(settings: ThrottleSettings, taken: u64, calls: u64) -> f64 {
    let (start, throttle) = (Instant::now(), with(settings));
    let [second, in_it, sent, accepts] = [0, 0, 0, 0].map(AtomicU64::new);
    let service = AdaptiveThrottleLayer::from(throttle).layer(service_fn(|_: Request<Content>| {
        let now = start.elapsed().as_secs();
        if second.swap(now, Relaxed) != now {
            in_it.store(0, Relaxed);
        }
        let is_taken = in_it.fetch_add(1, Relaxed) < taken;
        if now >= 300 {
            sent.fetch_add(1, Relaxed);
            accepts.fetch_add(is_taken.into(), Relaxed);
        }
        async move { Ok::<_, Infallible>(answer(if is_taken { 200 } else { 429 })) }
    }));
    for call in 0..600 * calls {
        sleep_until(start + SECOND * call as u32 / calls as u32).await;
        let _ = service.clone().oneshot(ask()).await;
    }
    sent.into_inner() as f64 / accepts.into_inner().max(1) as f64
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_service_gets_about_twice_what_it_takes_and_nine_tenths_less_if_it_takes_nothing() {
    println!("sent for each that is taken, five times or ten times as many as are");
    for (multiplier, band) in [(1.1, 1.05..1.2), (1.5, 1.4..1.6), (2.0, 1.9..2.1), (3.0, 2.85..3.15)] {
        let settings = ThrottleSettings::new().multiplier(multiplier);
        for calls in [50, 100] {
            // At ten times as many the cap is near.
            let sent = under_overload(settings, 10, calls).await;
            println!("  K = {multiplier}, {calls} a second: {sent:.3}");
            assert!(band.contains(&sent), "K = {multiplier}, {calls} a second: {sent}");
        }
    }
    let sent = under_overload(ThrottleSettings::new(), 0, 100).await;
    let share = sent / 30_000.0;
    println!("  a service that takes nothing gets {:.3} of all", share);
    assert!((0.095..0.105).contains(&share), "{share}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_half_of_all_or_more_gets_everything() {
    for refused_of_ten in [0, 1, 4] {
        let throttle = throttle();
        for call in 0..10_000 {
            let is_taken = call % 10 >= refused_of_ten;
            let sent = throttle.try_send().expect("nothing is held back");
            sent.settle(if is_taken { Outcome::Success } else { Outcome::Overload });
        }
        assert_eq!((throttle.chance(), throttle.throttled()), (Ratio::ZERO, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_service_has_recovered_twice_as_much_is_sent_with_each_minute_until_it_is_everything() {
    let status = Arc::new(AtomicU64::new(429));
    let (service, asked) = says(Arc::clone(&status));
    let throttle = throttle();
    let mut service = AdaptiveThrottleLayer::from(throttle.clone()).layer(service);
    let mut minute = async || {
        let (before, start) = (asked.load(Relaxed), Instant::now());
        while start.elapsed() < MINUTE {
            let _ = service.ready().await.unwrap().call(ask()).await;
            sleep(10 * MS).await;
        }
        (asked.load(Relaxed) - before) as f64 / 6_000.0
    };
    let bad = [minute().await, minute().await, minute().await];
    assert!((0.08..0.12).contains(&bad[2]), "{bad:?}");
    status.store(200, Relaxed);
    let mut after = Vec::new();
    while after.last().is_none_or(|share| *share < 0.999) {
        after.push(minute().await);
        assert!(after.len() <= 6, "{after:?}");
    }
    println!("what is sent in each minute after a total overload of three: {after:.2?}");
    // The first goes by before the outage begins to leave the window.
    assert!(after[1..].windows(2).all(|two| two[1] > (1.6 * two[0]).min(0.99)), "{after:?}");
    assert_eq!(throttle.chance(), Ratio::ZERO);
}

#[tokio::test(start_paused = true)]
async fn few_requests_are_all_sent() {
    let throttle = throttle();
    for _ in 0..20 {
        throttle.try_send().expect("there are too few to tell").settle(Outcome::Overload);
    }
    assert_eq!(throttle.chance(), Ratio::percent(90));
}

// ───────────────────────────────────────────────────────────────────────────── when something counts

#[tokio::test(start_paused = true)]
async fn many_that_begin_at_once_are_not_held_back_by_their_own_lack_of_answers() {
    let throttle = throttle();
    let sent: Vec<_> = (0..1_000).map(|_| throttle.try_send().expect("nobody has answered yet")).collect();
    sleep(4 * SECOND).await;
    assert!(throttle.try_send().is_ok());
    drop(sent);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_when_it_is_sent_so_a_service_that_hangs_is_held_back_before_any_call_has_ended() {
    let throttle = throttle();
    let mut sent: Vec<_> = (0..1_000).map(|_| throttle.try_send().expect("the first")).collect();
    sleep(10 * SECOND).await;
    assert_eq!(throttle.chance(), Ratio::percent(90));
    // Answers that come late after all count for the requests that they answer.
    sent.drain(..).for_each(|sent| sent.settle(Outcome::Success));
    assert_eq!(throttle.chance(), Ratio::ZERO);
    assert_eq!(throttle.try_send().map(drop), Ok(()));
}

/// How many are held back in five minutes, of ten in each second, by a service that takes all of them and answers so long after.
async fn held_back_by_slow_calls(settings: ThrottleSettings, takes: Duration) -> u64 {
    let throttle = with(settings);
    let mut under_way = VecDeque::new();
    for _ in 0..3_000 {
        let now = Instant::now();
        while under_way.front().is_some_and(|(ends, _)| *ends <= now) {
            let (_, sent): (_, Sent) = under_way.pop_front().expect("there is one");
            sent.settle(Outcome::Success);
        }
        under_way.extend(throttle.try_send().ok().map(|sent| (now + takes, sent)));
        sleep(100 * MS).await;
    }
    throttle.throttled()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_back_for_being_slow_that_is_answered_within_a_stretch_of_the_window() {
    // Any that counted as refused would be held back for.
    let strict = || ThrottleSettings::new().multiplier(1.0);
    assert_eq!(held_back_by_slow_calls(strict(), 5 * SECOND).await, 0);
    assert!(held_back_by_slow_calls(strict(), 11 * SECOND).await > 0);
    assert!(held_back_by_slow_calls(ThrottleSettings::new(), 30 * SECOND).await > 0);
    assert_eq!(held_back_by_slow_calls(ThrottleSettings::new().window(12 * MINUTE), 30 * SECOND).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_and_its_request_leave_the_window_together() {
    let throttle = throttle();
    let slow: Vec<_> = (0..100).map(|_| throttle.try_send().expect("the first")).collect();
    sleep(119 * SECOND).await;
    let fresh: Vec<_> = (0..100).filter_map(|_| throttle.try_send().ok()).collect();
    sleep(6 * SECOND).await;
    // The requests of two minutes ago are forgotten; so are their answers, which would make a service look better than it is.
    slow.into_iter().for_each(|sent| sent.settle(Outcome::Success));
    fresh.into_iter().for_each(|sent| sent.settle(Outcome::Overload));
    assert_eq!(throttle.chance(), Ratio::percent(90));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_says_nothing_unless_its_time_had_run_out() {
    let hangs =
        || service_fn(|_: Request<Content>| std::future::pending::<Result<Response<Content>, Infallible>>());
    let throttle = throttle();
    let service = AdaptiveThrottleLayer::from(throttle.clone()).layer(hangs());
    for _ in 0..100 {
        let call = service.clone().oneshot(ask());
        tokio::select! { _ = call => unreachable!("it hangs"), () = sleep(MS) => {} }
    }
    sleep(20 * SECOND).await;
    assert_eq!(throttle.chance(), Ratio::ZERO);

    let timed = AttemptTimeoutLayer::new(MS).layer(service);
    for _ in 0..100 {
        timed.clone().oneshot(ask()).await.expect_err("it hangs");
    }
    assert!(throttle.chance() > Ratio::percent(80), "{}", throttle.chance());
}

#[tokio::test(start_paused = true)]
async fn taken_is_what_was_answered_be_it_with_an_error_of_its_own() {
    let of = async |error: fn() -> Result<Response<Content>, Error>| {
        let throttle = throttle();
        let service = AdaptiveThrottleLayer::from(throttle.clone())
            .layer(service_fn(move |_: Request<Content>| async move { error() }));
        for _ in 0..100 {
            let _ = service.clone().oneshot(ask()).await;
        }
        sleep(10 * SECOND).await;
        throttle.chance() > Ratio::percent(50)
    };
    assert!(!of(|| Ok(answer(500))).await);
    assert!(!of(|| Ok(answer(404))).await);
    assert!(of(|| Ok(answer(429))).await);
    assert!(of(|| Err(Error::new(Kind::Timeout, "late"))).await);
    assert!(of(|| Err(Error::new(Kind::Connect, "nobody there"))).await);
    assert!(of(|| Err(Error::new(Kind::Transport, "refused").with_delivery(Delivery::Refused))).await);
    // A limit of ours says nothing about the service.
    assert!(!of(|| Err(Error::new(Kind::Overload, "a limit").with_delivery(Delivery::NotSent))).await);
    assert!(!of(|| Err(Error::new(Kind::CircuitOpen, "a circuit"))).await);
    assert!(!of(|| Err(Error::new(Kind::Invalid, "nonsense"))).await);
}

// ───────────────────────────────────────────────────────────────────────────── what is refused

/// Has counted enough to hold nearly everything back.
fn exhausted() -> AdaptiveThrottle {
    let throttle = throttle();
    for _ in 0..100 {
        let _ = throttle.try_send().map(|sent| sent.settle(Outcome::Overload));
    }
    throttle
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_not_sent_comes_back_and_says_how_it_stands() {
    let (service, asked) = says(Arc::new(AtomicU64::new(429)));
    let service = AdaptiveThrottleLayer::from(exhausted()).layer(service);
    let mut held_back = 0;
    for _ in 0..100 {
        let Err(mut error) = service.clone().oneshot(ask()).await else { continue };
        held_back += 1;
        assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
        assert!(error.forbids_retry() && error.retry_after().is_none());
        assert!(error.cause::<Throttled>().is_some_and(|why| why.chance() > Ratio::percent(80)));
        assert_eq!(error.take_request::<Request<Content>>().unwrap().uri(), "/");
    }
    assert!((80..=97).contains(&held_back), "{held_back}");
    assert_eq!(asked.load(Relaxed), 100 - held_back);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_not_repeated_and_opens_no_circuit() {
    let throttle = exhausted();
    let (events, breaker) = (Recorder::new(), Breaker::new(BreakerSettings::new().min_calls(5)).unwrap());
    let (service, asked) = says(Arc::new(AtomicU64::new(200)));
    let throttled = AdaptiveThrottleLayer::from(throttle.clone()).layer(service);
    let stack = RetryLayer::from(RetrySettings::new().attempts(5))
        .observer(events.clone())
        .layer(BreakerLayer::from(breaker.clone()).layer(throttled));
    let before = throttle.throttled();
    let mut failed = 0;
    for _ in 0..20 {
        let answer = stack.clone().oneshot(ask()).await;
        failed += u64::from(answer.is_err_and(|error| error.cause::<Throttled>().is_some()));
    }
    assert!(failed > 10);
    assert_eq!(throttle.throttled() - before, failed, "each was asked for once");
    assert_eq!(asked.load(Relaxed), 20 - failed);
    assert_eq!(skips(&events).len() as u64, failed);
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_host_that_is_overloaded_holds_back_nothing_that_is_for_another() {
    let to = |host: &str| Request::get(format!("http://{host}/")).body(Content::default()).unwrap();
    let throttles = KeyedAdaptiveThrottle::default().rng(Rng::seeded(3));
    let layer = AdaptiveThrottleLayer::from(throttles.clone());
    // One service for both, which remembers the throttle that it used last.
    let mut service = layer.layer(service_fn(|request: Request<Content>| async move {
        Ok::<_, Infallible>(answer(if request.uri().host() == Some("sick.test") { 429 } else { 200 }))
    }));
    let mut held_back = 0;
    for _ in 0..200 {
        held_back += u32::from(service.ready().await.unwrap().call(to("sick.test")).await.is_err());
        assert!(service.ready().await.unwrap().call(to("well.test")).await.is_ok());
    }
    assert!(held_back > 100, "{held_back}");
    assert_eq!(throttles.len(), 2);
    let of = |host: &str| throttles.get(&stonework::base::HostPort::of(&to(host))).chance();
    assert_eq!((of("sick.test"), of("well.test")), (Ratio::percent(90), Ratio::ZERO));
    assert_eq!(of("sick.test:8080"), Ratio::ZERO);
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_throttles_than_there_may_be_and_those_in_use_are_kept() {
    let throttles = KeyedAdaptiveThrottle::new(ThrottleSettings::new()).unwrap().max_keys(10);
    let kept = throttles.get(&0);
    for _ in 0..100 {
        if let Ok(sent) = kept.try_send() {
            sent.settle(Outcome::Overload);
        }
    }
    for key in 0..10_000 {
        assert!(throttles.try_send(&key).is_ok() || key == 0);
        assert!(throttles.len() <= 10);
    }
    assert_eq!(throttles.get(&0).chance(), Ratio::percent(90));
}

#[tokio::test(start_paused = true)]
async fn it_works_over_any_service_and_can_be_switched_off() {
    let judge = |result: Result<&String, &Error>| match result {
        Ok(text) if text == "busy" => Outcome::Overload,
        _ => Outcome::Success,
    };
    for is_on in [true, false] {
        let throttle = throttle();
        let layer = AdaptiveThrottleLayer::from(throttle.clone()).classify(judge).when(is_on);
        let service = layer.layer(service_fn(|_: u32| async { Ok::<_, Infallible>("busy".to_owned()) }));
        for call in 0..100 {
            let _ = service.clone().oneshot(call).await;
        }
        assert_eq!(throttle.throttled() > 50, is_on);
    }
    // By a key of one's own.
    let by_parity = |number: &u32| number % 2;
    let layer = AdaptiveThrottleLayer::keyed(KeyedAdaptiveThrottle::default(), by_parity).classify(judge);
    let service = layer.layer(service_fn(|number: u32| async move {
        Ok::<_, Infallible>(if number.is_multiple_of(2) { "busy" } else { "here" }.to_owned())
    }));
    for number in 0..200 {
        let answer = service.clone().oneshot(number).await;
        assert!(answer.is_ok() || number % 2 == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_is_waited_for() {
    let mut service = AdaptiveThrottleLayer::default().layer(NeverReady);
    let ready = tokio::time::timeout(SECOND, ServiceExt::<Request<Content>>::ready(&mut service)).await;
    assert!(ready.is_err());
}

#[test]
fn settings_that_cannot_be_are_refused_with_their_reason() {
    let new = ThrottleSettings::new;
    for (settings, why) in [
        (new().multiplier(0.99), InvalidThrottle::Multiplier),
        (new().multiplier(f64::NAN), InvalidThrottle::Multiplier),
        (new().multiplier(f64::INFINITY), InvalidThrottle::Multiplier),
        (new().max_rejection(Ratio::percent(100)), InvalidThrottle::All),
        (new().window(999 * MS), InvalidThrottle::Window),
    ] {
        assert_eq!(AdaptiveThrottle::new(settings).err(), Some(why));
        assert_eq!(KeyedAdaptiveThrottle::<u8>::new(settings).err(), Some(why));
        assert_eq!(AdaptiveThrottleLayer::new(settings).err(), Some(why));
    }
    assert!(AdaptiveThrottle::new(new().window(Duration::MAX).multiplier(1.0)).is_ok());
}
