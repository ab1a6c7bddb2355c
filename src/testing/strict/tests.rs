use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tower::ServiceExt;
use tower_service::Service;

use super::{Breach, Strict, StrictFuture};

/// Answers the request itself, at once.
#[derive(Clone)]
struct Echo;

impl Service<String> for Echo {
    type Response = String;
    type Error = Infallible;
    type Future = Ready<Result<String, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: String) -> Self::Future {
        ready(Ok(request))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn ask<S: Service<String>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn ask_as<S: Service<String>>(service: &mut S, woken: &Arc<Woken>) -> bool {
    service.poll_ready(&mut Context::from_waker(&Waker::from(woken.clone()))).is_ready()
}

fn ready_strict() -> Strict<Echo> {
    let mut service = Strict::new(Echo);
    assert!(ask(&mut service).is_ready());
    service
}

fn text() -> String {
    "text".to_owned()
}

mod breaches {
    use super::*;

    /// Makes its inner service ready, and calls a clone of it.
    struct CallsTheClone<S>(S);

    impl<S: Service<String> + Clone> Service<String> for CallsTheClone<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, request: String) -> S::Future {
            self.0.clone().call(request)
        }
    }

    /// Takes any answer of `poll_ready` for a yes.
    struct Impatient<S>(S);

    impl<S: Service<String>> Service<String> for Impatient<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            let _ = self.0.poll_ready(cx);
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: String) -> S::Future {
            self.0.call(request)
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a clone is never ready")]
    async fn a_layer_that_calls_the_clone_is_caught() {
        let _ = CallsTheClone(Strict::new(Echo)).oneshot(text()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "`call` although `poll_ready` returned `Pending`")]
    async fn a_layer_that_does_not_wait_is_caught_by_pending_first() {
        let _ = Impatient(Strict::new(Echo).pending_first(1)).oneshot(text()).await;
    }

    #[test]
    #[should_panic(expected = "never asked for readiness. To mend it: drive `poll_ready`")]
    fn a_call_without_readiness_is_caught() {
        drop(Strict::new(Echo).call(text()));
    }

    #[test]
    #[should_panic(expected = "a clone is never ready")]
    fn a_clone_does_not_inherit_readiness() {
        drop(ready_strict().clone().call(text()));
    }

    #[test]
    #[should_panic(expected = "a second `call` on one readiness")]
    fn a_second_call_on_one_readiness_is_caught() {
        let mut service = ready_strict();
        drop(service.call(text()));
        drop(service.call(text()));
    }

    fn failed() -> impl Service<String, Error = u8> {
        let inner = tower::service_fn(|_: String| ready(Ok::<(), u8>(())));
        let mut service = Strict::new(inner).fail_readiness_at(1, || 9_u8);
        assert_eq!(ask(&mut service), Poll::Ready(Err(9)));
        service
    }

    #[test]
    #[should_panic(expected = "`poll_ready` after `poll_ready` returned an error")]
    fn asking_again_after_a_failure_is_caught() {
        let _ = ask(&mut failed());
    }

    #[test]
    #[should_panic(expected = "`call` after `poll_ready` returned an error")]
    fn a_call_after_a_failure_is_caught() {
        drop(failed().call(text()));
    }

    #[test]
    #[should_panic(expected = "polled after it had answered")]
    fn a_future_polled_after_its_answer_is_caught() {
        let mut call = pin!(ready_strict().call(text()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_ready());
        let _ = call.poll(&mut cx);
    }

    #[test]
    #[should_panic(expected = "went from `Ready(Ok)` back to `Pending`")]
    fn an_inner_service_that_withdraws_its_readiness_is_caught() {
        struct Fickle(bool);
        impl Service<String> for Fickle {
            type Response = ();
            type Error = Infallible;
            type Future = Ready<Result<(), Infallible>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                self.0 = !self.0;
                if self.0 { Poll::Ready(Ok(())) } else { Poll::Pending }
            }
            fn call(&mut self, _: String) -> Self::Future {
                ready(Ok(()))
            }
        }
        let mut service = Strict::new(Fickle(false));
        assert!(ask(&mut service).is_ready());
        let _ = ask(&mut service);
    }

    #[test]
    #[should_panic(expected = "a second `call` on one readiness")]
    fn a_breach_whose_panic_was_swallowed_still_fails_the_final_assertion() {
        let mut service = ready_strict();
        let ledger = service.ledger();
        drop(service.call(text()));
        let swallowed = catch_unwind(AssertUnwindSafe(|| drop(service.call(text()))));
        assert!(swallowed.is_err());
        assert_eq!(ledger.breaches(), [Breach::CalledTwice]);
        drop(service);
        ledger.assert_settled();
    }

    /// Where this panics.
    fn place_of(breach: impl FnOnce()) -> (String, u32) {
        let (here, before) = (std::thread::current().id(), std::panic::take_hook());
        let seen = Arc::new(Mutex::new(None));
        let note = seen.clone();
        // It stays, and does what the one before it did; tests that panic in other threads meanwhile are none of its business.
        std::panic::set_hook(Box::new(move |info| {
            if let (true, Some(at)) = (std::thread::current().id() == here, info.location()) {
                *note.lock().expect("nobody panics with it") = Some((at.file().to_owned(), at.line()));
            }
            before(info);
        }));
        catch_unwind(AssertUnwindSafe(breach)).expect_err("it panics");
        seen.lock().expect("nobody panics with it").take().expect("a place")
    }

    #[test]
    fn the_panic_points_at_the_line_that_broke_the_rule() {
        let expect = |at: (String, u32), line: u32| assert_eq!(at, (file!().to_owned(), line));

        let mut clone = ready_strict().clone();
        expect(place_of(|| drop(clone.call(text()))), line!());

        let mut held = ready_strict();
        let mut answer = Box::pin(held.call(text()));
        let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(poll());
        let line = line!() - 2;
        expect(place_of(|| _ = poll()), line);

        assert!(ask(&mut held).is_ready());
        let ledger = held.ledger();
        expect(place_of(|| ledger.assert_settled()), line!());
    }

    #[test]
    fn every_breach_names_the_rule_and_the_cure() {
        for breach in [
            Breach::CalledClone,
            Breach::CalledFailed,
            Breach::CalledPending,
            Breach::CalledTwice,
            Breach::CalledUnasked,
            Breach::PolledAnswered,
            Breach::PolledFailed,
            Breach::ReadyWithdrawn,
        ] {
            let message = breach.to_string();
            assert!(message.starts_with("Service contract broken: "), "{message}");
            assert!(message.contains(". To mend it: "), "{message}");
        }
    }
}

