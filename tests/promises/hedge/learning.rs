//! How long a call is waited for.

use std::time::Duration;

use http::Method;
use stonework::base::Ratio;
use stonework::hedge::{Hedge, HedgeLayer, HedgeSettings};
use stonework::testing::Step;
use stonework::timeout::TimeoutLayer;
use tower::{Layer, ServiceExt};

use super::{MS, after, status};
use crate::support::{Backend, answered, request};

/// After this many calls of 10 ms.
async fn taught(hedge: &Hedge, calls: u32) {
    let service = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| after(10, 200)));
    for _ in 0..calls {
        status(&service).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_before_enough_calls_were_measured() {
    let hedge = Hedge::default();
    taught(&hedge, 99).await;
    assert_eq!(hedge.delay(), None);
    let backend = Backend::steps([after(1_000, 200), Step::Hang, after(5, 200)]);
    let (seen, service) = (backend.seen(), HedgeLayer::from(hedge.clone()).layer(backend));
    assert_eq!((status(&service).await, seen.count()), (200, 1));
    let delay = hedge.delay().unwrap();
    assert!((10 * MS..12 * MS).contains(&delay), "{delay:?}: one of a hundred took longer");
    assert_eq!((status(&service).await, seen.count()), (200, 3), "the next is helped");
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_handle_learn_together_and_others_do_not() {
    let hedge = Hedge::new(HedgeSettings::new().min_calls(20));
    taught(&hedge.clone(), 20).await;
    assert!(hedge.delay().is_some());
    assert_eq!(HedgeLayer::from(hedge.clone()).hedge().delay(), hedge.delay());
    assert_eq!(HedgeLayer::from(hedge.settings().clone()).hedge().delay(), None);
}

#[tokio::test(start_paused = true)]
async fn answers_that_were_there_at_once_and_requests_that_are_sent_once_say_nothing() {
    let hedge = Hedge::new(HedgeSettings::new().min_calls(20));
    taught(&hedge, 20).await;
    let known = hedge.delay();
    let at_once = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| answered(200)));
    let slow = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| after(1_000, 200)));
    for _ in 0..2_000 {
        status(&at_once).await;
        slow.clone().oneshot(request(Method::POST)).await.unwrap();
    }
    assert_eq!(hedge.delay(), known);
}

#[tokio::test(start_paused = true)]
async fn what_a_second_attempt_made_short_does_not_make_the_next_ones_impatient() {
    // One of ten hangs, and the second attempt helps it. What helped must not count for what it helped.
    let hedge = Hedge::new(HedgeSettings::new().quantile(Ratio::percent(95)).without_budget());
    let mut number = 0;
    let backend = Backend::script(move |_, request| {
        if request.headers().contains_key("stonework-attempt") {
            return after(10, 200);
        }
        number += 1;
        if number % 10 == 0 { Step::Hang } else { after(10 + number % 10, 200) }
    });
    let service = HedgeLayer::from(hedge.clone()).layer(backend);
    taught(&hedge, 100).await;
    for _ in 0..5_000 {
        status(&service).await;
    }
    let delay = hedge.delay().unwrap();
    assert!(delay > 20 * MS, "a tenth takes longer than any of the others: {delay:?}");
    let fired = hedge.stats().fired;
    assert!(fired <= 5_000 / 10 + 100, "{fired} fired");
}

#[tokio::test(start_paused = true)]
async fn calls_that_nobody_waited_for_to_their_end_were_slow_too() {
    let hedge = Hedge::default();
    taught(&hedge, 200).await;
    let hangs = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| Step::Hang));
    let hangs = TimeoutLayer::new(500 * MS).layer(hangs);
    for _ in 0..100 {
        hangs.clone().oneshot(request(Method::GET)).await.unwrap_err();
    }
    assert!(hedge.delay().unwrap() > 450 * MS, "{:?}", hedge.delay());
    // Nobody tells those that their callers drop how long they may take.
    let hedge = Hedge::default();
    taught(&hedge, 200).await;
    let hangs = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| Step::Hang));
    for _ in 0..100 {
        let dropped = tokio::time::timeout(500 * MS, status(&hangs)).await;
        assert!(dropped.is_err());
    }
    assert!(hedge.delay().unwrap() > 450 * MS, "{:?}", hedge.delay());
}

#[tokio::test(start_paused = true)]
async fn when_all_are_slow_hedging_dries_up() {
    let hedge = Hedge::default();
    let mut slow = false;
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let backend = Backend::script(move |_, _| {
        slow |= told.try_recv().is_ok();
        after(if slow { 1_000 } else { 10 }, 200)
    });
    let (seen, service) = (backend.seen(), HedgeLayer::from(hedge.clone()).layer(backend));
    // Twenty at a time.
    let round = async |rounds: u32| {
        for _ in 0..rounds {
            futures_util::future::join_all((0..20).map(|_| status(&service))).await;
        }
        seen.take().len() as u32
    };
    assert_eq!(round(50).await, 1_000, "nothing is added while all are alike");
    tell.send(()).unwrap();
    let first = round(5).await - 100;
    assert!(first <= 15, "{first}: what the budget has");
    assert_eq!(round(50).await, 1_000, "it is known by now");
}

#[tokio::test(start_paused = true)]
async fn it_is_not_forgotten_in_a_quiet_hour_and_learned_anew_when_things_change() {
    let hedge = Hedge::new(HedgeSettings::new().window(Duration::from_secs(2)));
    let slow = HedgeLayer::from(hedge.clone()).layer(Backend::script(|_, _| after(500, 200)));
    for _ in 0..120 {
        status(&slow).await;
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(hedge.delay().unwrap() > 500 * MS);
    taught(&hedge, 500).await;
    assert!(hedge.delay().unwrap() < 12 * MS, "{:?}", hedge.delay());
}
