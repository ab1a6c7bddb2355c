use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_service::Service;

use super::{Scripted, Step};

const SECOND: Duration = Duration::from_secs(1);

fn answers() -> Scripted<u32, u32, String> {
    Scripted::script(|call, request| Step::Answer(request * 10 + call as u32))
}

#[tokio::test]
async fn clones_share_the_script_and_the_record() {
    let mut service = answers();
    let mut clone = service.clone();
    assert_eq!(service.call(1).await, Ok(11));
    assert_eq!(clone.call(2).await, Ok(22));
    assert_eq!(service.call(3).await, Ok(33));
    assert_eq!(clone.seen().requests(), [1, 2, 3]);
}

#[tokio::test]
#[should_panic(expected = "call 2 came, but the script has only 1 steps")]
async fn a_call_beyond_the_steps_panics() {
    let mut service: Scripted<(), (), String> = Scripted::steps([Step::Answer(())]);
    let _ = service.call(()).await;
    let _ = service.call(()).await;
}

#[tokio::test(start_paused = true)]
async fn pauses_count_from_the_call_and_obey_the_paused_clock() {
    let mut service: Scripted<(), u8, u8> =
        Scripted::steps([Step::AnswerAfter(3 * SECOND, 1), Step::FailAfter(SECOND, 2)]);
    let start = Instant::now();
    let (slow, quick) = (service.call(()), service.call(()));
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(quick.await, Err(2));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(slow.await, Ok(1));
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_never_answers_and_its_drop_is_counted() {
    let mut service: Scripted<(), (), String> = Scripted::steps([Step::Hang]);
    let seen = service.seen();
    let call = service.call(());
    assert_eq!(seen.in_flight(), 1);
    assert!(timeout(1000 * SECOND, call).await.is_err());
    assert_eq!((seen.in_flight(), seen.abandoned()), (0, 1));
}

#[tokio::test]
async fn an_answered_call_is_not_abandoned() {
    let mut service = answers();
    let mut call = service.call(1);
    (&mut call).await.expect("answered");
    drop(call);
    assert_eq!((service.seen().in_flight(), service.seen().abandoned()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stall_holds_readiness_before_its_call_only() {
    let mut service = answers().stall_ready(2, SECOND);
    let start = Instant::now();
    service.ready().await.expect("ready").call(1).await.expect("answered");
    assert_eq!(start.elapsed(), Duration::ZERO);
    service.ready().await.expect("ready").call(2).await.expect("answered");
    assert_eq!(start.elapsed(), SECOND);
    service.ready().await.expect("ready").call(3).await.expect("answered");
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(service.seen().gaps(), [SECOND, Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_one_for_all_clones_and_wakes_each() {
    let mut service = answers().stall_ready(1, SECOND);
    let mut clone = service.clone();
    let start = Instant::now();
    let (one, other) = tokio::join!(service.ready(), clone.ready());
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_endless_stall_does_not_overflow() {
    let mut service = answers().stall_ready(1, Duration::MAX);
    assert!(timeout(1000 * SECOND, service.ready()).await.is_err());
}

#[tokio::test]
async fn readiness_fails_once_before_its_call() {
    let mut service = answers().fail_ready(1, "closed".to_owned());
    assert_eq!(service.ready().await.map(|_| ()), Err("closed".to_owned()));
    assert!(service.clone().ready().await.is_ok());
}

#[tokio::test]
async fn requests_that_cannot_be_cloned_can_be_taken_and_looked_at() {
    struct Once(&'static str);
    let mut service: Scripted<Once, (), String> = Scripted::script(|_, _| Step::Answer(()));
    let seen = service.seen();
    service.call(Once("a")).await.expect("answered");
    assert_eq!(seen.with(|requests| requests[0].0), "a");
    assert_eq!(seen.take().len(), 1);
    assert_eq!((seen.take().len(), seen.count()), (0, 1));
}

#[test]
fn scripted_can_be_shared_between_threads_whatever_it_carries() {
    fn shareable<T: Send + Sync>(_: &T) {}
    let service: Scripted<std::cell::Cell<u8>, std::cell::Cell<u8>> = Scripted::script(|_, _| Step::Hang);
    shareable(&service);
    shareable(&service.seen());
}

#[tokio::test(start_paused = true)]
async fn readiness_that_was_given_is_not_taken_back_by_what_others_call() {
    let mut service = answers().stall_ready(2, SECOND);
    let mut clone = service.clone();
    for value in [&mut service, &mut clone] {
        assert!(value.ready().await.is_ok());
    }
    assert_eq!(service.call(1).await, Ok(11));
    // Before the second call everybody waits who was not told otherwise.
    assert!(timeout(Duration::ZERO, clone.ready()).await.is_ok());
    assert!(timeout(SECOND / 2, clone.clone().ready()).await.is_err());
}