mod readiness {
    use super::*;

    #[test]
    fn asking_a_ready_value_again_reserves_nothing_more() {
        let mut service = ready_strict();
        assert!(ask(&mut service).is_ready());
        assert_eq!(service.ledger().reservations_out(), 1);
        assert_eq!(service.ledger().polls(), 2);
    }

    #[test]
    fn the_ready_value_may_be_taken_out_and_called() {
        let mut service = ready_strict();
        let clone = service.clone();
        let mut taken = std::mem::replace(&mut service, clone);
        drop(taken.call(text()));
        let ledger = service.ledger();
        assert_eq!((ledger.calls(), ledger.clones(), ledger.dropped()), (1, 1, 1));
        ledger.assert_settled();
    }

    #[test]
    fn pending_first_holds_for_every_readiness_and_wakes_at_once() {
        let mut service = Strict::new(Echo).pending_first(2);
        for _ in 0..2 {
            let woken = Arc::new(Woken::default());
            assert!(!ask_as(&mut service, &woken));
            assert!(!ask_as(&mut service, &woken));
            assert_eq!(woken.times(), 2);
            assert!(ask_as(&mut service, &woken));
            drop(service.call(text()));
        }
    }

    #[test]
    fn a_held_service_becomes_ready_when_released() {
        let mut service = Strict::new(Echo).held();
        let ledger = service.ledger();
        let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        assert!(!ask_as(&mut service, &first));
        assert!(!ask_as(&mut service, &second));
        assert_eq!(ledger.waiting(), 1);
        ledger.release();
        assert_eq!((first.times(), second.times()), (0, 1), "only the last waker counts");
        assert!(ask_as(&mut service, &second));
    }

