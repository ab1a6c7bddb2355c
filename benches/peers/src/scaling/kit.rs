//! One way to do something with a handle over and over: by a thread, where nothing waits, and by a task that lets others go on.

use std::hint::black_box;
use std::pin::Pin;

use http::Request;
use tower::{Service, ServiceExt};

use crate::measure::{Calls, Subject};
use crate::rows::{Content, NoOp, plain};
use crate::threads::Make;

/// So many turns of one task.
pub(super) type Tasks = Box<dyn Fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Something that clones share, each of which is asked in turns.
pub(super) struct Handle {
    /// What is done. The first handle of each kind shares nothing, and is what the others are compared with.
    pub(super) of: &'static str,
    pub(super) name: &'static str,
    pub(super) thread: Make,
    pub(super) tasks: Tasks,
}

/// Calls through clones of a service over one that does nothing: for threads it answers at once, for tasks when it is polled again.
pub(super) fn calls<S>(name: &'static str, make: impl Fn(NoOp) -> S) -> Handle
where
    S: Service<Request<Content>, Future: Send, Error: Send> + Clone + Send + Sync + 'static,
{
    let [ready, pending] = [false, true].map(|waits| make(NoOp { waits }));
    // The request is made by the thread that uses it, and shares no memory with another's.
    let thread = move || -> Box<dyn Subject> { Box::new(Calls::new(ready.clone(), plain(), Request::clone)) };
    let tasks: Tasks = Box::new(move |turns| {
        let (mut service, request) = (pending.clone(), plain());
        Box::pin(async move {
            for _ in 0..turns {
                let ready = service.ready().await.ok().expect("it is always ready");
                assert!(black_box(ready.call(request.clone()).await).is_ok(), "nobody is refused");
            }
        })
    });
    Handle { of: "a call", name, thread: Box::new(thread), tasks }
}

/// A handle that is asked: `$turn` is done once a turn with a clone of it. In a task others go on at `pause!`.
macro_rules! asks {
    ($name:expr, $shared:expr, |$handle:ident, $pause:ident| $turn:expr) => {{
        let threads = $shared;
        let tasks = threads.clone();
        let thread = move || -> Box<dyn $crate::measure::Subject> {
            let $handle = threads.clone();
            Box::new($crate::scaling::kit::Turns(move |turns| {
                let $pause = || $crate::measure::YieldOnce(false);
                $crate::measure::at_once(async {
                    for _ in 0..turns {
                        std::hint::black_box($turn);
                    }
                })
            }))
        };
        let tasks: $crate::scaling::kit::Tasks = Box::new(move |turns| {
            let $handle = tasks.clone();
            Box::pin(async move {
                let $pause = || $crate::measure::YieldOnce(true);
                for _ in 0..turns {
                    std::hint::black_box($turn);
                }
            })
        });
        $crate::scaling::kit::Handle { of: "asked", name: $name, thread: Box::new(thread), tasks }
    }};
}
pub(super) use asks;

pub(super) struct Turns<F>(pub(super) F);

impl<F: Fn(u64)> Subject for Turns<F> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        (self.0)(calls);
    }

    fn timers(&mut self) -> usize {
        0
    }
}
