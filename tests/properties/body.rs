//! Bodies that are sent again, and bodies that keep something until they are used up.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use proptest::prelude::*;
use stonework::base::BoxError;
use stonework::base::body::{
    Body, BodyEnd, Guard, Held, HoldUntil, Replay, ReplayBody, ReplayLimit, SourceFailed,
};

// ---- a source that does as it is told ----

#[derive(Clone, Debug)]
enum Step {
    Wait,
    Data(Vec<u8>),
    Trailers(u8),
    Fail,
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is on fire")
    }
}

impl std::error::Error for Broken {}

/// What the outside world does to the source, and what it sees of it.
#[derive(Default)]
struct Outside {
    /// The waker of the last poll that was told to wait.
    waker: Mutex<Option<Waker>>,
    /// Bytes of the source's frames that somebody still holds.
    held: AtomicUsize,
}

impl Outside {
    /// Something arrives. False if nobody waits for it.
    fn fire(&self) -> bool {
        let waker = self.waker.lock().unwrap().take();
        waker.map(Waker::wake).is_some()
    }

    fn is_awaited(&self) -> bool {
        self.waker.lock().unwrap().is_some()
    }
}

struct Counted(Vec<u8>, Arc<Outside>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.held.fetch_sub(self.0.len(), SeqCst);
    }
}

struct Script {
    steps: VecDeque<Step>,
    waiting: bool,
    exact: bool,
    outside: Arc<Outside>,
    /// Makes it `!Sync`, as most bodies are allowed to be.
    _not_sync: std::cell::Cell<()>,
}

impl Script {
    fn new(steps: &[Step], exact: bool) -> (Self, Arc<Outside>) {
        let outside = Arc::new(Outside::default());
        let steps = steps.iter().cloned().collect();
        let source = Self {
            steps,
            waiting: false,
            exact,
            outside: Arc::clone(&outside),
            _not_sync: Default::default(),
        };
        (source, outside)
    }
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(Step::Wait) = self.steps.front() {
            let fired = !self.outside.is_awaited();
            if !(self.waiting && fired) {
                self.waiting = true;
                *self.outside.waker.lock().unwrap() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.waiting = false;
            self.steps.pop_front();
            return self.poll_frame(cx);
        }
        Poll::Ready(self.steps.pop_front().map(|step| match step {
            Step::Data(data) => {
                self.outside.held.fetch_add(data.len(), SeqCst);
                Ok(Frame::data(Bytes::from_owner(Counted(data, Arc::clone(&self.outside)))))
            }
            Step::Trailers(value) => Ok(Frame::trailers(trailers(value))),
            Step::Fail => {
                self.steps.clear();
                Err(Broken)
            }
            Step::Wait => unreachable!("handled above"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.exact && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.exact {
            SizeHint::with_exact(payload(self.steps.iter()).len() as u64)
        } else {
            SizeHint::new()
        }
    }
}

fn trailers(value: u8) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from(u16::from(value)));
    trailers
}

fn payload<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<u8> {
    let data = steps.filter_map(|step| if let Step::Data(data) = step { Some(data.clone()) } else { None });
    data.flatten().collect()
}

fn frames(sizes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let data = || proptest::collection::vec(any::<u8>(), sizes.clone()).prop_map(Step::Data);
    let step = prop_oneof![
        2 => Just(Step::Wait),
        1 => Just(Step::Data(Vec::new())),
        4 => data(),
    ];
    let last = prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec![Step::Wait]),
        3 => any::<u8>().prop_map(|value| vec![Step::Trailers(value)]),
        2 => Just(vec![Step::Fail]),
    ];
    (proptest::collection::vec(step, 0..24), last).prop_map(|(mut steps, last)| {
        steps.extend(last);
        steps
    })
}

// ---- an executor that polls only who was woken ----

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Task {
    body: Option<ReplayBody<Script>>,
    flag: Arc<Flag>,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), BoxError>>,
}

impl Task {
    fn new(body: ReplayBody<Script>) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        Self { body: Some(body), flag, data: Vec::new(), trailers: None, end: None }
    }

    fn is_running(&self) -> bool {
        self.body.is_some() && self.end.is_none()
    }

    fn is_woken(&self) -> bool {
        self.is_running() && self.flag.0.load(SeqCst)
    }

    fn poll(&mut self, fresh_waker: bool) {
        if fresh_waker {
            // Only the waker of the last poll counts.
            self.flag = Arc::new(Flag(AtomicBool::new(false)));
        }
        self.flag.0.store(false, SeqCst);
        let waker = Waker::from(Arc::clone(&self.flag));
        let Some(body) = &mut self.body else { return };
        match Pin::new(body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => return,
            Poll::Ready(None) => self.end = Some(Ok(())),
            Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.data.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
        }
        self.flag.0.store(true, SeqCst);
    }
}