    #[test]
    fn the_chosen_poll_fails_with_the_error_of_the_service() {
        let inner = tower::service_fn(|_: String| ready(Err::<String, _>(7_u8)));
        let mut service = Strict::new(inner).fail_readiness_at(2, || 9_u8);
        let ledger = service.ledger();
        assert!(ask(&mut service).is_ready());
        assert_eq!(ask(&mut service), Poll::Ready(Err(9)));
        assert_eq!(ledger.reservations_out(), 0, "a failed value returns what it held");
        let mut clone = service.clone();
        assert_eq!(ask(&mut clone), Poll::Ready(Ok(())), "a clone goes on");
    }

    #[test]
    #[should_panic(expected = "must make the error of the wrapped service")]
    fn a_failure_of_another_type_is_refused() {
        let mut service = Strict::new(Echo).fail_readiness_at(1, || "text");
        let _ = ask(&mut service);
    }
}

mod capacity {
    use super::*;

    fn limited(most: usize) -> Strict<Echo> {
        Strict::new(Echo).capacity(most)
    }

    #[test]
    fn reservations_and_calls_in_flight_share_the_capacity() {
        let mut first = limited(2);
        let (mut second, mut third) = (first.clone(), first.clone());
        let woken = Arc::new(Woken::default());
        assert!(ask(&mut first).is_ready());
        assert!(ask(&mut second).is_ready());
        assert!(!ask_as(&mut third, &woken));
        let call = first.call(text());
        assert_eq!(woken.times(), 0, "a call keeps the place that was reserved for it");
        drop(call);
        assert_eq!(woken.times(), 1);
        assert!(ask_as(&mut third, &woken));
        assert_eq!(first.ledger().peak_in_flight(), 1);
    }

    #[tokio::test]
    async fn an_answer_frees_the_place_even_if_the_future_is_kept() {
        let mut first = limited(1);
        let mut second = first.clone();
        assert!(ask(&mut first).is_ready());
        let mut call = first.call(text());
        Pin::new(&mut call).await.expect("echoed");
        assert!(ask(&mut second).is_ready());
        drop(call);
        assert_eq!((first.ledger().answered(), first.ledger().dropped()), (1, 0));
    }

    #[test]
    fn places_are_given_first_come_first_served() {
        let mut first = limited(1);
        let (mut second, mut third) = (first.clone(), first.clone());
        let (woken2, woken3) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        assert!(ask(&mut first).is_ready());
        assert!(!ask_as(&mut second, &woken2));
        assert!(!ask_as(&mut third, &woken3));
        drop(first);
        assert_eq!((woken2.times(), woken3.times()), (1, 0));
        assert!(!ask_as(&mut third, &woken3), "a newcomer does not overtake");
        assert!(ask_as(&mut second, &woken2));
    }

    #[test]
    fn a_waiter_that_goes_away_lets_the_next_one_in() {
        let mut first = limited(1);
        let (mut second, mut third) = (first.clone(), first.clone());
        let woken = Arc::new(Woken::default());
        assert!(ask(&mut first).is_ready());
        assert!(!ask_as(&mut second, &Arc::default()));
        assert!(!ask_as(&mut third, &woken));
        drop(first);
        drop(second);
        assert_eq!(woken.times(), 1, "the place offered to the second goes on to the third");
        assert!(ask_as(&mut third, &woken));
    }

    #[test]
    #[should_panic(expected = "not settled: 1 reservations held")]
    fn a_forgotten_reservation_blocks_others_and_is_counted() {
        let mut kept = limited(1);
        let ledger = kept.ledger();
        assert!(ask(&mut kept).is_ready());
        let mut other = kept.clone();
        assert!(ask(&mut other).is_pending());
        drop(other);
        ledger.assert_settled();
    }

    #[test]
    #[should_panic(expected = "1 calls in flight")]
    fn a_call_that_is_kept_alive_is_counted() {
        let mut service = ready_strict();
        let _call: StrictFuture<_> = service.call(text());
        service.ledger().assert_settled();
    }
}

#[test]
fn strict_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync>(_: &T) {}
    shareable(&Strict::new(Echo));
    shareable(&Strict::new(Echo).ledger());
    assert!(format!("{:?}", ready_strict()).contains("reservations_out: 1"));
}
