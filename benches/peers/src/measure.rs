//! The measuring core: one way to call a service, and four ways to say what that cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use crate::rows::Row;

/// A service and the request that it is called with, over and over.
pub(crate) trait Subject {
    /// Makes so many calls, one after the other, each to its end.
    fn calls(&mut self, calls: u64);

    /// Timers that are armed while a call waits for its answer.
    fn timers(&mut self) -> usize;
}

pub(crate) struct Calls<S, R> {
    service: S,
    request: R,
    copy: fn(&R) -> R,
}

impl<S, R> Calls<S, R> {
    /// Each call gets a copy of `request`. What the copy costs is subtracted with the bare call, which gets one too.
    pub(crate) fn new(service: S, request: R, copy: fn(&R) -> R) -> Self {
        Self { service, request, copy }
    }
}

impl<S: Service<R>, R> Subject for Calls<S, R> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..calls {
            let request = black_box((self.copy)(&self.request));
            assert!(self.service.poll_ready(&mut cx).is_ready(), "the no-op is always ready");
            let mut call = pin!(self.service.call(request));
            // The no-op wakes whoever polls it, so polling at once is what a runtime would do.
            black_box(loop {
                if let Poll::Ready(answer) = call.as_mut().poll(&mut cx) {
                    break answer.is_ok();
                }
            });
        }
    }

    fn timers(&mut self) -> usize {
        struct Kept;
        impl Wake for Kept {
            fn wake(self: Arc<Self>) {}
        }
        // A timer that is armed keeps a clone of the waker, and here nothing else does.
        let kept = Arc::new(Kept);
        let waker = Waker::from(Arc::clone(&kept));
        let mut cx = Context::from_waker(&waker);
        let _ready = self.service.poll_ready(&mut cx);
        let call = pin!(self.service.call((self.copy)(&self.request)));
        match call.poll(&mut cx) {
            Poll::Pending => Arc::strong_count(&kept) - 2,
            Poll::Ready(_) => 0,
        }
    }
}

/// Pending at first, and awake again at once.
pub(crate) struct YieldOnce(pub(crate) bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, false) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Where nothing is waited for.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

/// Arms a timer that is due after so long, and lets the runtime see it.
pub(crate) async fn arm(due: Duration) -> Pin<Box<Sleep>> {
    let mut timer = Box::pin(sleep(due));
    std::future::poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_pending())).await;
    sleep(Duration::from_millis(2)).await;
    timer
}

// ───────────────────────────────────────────────────────────────────────────── time

/// Nanoseconds of one call of each subject: one list a subject, one number a round. The rounds are interleaved, so that
/// whatever slows the machine down for a while slows down all subjects alike.
pub(crate) fn nanos(subjects: &mut [Box<dyn Subject>], rounds: usize, calls: u64) -> Vec<Vec<f64>> {
    let mut spent = vec![Vec::with_capacity(rounds); subjects.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (subject, spent) in subjects.iter_mut().zip(&mut spent) {
            let start = Instant::now();
            subject.calls(calls);
            if round > 0 {
                spent.push(start.elapsed().as_nanos() as f64 / calls as f64);
            }
        }
    }
    spent
}

// ───────────────────────────────────────────────────────────────────────────── allocations

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that this thread was handed out, less those that it gave back.
pub(crate) fn live() -> usize {
    LIVE.get()
}

/// How often this thread was handed something out.
pub(crate) fn allocated() -> u64 {
    ALLOCATIONS.get()
}

/// The system's allocator, which counts what it hands out to each thread.
pub(crate) struct Counting;

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract; the counters are
// plain cells that neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE.set(LIVE.get().wrapping_add(layout.size()));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE.set(LIVE.get().wrapping_add(size).wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Another thread may have got it.
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of one call; what is set up once is over by then.
pub(crate) fn allocations(subject: &mut dyn Subject) -> f64 {
    const CALLS: u64 = 1_000;
    subject.calls(CALLS);
    let before = ALLOCATIONS.get();
    subject.calls(CALLS);
    (ALLOCATIONS.get() - before) as f64 / CALLS as f64
}

// ───────────────────────────────────────────────────────────────────────────── instructions

/// So many calls, and twice as many.
const COUNTED: u64 = 500;

/// The calls that callgrind counts. What a row has to set up first is not among them.
fn counted(subject: &mut dyn Subject, calls: u64) {
    subject.calls(1);
    toggled(subject, calls);
}

#[inline(never)]
fn toggled(subject: &mut dyn Subject, calls: u64) {
    subject.calls(calls);
    // So that this function is left behind the calls, and not with them.
    black_box(subject);
}

/// The calls of all rows: those of one row twice, the second time twice as many.
pub(crate) fn count(rows: Vec<Row>) {
    for mut row in rows {
        counted(row.subject.as_mut(), COUNTED);
        counted(row.subject.as_mut(), 2 * COUNTED);
    }
}

/// Instructions of one call of each row, by callgrind: this program runs itself, and callgrind writes down after N calls, and again after
/// 2 N, what they took. The difference is N calls and nothing else. `None` where valgrind is missing.
pub(crate) fn instructions(comparison: &str, case: &str, rows: usize) -> Option<Vec<f64>> {
    const CALLS: &str = concat!(module_path!(), "::toggled");
    let folder = std::env::temp_dir().join(format!("stonework-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of our own");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--callgrind-out-file={}", folder.join("calls").display()))
        .args([format!("--toggle-collect={CALLS}"), format!("--dump-after={CALLS}")])
        .arg(std::env::current_exe().expect("a path"))
        .args(["count", comparison, case])
        .output();
    let totals = |number: usize| {
        let said = std::fs::read_to_string(folder.join(format!("calls.{number}"))).ok()?;
        said.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse::<f64>().ok()
    };
    let of_row = |row: usize| Some((totals(2 * row + 2)? - totals(2 * row + 1)?) / COUNTED as f64);
    let counted = ran.is_ok().then(|| (0..rows).map(of_row).collect::<Option<Vec<f64>>>());
    let _ = std::fs::remove_dir_all(folder);
    counted.flatten()
}