#[derive(Clone, Debug)]
struct Plan {
    steps: Vec<Step>,
    exact: bool,
    cap: usize,
    fresh_wakers: bool,
    /// This one is polled so many times, and then no more before all others are done.
    slow: Option<(usize, usize)>,
    choices: Vec<u8>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let sizes = prop_oneof![Just(1..4), Just(1..40), Just(400..700)];
    let steps = sizes.prop_flat_map(frames);
    let slow = proptest::option::of((0..3_usize, 0..6_usize));
    (steps, any::<bool>(), 0..2000_usize, any::<bool>(), slow, proptest::collection::vec(any::<u8>(), 8..200))
        .prop_map(|(steps, exact, cap, fresh_wakers, slow, choices)| {
            // Half of the limits close to the size, where the interesting things happen.
            let size = payload(steps.iter()).len();
            let cap = if cap % 2 == 0 { cap } else { (size + cap % 7).saturating_sub(3) };
            Plan { steps, exact, cap, fresh_wakers, slow, choices }
        })
}

/// Runs the plan and gives every reader that was ever there.
fn run(plan: &Plan) -> Result<Option<Vec<Task>>, TestCaseError> {
    let all = payload(plan.steps.iter());
    let (source, outside) = Script::new(&plan.steps, plan.exact);
    let mut body = ReplayBody::new(source);
    prop_assert!(body.fork().is_none(), "not recorded");
    if !body.record(plan.cap) {
        prop_assert!(plan.exact && all.len() > plan.cap);
        return Ok(None);
    }
    let mut tasks = vec![Task::new(body)];
    let mut polls = [0; 3];
    // When the choices run out, everybody who is woken is polled in turn before anything more arrives.
    let in_turn = [1, 2, 3, 5, 6, 7].into_iter().cycle().take(1000);
    let mut choices = plan.choices.iter().copied().chain(in_turn);
    loop {
        let others_run = |tasks: &[Task], at: usize| {
            tasks.iter().enumerate().any(|(other, task)| other != at && task.is_running())
        };
        let rests = |tasks: &[Task], polls: &[usize; 3], at: usize| {
            plan.slow.is_some_and(|(slow, after)| slow == at && polls[at] >= after) && others_run(tasks, at)
        };
        let ready: Vec<usize> =
            (0..tasks.len()).filter(|&at| tasks[at].is_woken() && !rests(&tasks, &polls, at)).collect();
        let Some(choice) = choices.next() else {
            return Err(TestCaseError::fail("readers keep waking each other"));
        };
        match choice {
            // Rarely: a fork, or a drop.
            230..=244 if tasks.len() < 3 => {
                let from = usize::from(choice) % tasks.len();
                if let Some(fork) = tasks[from].body.as_ref().and_then(ReplayBody::fork) {
                    tasks.push(Task::new(fork));
                }
            }
            245..=249 => {
                let at = usize::from(choice) % tasks.len();
                tasks[at].body = None;
            }
            // Early forks are the common case.
            250.. if tasks.len() < 3 => {
                if let Some(fork) = tasks[0].body.as_ref().and_then(ReplayBody::fork) {
                    tasks.push(Task::new(fork));
                }
            }
            _ if ready.is_empty() || (choice % 4 == 0 && outside.is_awaited()) => {
                if !outside.fire() {
                    let stuck =
                        (0..tasks.len()).find(|&at| tasks[at].is_running() && !rests(&tasks, &polls, at));
                    prop_assert!(stuck.is_none(), "reader {:?} waits and nothing will wake it", stuck);
                    break;
                }
            }
            _ => {
                let at = ready[usize::from(choice) % ready.len()];
                polls[at] += 1;
                tasks[at].poll(plan.fresh_wakers);
            }
        }
        prop_assert!(outside.held.load(SeqCst) <= plan.cap, "{} bytes kept", outside.held.load(SeqCst));
        let refused = |task: &Task| matches!(&task.end, Some(Err(error)) if error.is::<ReplayLimit>());
        prop_assert!(
            !tasks.iter().any(refused) || outside.held.load(SeqCst) == 0,
            "over the limit nothing is kept"
        );
        for task in &tasks {
            let Some(body) = &task.body else { continue };
            let lost = body.fork().is_none();
            match task.end {
                // The one that went on alone passes on what the source says of itself, and this one may say nothing.
                Some(_) if plan.exact || !lost => {
                    prop_assert!(body.is_end_stream());
                    prop_assert_eq!(body.size_hint().exact(), Some(0));
                }
                None if plan.exact && !lost => {
                    prop_assert_eq!(body.size_hint().exact(), Some((all.len() - task.data.len()) as u64));
                }
                _ => {}
            }
            if body.is_end_stream() && !matches!(task.end, Some(Err(_))) {
                prop_assert_eq!(&task.data, &all);
            }
        }
    }
    let bodies: Vec<_> = tasks.iter_mut().map(|task| task.body.take()).collect();
    drop(bodies);
    prop_assert_eq!(outside.held.load(SeqCst), 0, "nothing is left behind");
    Ok(Some(tasks))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_gets_the_whole_body_or_a_typed_error_and_none_waits_for_ever(plan in plan()) {
        let all = payload(plan.steps.iter());
        let expected = plan.steps.iter().find_map(|step| match step {
            Step::Trailers(value) => Some(trailers(*value)),
            _ => None,
        });
        let lines = expected.iter().flatten();
        let cost: usize = lines.map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let over = all.len() + cost > plan.cap;
        let fails = plan.steps.iter().any(|step| matches!(step, Step::Fail));
        let Some(tasks) = run(&plan)? else { return Ok(()) };

        let (mut whole, mut own_error) = (0, 0);
        for task in &tasks {
            prop_assert!(all.starts_with(&task.data));
            match &task.end {
                None => {} // dropped on the way
                Some(Ok(())) => {
                    whole += 1;
                    prop_assert!(!fails);
                    prop_assert_eq!(&task.data, &all);
                    prop_assert_eq!(&task.trailers, &expected);
                }
                Some(Err(error)) if error.is::<ReplayLimit>() => prop_assert!(over),
                Some(Err(error)) => {
                    prop_assert!(fails);
                    prop_assert_eq!(&task.data, &all);
                    prop_assert_eq!(error.to_string(), Broken.to_string());
                    own_error += usize::from(error.is::<Broken>());
                    prop_assert!(error.is::<Broken>() || error.is::<SourceFailed>());
                }
            }
        }
        let dropped = tasks.iter().any(|task| task.end.is_none());
        if over {
            prop_assert!(whole + own_error <= 1);
            prop_assert!(dropped || whole + own_error == 1, "the reader in front goes on");
        } else if !fails {
            prop_assert_eq!(whole, tasks.iter().filter(|task| task.end.is_some()).count());
        } else {
            prop_assert!(own_error <= 1);
            prop_assert!(dropped || own_error == 1);
        }
    }

    #[test]
    fn a_body_in_a_box_replays_like_the_body_itself(steps in frames(1..40), cap in 0..200_usize) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Wait | Step::Fail)).collect();
        let all = payload(steps.iter());
        let mut body = Body::new(Script::new(&steps, false).0);
        prop_assert!(body.record(cap));
        let fork = body.fork();
        prop_assert_eq!(drain(body).0, all.clone());
        match fork.map(drain) {
            Some((data, None)) => prop_assert_eq!(data, all),
            Some((_, Some(error))) => prop_assert!(error.is::<ReplayLimit>()),
            None => prop_assert!(false, "recorded just now"),
        }
    }

    #[test]
    fn bytes_in_memory_can_be_forked_at_any_point(data in proptest::collection::vec(any::<u8>(), 0..100), cap in 0..100_usize) {
        let mut body = Body::from(data.clone());
        prop_assert_eq!(body.record(cap), data.len() <= cap);
        if data.len() <= cap {
            let early = body.fork();
            let waker = Waker::noop();
            let _ = Pin::new(&mut body).poll_frame(&mut Context::from_waker(waker));
            prop_assert!(body.is_end_stream());
            for fork in [early, body.fork()] {
                prop_assert_eq!(fork.map(drain).map(|(data, _)| data), Some(data.clone()));
            }
        }
    }
}

