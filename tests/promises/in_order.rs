//! Of what two threads change one after the other, the observer hears in that order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use stonework::balance::Balancer;
use stonework::base::{CircuitState, EndpointId, EndpointState, Event, HealthState, Observer};
use stonework::breaker::Breaker;
use stonework::health::{Health, Verdict};

use crate::support::SECOND;

/// Is busy with the first event until the second has happened.
struct Slow {
    first: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Observer for Slow {
    fn observe(&self, event: &Event) {
        let first = self.first.lock().unwrap().take();
        if let Some((busy, go_on)) = first {
            busy.send(()).unwrap();
            assert_eq!(go_on.recv_timeout(10 * SECOND), Err(RecvTimeoutError::Disconnected), "it was let go");
        }
        self.told.lock().unwrap().push(event.clone());
    }
}

/// What is told, when something happens in one thread while another one is about to tell what happened before.
fn told<T: Sync>(
    watched: impl FnOnce(Slow) -> T,
    before: impl FnOnce(&T) + Send,
    after: impl FnOnce(&T),
) -> Vec<Event> {
    let ((busy, is_busy), (go, go_on)) = (channel(), channel());
    let told = Arc::default();
    let watched = watched(Slow { first: Mutex::new(Some((busy, go_on))), told: Arc::clone(&told) });
    thread::scope(|scope| {
        scope.spawn(|| before(&watched));
        is_busy.recv_timeout(10 * SECOND).expect("something happens");
        after(&watched);
        drop(go);
    });
    let told = told.lock().unwrap();
    told.clone()
}

#[test]
fn of_a_circuit() {
    let circuit = |slow| Breaker::default().observer(slow);
    let events = told(circuit, Breaker::force_open, Breaker::reset);
    let states = events.iter().map(|event| match event {
        Event::CircuitChanged { from, to, .. } => (*from, *to),
        other => panic!("{other:?}"),
    });
    let expected = [CircuitState::Closed, CircuitState::ForcedOpen, CircuitState::Closed];
    assert_eq!(states.collect::<Vec<_>>(), [(expected[0], expected[1]), (expected[1], expected[2])]);
}

#[tokio::test(start_paused = true)]
async fn of_the_endpoints_of_a_balancer() {
    let balancer =
        |slow| Balancer::builder(EndpointId::clone).observer(slow).build().expect("valid settings");
    let nobody: [&str; 0] = [];
    let events = told(balancer, |balancer| balancer.set(["a:1"]), |balancer| balancer.set(nobody));
    let states = events.iter().map(|event| match event {
        Event::EndpointChanged { to, .. } => *to,
        other => panic!("{other:?}"),
    });
    assert_eq!(states.collect::<Vec<_>>(), [EndpointState::Ready, EndpointState::Draining]);
}

#[tokio::test(start_paused = true)]
async fn of_a_check() {
    let is_well = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_well);
    let check =
        move || if asked.load(Ordering::Relaxed) { Verdict::pass() } else { Verdict::fail("it is ill") };
    let health = |slow| Health::builder().liveness("alive", check).observer(slow).build().expect("valid");
    let events = told(
        health,
        |health| drop(health.report()),
        |health| {
            is_well.store(true, Ordering::Relaxed);
            drop(health.report());
        },
    );
    let states = events.iter().map(|event| match event {
        Event::HealthChanged { to, .. } => *to,
        other => panic!("{other:?}"),
    });
    assert_eq!(states.collect::<Vec<_>>(), [HealthState::Fail, HealthState::Pass]);
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_a_check_earlier_and_hears_later_is_not_who_is_believed() {
    let ((busy, is_busy), (go, go_on)) = (channel(), channel::<()>());
    let first = Mutex::new(Some((busy, go_on)));
    let check = move || {
        let Some((busy, go_on)) = first.lock().unwrap().take() else { return Verdict::pass() };
        busy.send(()).unwrap();
        assert_eq!(go_on.recv_timeout(10 * SECOND), Err(RecvTimeoutError::Disconnected), "it was let go");
        Verdict::fail("it was ill")
    };
    let health = Health::builder().liveness("alive", check).build().expect("valid");
    let heard = thread::scope(|scope| {
        let slow = scope.spawn(|| health.status());
        is_busy.recv_timeout(10 * SECOND).expect("it is asked");
        let quick = health.status();
        drop(go);
        [quick, slow.join().unwrap()]
    });
    assert_eq!(heard.map(|status| status.live), [true, true]);
}
