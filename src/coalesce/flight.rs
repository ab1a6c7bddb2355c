//! One call, and all who wait for it. Whoever of them is awake drives it; who leaves, leaves it to the others.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response, response};

use super::body::Coalesced;
use super::decide::{Key, agree};
use super::error::SharedCallFailed;
use crate::base::nesting::{self, Nesting};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Error, Kind, scope};

/// The calls under way that others may join. A lock of this one is taken before that of a flight.
pub(super) struct Group<B>(Mutex<HashMap<Key, Arc<Flight<B>>>>);

/// The call itself.
pub(super) type Work<B> = Pin<Box<dyn Future<Output = End<B>> + Send>>;

/// How it ended.
#[allow(
    clippy::large_enum_variant,
    reason = "an answer's head is this large, and a box would be an allocation"
)]
pub(super) enum End<B> {
    /// For all.
    Whole(Arc<Whole>),
    /// For one: it is not to be shared, or nobody shares it, or it is too large.
    Live(Option<Response<Coalesced<B>>>),
    Failed(Arc<Error>),
}

/// An answer for all, with its body.
pub(super) struct Whole {
    pub(super) head: response::Parts,
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

pub(super) struct Flight<B> {
    key: Key,
    group: Weak<Group<B>>,
    /// What the request says beside the key.
    left_out: HeaderMap,
    /// The attempt that all of this is part of.
    attempt: u32,
    state: Mutex<State<B>>,
}

struct State<B> {
    /// Who waits, the one who began it first; with a waker, if it was asked since the last news.
    members: BTreeMap<u64, Option<Waker>>,
    last: u64,
    /// A retry inside gave up: what it has done is not begun again by those outside.
    spent: bool,
    stage: Stage<B>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "an answer's head is this large, and a box would be an allocation"
)]
enum Stage<B> {
    /// The work is not there while somebody drives it.
    Running {
        work: Option<Work<B>>,
        missed: bool,
    },
    /// What is for one is for this one.
    Done {
        end: End<B>,
        owner: u64,
    },
    Over,
}

/// One of those who wait.
pub(super) struct Member<B> {
    flight: Arc<Flight<B>>,
    number: u64,
    left_out: HeaderMap,
}

/// What a member gets.
#[allow(
    clippy::large_enum_variant,
    reason = "an answer's head is this large, and a box would be an allocation"
)]
pub(super) enum Got<B> {
    Answer(Result<Response<Coalesced<B>>, Error>),
    /// Nothing that could be shared: its own request has to be sent.
    Nothing,
}

impl<B> Group<B> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(HashMap::new())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight<B>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Join the call that is under way, or begin one with this work.
    pub(super) fn join(
        self: &Arc<Self>,
        key: Key,
        left_out: HeaderMap,
        work: impl FnOnce(Weak<Flight<B>>) -> Work<B>,
    ) -> Member<B> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key) {
            let mut state = flight.state();
            state.last += 1;
            let number = state.last;
            state.members.insert(number, None);
            drop(state);
            return Member { flight: Arc::clone(flight), number, left_out };
        }
        let flight = Arc::new_cyclic(|flight: &Weak<Flight<B>>| Flight {
            key: key.clone(),
            group: Arc::downgrade(self),
            left_out: left_out.clone(),
            attempt: nesting::current().attempt,
            state: Mutex::new(State {
                members: BTreeMap::from([(0, None)]),
                last: 0,
                spent: false,
                stage: Stage::Running { work: Some(work(Weak::clone(flight))), missed: false },
            }),
        });
        flights.insert(key, Arc::clone(&flight));
        Member { flight, number: 0, left_out }
    }
}

impl<B> Flight<B> {
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nobody joins, if this holds of how many there are.
    pub(super) fn close_if(&self, holds: impl FnOnce(usize) -> bool) -> bool {
        let group = self.group.upgrade();
        let mut flights = group.as_ref().map(|group| group.lock());
        let closes = holds(self.state().members.len());
        let mut own = None;
        if let Some(flights) = flights.as_mut().filter(|_| closes) {
            // Another may stand there already.
            if flights.get(&self.key).is_some_and(|there| std::ptr::eq(&**there, self)) {
                own = flights.remove(&self.key);
            }
        }
        drop(flights);
        drop(own);
        closes
    }

    /// It is over.
    fn end(&self, end: End<B>) {
        self.close_if(|_| true);
        let mut state = self.state();
        let owner = state.members.keys().next().copied().unwrap_or_default();
        let before = std::mem::replace(&mut state.stage, Stage::Done { end, owner });
        let wakers = state.wakers();
        drop(state);
        drop(before);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<B> State<B> {
    fn wakers(&mut self) -> Vec<Waker> {
        self.members.values_mut().filter_map(Option::take).collect()
    }
}

/// All are told, since any of them may be one that is not asked any more.
impl<B: Send + 'static> Wake for Flight<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = self.state().wakers();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// If the work panics, the others have to hear of it.
struct Driven<'a, B>(Option<&'a Flight<B>>);

impl<B> Drop for Driven<'_, B> {
    fn drop(&mut self) {
        if let Some(flight) = self.0.take() {
            flight.end(End::Failed(Arc::new(Error::new(Kind::Other, "the call panicked"))));
        }
    }
}