fn drain<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) -> (Vec<u8>, Option<B::Error>) {
    let mut all = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => all.extend(frame.into_data().unwrap_or_default()),
            Poll::Ready(Some(Err(error))) => return (all, Some(error)),
            Poll::Ready(None) => return (all, None),
            Poll::Pending => unreachable!("nothing to wait for"),
        }
    }
}

// ---- a body that keeps something ----

#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<BodyEnd>>>);

impl Guard for Ends {
    fn settle(self, end: BodyEnd) {
        self.0.lock().unwrap().push(end);
    }
}

impl Ends {
    fn all(&self) -> Vec<BodyEnd> {
        self.0.lock().unwrap().clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_guard_is_settled_exactly_once_whatever_happens(
        steps in frames(1..40),
        exact in any::<bool>(),
        declared in any::<bool>(),
        head_or_connect in proptest::bool::weighted(0.1),
        polls in 0..40_usize,
    ) {
        let all = payload(steps.iter());
        let fails = steps.iter().any(|step| matches!(step, Step::Fail));
        let ends = Ends::default();
        let (body, outside) = Script::new(&steps, exact);
        let mut response = http::Response::new(body);
        if declared {
            response.headers_mut().insert("content-length", HeaderValue::from(all.len() as u64));
        }
        let (parts, body) = response.into_parts();
        let known = declared || exact;
        let over_at_head = head_or_connect || (known && all.is_empty());
        let until = HoldUntil::of(head_or_connect, &parts, &body);
        let mut body = Held::new(body, ends.clone(), until);
        if over_at_head {
            prop_assert_eq!(ends.all(), [BodyEnd::Complete]);
        }

        let (mut read, mut expected) = (0, BodyEnd::Abandoned);
        for _ in 0..polls {
            if expected != BodyEnd::Abandoned {
                break;
            }
            match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => drop(outside.fire()),
                Poll::Ready(None) => expected = BodyEnd::Complete,
                Poll::Ready(Some(Err(_))) => expected = BodyEnd::Failed,
                Poll::Ready(Some(Ok(frame))) => {
                    read += frame.data_ref().map_or(0, Bytes::len);
                    // Here a server drops the body.
                    if (known && read == all.len()) || frame.is_trailers() || body.is_end_stream() {
                        expected = BodyEnd::Complete;
                    }
                }
            }
            if !over_at_head {
                let so_far = ends.all();
                prop_assert_eq!(!so_far.is_empty(), expected != BodyEnd::Abandoned, "at once, and not before");
            }
        }
        drop(body);
        if over_at_head {
            expected = BodyEnd::Complete;
        }
        prop_assert_eq!(ends.all(), [expected]);
        prop_assert!(expected != BodyEnd::Failed || fails);
    }
}

