//! The script finds what it is there to find: layers that are wrong on purpose, and what it says of each.

use std::collections::BTreeSet;
use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stonework::base::BoxError;
use tower::{Service, ServiceExt};

use crate::cases;
use crate::kit::{self, Answering, Boxed, Row, Traits, run};
use crate::rows::{Http, HttpAnswer, HttpRequest, PAUSE, seal_http};

/// A service that does as it should, but for what is said otherwise.
macro_rules! wrong {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $ready:item $call:item }) => {
        $(#[$doc])*
        #[derive(Clone)]
        struct $name($inner);

        impl Service<HttpRequest> for $name {
            type Response = HttpAnswer;
            type Error = BoxError;
            type Future = Answering<HttpAnswer>;

            $ready
            $call
        }
    };
}

wrong! {
    /// Makes one value ready and calls another.
    CallsTheClone(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            self.0.clone().call(request)
        }
    }
}

wrong! {
    /// Never gives back what it reserved.
    Leaks(ManuallyDrop<Boxed<Http>>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            self.0.call(request)
        }
    }
}

wrong! {
    /// Asks once, and takes any answer for a yes.
    AsksOnce(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            match self.0.poll_ready(cx) {
                Poll::Ready(ready) => Poll::Ready(ready),
                Poll::Pending => Poll::Ready(Ok(())),
            }
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            self.0.call(request)
        }
    }
}

wrong! {
    /// Tries again without waiting for readiness.
    RepeatsUnready(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            let mut service = take(&mut self.0);
            let first = service.call(request.clone());
            Box::pin(async move {
                let answer = first.await?;
                if answer.status().is_success() { Ok(answer) } else { service.call(request).await }
            })
        }
    }
}

wrong! {
    /// Makes itself ready for the second attempt, and then pauses.
    ReservesInThePause(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            let mut service = take(&mut self.0);
            let first = service.call(request.clone());
            Box::pin(async move {
                let answer = first.await?;
                if answer.status().is_success() {
                    return Ok(answer);
                }
                service.ready().await?;
                tokio::time::sleep(PAUSE).await;
                service.call(request).await
            })
        }
    }
}

wrong! {
    /// Asks again after readiness failed.
    Insists(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            match ready!(self.0.poll_ready(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(_) => self.0.poll_ready(cx),
            }
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            self.0.call(request)
        }
    }
}

wrong! {
    /// Leaves the call running when its caller goes away.
    Detaches(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            let task = tokio::spawn(self.0.call(request));
            Box::pin(async move { task.await? })
        }
    }
}

wrong! {
    /// Forgets the waker of the task that it was moved to.
    SleepsThroughIt(Boxed<Http>) {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: HttpRequest) -> Self::Future {
            Box::pin(FirstWakerOnly { inner: self.0.call(request), asked: false })
        }
    }
}

struct FirstWakerOnly {
    inner: Answering<HttpAnswer>,
    asked: bool,
}

impl Future for FirstWakerOnly {
    type Output = Result<HttpAnswer, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if mem::replace(&mut self.asked, true) {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(cx)
    }
}

/// The ready service; a clone stays in its place.
fn take(service: &mut Boxed<Http>) -> Boxed<Http> {
    let clone = service.clone();
    mem::replace(service, clone)
}

/// What the script says: the cases that failed, and all of it.
fn complaints(traits: Traits, wrap: fn(Boxed<Http>) -> Boxed<Http>) -> (BTreeSet<String>, String) {
    let rows: [Row<Http>; 1] = [Row { layer: "Wrong", mode: "", traits, wrap }];
    let lines = run(&kit::alone(&rows), cases::all);
    let case = |line: &String| line.split(": ").nth(1).unwrap_or_default().to_owned();
    (lines.iter().map(case).collect(), lines.join("\n"))
}

fn assert_finds(traits: Traits, wrap: fn(Boxed<Http>) -> Boxed<Http>, case: &str, what: &str) {
    let (cases, all) = complaints(traits, wrap);
    assert!(cases.contains(case), "{case} found nothing; all that was found:\n{all}");
    let line = all.lines().find(|line| line.starts_with(&format!("Wrong: {case}: "))).unwrap_or_default();
    assert!(line.contains(what), "{line}");
}

const PLAIN: Traits = Traits { always_ready: false, limit: None, retries: false, hedges: false };
const RETRIES: Traits = Traits { retries: true, ..PLAIN };

#[test]
fn a_layer_that_calls_the_clone_is_found() {
    let wrap = |inner| seal_http(CallsTheClone(inner));
    assert_finds(PLAIN, wrap, "the_first_polls_are_pending", "a clone is never ready");
    assert_finds(PLAIN, wrap, "clones_are_made_and_called_at_every_moment", "a clone is never ready");
}

#[test]
fn a_layer_that_leaks_a_reservation_is_found() {
    let wrap = |inner| seal_http(Leaks(ManuallyDrop::new(inner)));
    assert_finds(PLAIN, wrap, "dropped_between_ready_and_call", "it never ended");
    assert_finds(PLAIN, wrap, "clones_are_made_and_called_at_every_moment", "1 reservations held");
}

#[test]
fn a_layer_that_polls_readiness_once_only_is_found() {
    let wrap = |inner| seal_http(AsksOnce(inner));
    assert_finds(PLAIN, wrap, "the_first_polls_are_pending", "ready at the first poll");
    assert_finds(PLAIN, wrap, "one_place_and_many_users", "although `poll_ready` returned `Pending`");
}

#[test]
fn a_layer_that_repeats_without_readiness_is_found() {
    let wrap = |inner| seal_http(RepeatsUnready(inner));
    assert_finds(RETRIES, wrap, "tried_again_until_it_succeeds", "a second `call` on one readiness");
}

#[test]
fn a_layer_that_holds_a_reservation_in_a_pause_is_found() {
    let wrap = |inner| seal_http(ReservesInThePause(inner));
    assert_finds(RETRIES, wrap, "dropped_in_a_pause", "held in a pause");
}

#[test]
fn a_layer_that_goes_on_after_readiness_failed_is_found() {
    let wrap = |inner| seal_http(Insists(inner));
    assert_finds(PLAIN, wrap, "readiness_fails", "`poll_ready` after `poll_ready` returned an error");
}

#[test]
fn a_layer_whose_call_outlives_its_caller_is_found() {
    let wrap = |inner| seal_http(Detaches(inner));
    assert_finds(PLAIN, wrap, "dropped_in_the_middle_of_a_call", "in flight, dropped");
}

#[test]
fn a_layer_that_keeps_an_old_waker_is_found() {
    let wrap = |inner| seal_http(SleepsThroughIt(inner));
    assert_finds(PLAIN, wrap, "moved_to_another_task_in_the_middle_of_a_call", "it never ended");
}

#[test]
fn a_limit_that_is_not_kept_is_found() {
    let claimed = Traits { limit: Some(PAUSE), ..PLAIN };
    assert_finds(claimed, |inner| inner, "a_limit_runs_out_in_the_call", "with Some(1s)");
}

#[test]
fn a_service_with_no_layer_has_nothing_to_complain_of() {
    let (_, all) = complaints(PLAIN, |inner| inner);
    assert_eq!(all, "");
}