impl<B: Send + 'static> Member<B> {
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Got<B>> {
        loop {
            let mut state = self.flight.state();
            let mut work = match &mut state.stage {
                Stage::Running { work, missed } => {
                    let work = work.take();
                    // If somebody else drives it, they may be past the news that this is asked for.
                    *missed = work.is_none();
                    work
                }
                Stage::Done { .. } | Stage::Over => return Poll::Ready(self.take(state)),
            };
            let known = state.members.insert(self.number, Some(cx.waker().clone()));
            drop(state);
            drop(known);
            let Some(driven) = &mut work else { return Poll::Pending };
            let mut guard = Driven(Some(&self.flight));
            let waker = Waker::from(Arc::clone(&self.flight));
            // It is a part of no single caller's time: who has less of it leaves, and the others wait on.
            let entered = nesting::enter(Nesting::part_of(self.flight.attempt));
            let polled = scope::poll(None, || driven.as_mut().poll(&mut Context::from_waker(&waker)));
            let spent = entered.leave().spent;
            guard.0 = None;
            if spent {
                self.flight.state().spent = true;
            }
            match polled {
                Poll::Ready(end) => {
                    drop(work);
                    self.flight.end(end);
                }
                Poll::Pending => {
                    let mut state = self.flight.state();
                    if let Stage::Running { work: place, missed } = &mut state.stage {
                        *place = work;
                        if !std::mem::take(missed) {
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    /// It is over. What is there for this one?
    fn take(&self, state: MutexGuard<'_, State<B>>) -> Got<B> {
        let spent = state.spent;
        let got = self.taken(state);
        if spent && matches!(got, Got::Answer(_)) {
            nesting::tell_spent();
        }
        got
    }

    fn taken(&self, mut state: MutexGuard<'_, State<B>>) -> Got<B> {
        state.members.remove(&self.number);
        let is_last = state.members.is_empty();
        let Stage::Done { end, owner } = &mut state.stage else { return Got::Nothing };
        match end {
            End::Live(answer) if *owner == self.number => {
                let answer = answer.take();
                drop(state);
                // The one who began may have left: this is an answer to what that one asked.
                let agrees =
                    |answer: &Response<_>| agree(answer.headers(), &self.flight.left_out, &self.left_out);
                answer.filter(agrees).map_or(Got::Nothing, |answer| Got::Answer(Ok(answer)))
            }
            End::Live(_) => Got::Nothing,
            End::Whole(whole) => {
                let whole = Arc::clone(whole);
                drop(state);
                if !agree(&whole.head.headers, &self.flight.left_out, &self.left_out) {
                    return Got::Nothing;
                }
                let body = Coalesced::whole(whole.data.clone(), whole.trailers.clone());
                Got::Answer(Ok(Response::from_parts(whole.head.clone(), body)))
            }
            End::Failed(error) => {
                let error = Arc::clone(error);
                if is_last {
                    state.stage = Stage::Over;
                }
                drop(state);
                // As it is for the last one, who may have been the only one.
                Got::Answer(Err(match Arc::try_unwrap(error) {
                    Ok(error) => error,
                    Err(shared) => Error::wrap(SharedCallFailed(shared)),
                }))
            }
        }
    }
}

/// Who leaves leaves the call to the others; with the last one it is dropped.
impl<B> Drop for Member<B> {
    fn drop(&mut self) {
        let group = self.flight.group.upgrade();
        let mut flights = group.as_ref().map(|group| group.lock());
        let mut state = self.flight.state();
        let waker = state.members.remove(&self.number);
        let mut over = (None, None);
        if state.members.is_empty() {
            over.0 = Some(std::mem::replace(&mut state.stage, Stage::Over));
            if let Some(flights) = &mut flights {
                if flights.get(&self.flight.key).is_some_and(|there| Arc::ptr_eq(there, &self.flight)) {
                    over.1 = flights.remove(&self.flight.key);
                }
            }
        }
        drop(state);
        drop(flights);
        // What goes with them may be anything.
        drop((waker, over));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::Request;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn an_answer_for_one_goes_to_who_came_first_whoever_asks_first() {
        let group = Group::<Empty<Bytes>>::new();
        let join = || {
            let request = Request::get("http://a.test/").body(Empty::<Bytes>::new()).unwrap();
            let (key, left_out) = Key::of(&request, &[]).unwrap();
            group.join(key, left_out, |_| {
                let answer = Response::new(Coalesced::whole(Bytes::new(), None));
                Box::pin(std::future::ready(End::Live(Some(answer))))
            })
        };
        let (first, second) = (join(), join());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(second.poll(&mut cx), Poll::Ready(Got::Nothing)));
        assert!(matches!(first.poll(&mut cx), Poll::Ready(Got::Answer(Ok(_)))));
    }

    /// Somebody who counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_asks_while_another_drives_and_is_past_the_news_hears_of_it() {
        let group = Group::<Empty<Bytes>>::new();
        let request = Request::get("http://a.test/").body(Empty::<Bytes>::new()).unwrap();
        let (key, left_out) = Key::of(&request, &[]).unwrap();
        let (woken, second) = (Arc::new(Woken::default()), Arc::new(Mutex::new(None::<Member<_>>)));
        let (asks, waker) = (Arc::clone(&second), Waker::from(Arc::clone(&woken)));
        let mut is_first = true;
        let work = std::future::poll_fn(move |cx| {
            if std::mem::take(&mut is_first) {
                // There is news, of which only the first is told; the second asks now, and finds that somebody drives already.
                cx.waker().wake_by_ref();
                let second = asks.lock().unwrap();
                assert!(second.as_ref().unwrap().poll(&mut Context::from_waker(&waker)).is_pending());
                return Poll::Pending;
            }
            Poll::Ready(End::Live(None))
        });
        let first = group.join(key.clone(), left_out.clone(), |_| Box::pin(work));
        *second.lock().unwrap() = Some(group.join(key, left_out, |_| unreachable!("there is one")));
        let _ = first.poll(&mut Context::from_waker(Waker::noop()));
        // The first was told, and leaves without asking again.
        drop(first);
        assert!(woken.0.load(Ordering::Relaxed) > 0);
        let second = second.lock().unwrap().take().unwrap();
        assert!(second.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