// ---- threads ----

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Answers from another thread, as a socket does.
struct Remote {
    left: u8,
    slot: Arc<Mutex<(bool, Option<Waker>)>>,
}

impl http_body::Body for Remote {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut slot = self.slot.lock().unwrap();
        if !slot.0 {
            slot.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        slot.0 = false;
        drop(slot);
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&[self.left])))))
    }
}

#[test]
fn forks_read_on_several_threads_all_get_the_whole_body() {
    for round in 0..60_u8 {
        let slot = Arc::new(Mutex::new((false, None::<Waker>)));
        let mut body = ReplayBody::new(Remote { left: 50, slot: Arc::clone(&slot) });
        assert!(body.record(1000));
        let stop = Arc::new(AtomicBool::new(false));
        let feeder = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(SeqCst) {
                    let waker = {
                        let mut slot = slot.lock().unwrap();
                        slot.0 = true;
                        slot.1.take()
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    std::thread::yield_now();
                }
            }
        });
        let readers: Vec<_> = (0..3_u8)
            .map(|reader| {
                let mut body = body.fork().expect("recorded");
                std::thread::spawn(move || {
                    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                    let mut all = Vec::new();
                    loop {
                        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker)) {
                            Poll::Pending if reader == 2 && all.len() > usize::from(round % 40) => {
                                return None;
                            }
                            Poll::Pending => std::thread::park(),
                            Poll::Ready(Some(frame)) => all.extend(frame.unwrap().into_data().unwrap()),
                            Poll::Ready(None) => return Some(all),
                        }
                    }
                })
            })
            .collect();
        drop(body);
        let expected: Vec<u8> = (0..50).rev().collect();
        for reader in readers {
            if let Some(all) = reader.join().unwrap() {
                assert_eq!(all, expected);
            }
        }
        stop.store(true, SeqCst);
        feeder.join().unwrap();
    }
}
