//! One reader of a recording: where it stands, and what a poll of it comes to.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::replay::{ReplayLimit, SourceFailed, Superseded};
use super::shared::{Next, Shared, Source, Turn};
use super::tape::{Cursor, Full, Tape, to_bytes};
use super::waiting::{ReaderId, wake_all};
use crate::base::{BoxError, Error};

/// One of the readers of a recording.
pub(super) struct Reader<B> {
    shared: Arc<Shared<B>>,
    place: Place,
}

/// Where a reader stands.
struct Place {
    id: ReaderId,
    /// Whom it was forked from.
    parent: Option<ReaderId>,
    cursor: Cursor,
    /// The end or an error has been handed out.
    done: bool,
}

impl Place {
    fn at_start(id: ReaderId, parent: Option<ReaderId>) -> Self {
        Self { id, parent, cursor: Cursor::default(), done: false }
    }
}

/// What a poll came to.
pub(super) enum Polled<B> {
    Frame(Next<Bytes, BoxError>),
    /// The body is over its limit: here is the frame that did it and the source to go on with.
    Alone(Frame<Bytes>, B),
}

impl<B: Body> Reader<B> {
    pub(super) fn new(source: B, cap: usize) -> Self {
        Self { shared: Arc::new(Shared::new(source, cap)), place: Place::at_start(0, None) }
    }
}

impl<B> Reader<B> {
    /// Raises the limit to `cap`, unless it is known that the body would not fit in `cap`.
    pub(super) fn record(&self, cap: usize) -> bool {
        let mut recording = self.shared.lock();
        if recording.is_lost() {
            return false;
        }
        let rest = if matches!(recording.source, Source::Ended) { 0 } else { recording.rest.hint.lower() };
        if recording.total.saturating_add(rest) > cap as u64 {
            return false;
        }
        recording.tape.grow(cap);
        true
    }

    /// A reader that starts at the beginning.
    pub(super) fn fork(&self) -> Option<Self> {
        let mut recording = self.shared.lock();
        if recording.is_lost() {
            return None;
        }
        let id = recording.new_id();
        Some(Self { shared: Arc::clone(&self.shared), place: Place::at_start(id, Some(self.place.id)) })
    }

    /// Whether it can still be read from the start.
    pub(super) fn is_replayable(&self) -> bool {
        !self.shared.lock().is_lost()
    }

    /// Ends the reader that this one was forked from, and those forked after this one.
    pub(super) fn take_over(&self) {
        let mut recording = self.shared.lock();
        recording.take_over(self.place.id, self.place.parent);
        let waiting = recording.waiting.take();
        drop(recording);
        wake_all(waiting);
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.place.done {
            return SizeHint::with_exact(0);
        }
        let recording = self.shared.lock();
        let behind = recording.total.saturating_sub(self.place.cursor.read);
        match recording.source {
            Source::Ended => SizeHint::with_exact(behind),
            Source::Idle(_) | Source::Busy => {
                let rest = &recording.rest.hint;
                let mut hint = SizeHint::new();
                // The upper bound first: it may not be set below the lower one, nor the lower above it.
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(behind)) {
                    hint.set_upper(upper);
                }
                let lower = rest.lower().saturating_add(behind);
                hint.set_lower(hint.upper().map_or(lower, |upper| lower.min(upper)));
                hint
            }
            Source::Failed(_) | Source::Gone(_) => SizeHint::default(),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        if self.place.done {
            return true;
        }
        let recording = self.shared.lock();
        let at_end = match recording.source {
            Source::Ended => true,
            Source::Idle(_) | Source::Busy => recording.rest.is_end,
            Source::Failed(_) | Source::Gone(_) => false,
        };
        at_end && recording.tape.is_at_end(&self.place.cursor)
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        let waker = self.shared.lock().waiting.leave(self.place.id);
        drop(waker);
    }
}

impl<B> Reader<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Polled<B> {
        let Self { shared, place } = self;
        if place.done {
            return Polled::Frame(Poll::Ready(None));
        }
        let (mut turn, crowd_waker) = match place.take_turn(shared, cx) {
            Ok(turn) => turn,
            Err(polled) => return polled,
        };
        let waker = crowd_waker.as_ref().unwrap_or(cx.waker());
        match turn.poll(&mut Context::from_waker(waker)) {
            Poll::Pending => {
                turn.pause(place.id, if crowd_waker.is_some() { None } else { Some(cx.waker()) });
                Polled::Frame(Poll::Pending)
            }
            Poll::Ready(None) => {
                turn.finish(Source::Ended);
                place.end(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let error = Error::of_body(error.into());
                turn.finish(Source::Failed(SourceFailed::new(&error)));
                place.end(Some(error))
            }
            Poll::Ready(Some(Ok(frame))) => place.pass(turn, to_bytes(frame)),
        }
    }
}

impl Place {
    fn end<B>(&mut self, error: Option<BoxError>) -> Polled<B> {
        self.done = true;
        Polled::Frame(Poll::Ready(error.map(Err)))
    }

    /// What is on the tape, or the turn to poll the source and the waker to do it with if the reader's own will not do.
    fn take_turn<'a, B>(
        &mut self,
        shared: &'a Shared<B>,
        cx: &mut Context<'_>,
    ) -> Result<(Turn<'a, B>, Option<Waker>), Polled<B>> {
        let mut recording = shared.lock();
        if recording.is_over(self.id) {
            drop(recording);
            return Err(self.end(Some(Box::new(Superseded))));
        }
        if let Some(frame) = recording.tape.next(&mut self.cursor) {
            return Err(Polled::Frame(Poll::Ready(Some(Ok(frame)))));
        }
        match mem::replace(&mut recording.source, Source::Busy) {
            Source::Idle(source) => {
                let (crowd_waker, old) = recording.waiting.crowd_waker(self.id, cx.waker());
                drop(recording);
                drop(old);
                Ok((Turn::new(shared, source), crowd_waker))
            }
            Source::Busy => {
                let old = recording.waiting.join(self.id, cx.waker());
                drop(recording);
                drop(old);
                Err(Polled::Frame(Poll::Pending))
            }
            over => {
                let error: Option<BoxError> = match &over {
                    Source::Failed(failed) => Some(Box::new(failed.clone())),
                    Source::Gone(limit) => Some(Box::new(*limit)),
                    _ => None,
                };
                recording.source = over;
                Err(self.end(error))
            }
        }
    }

    /// Keeps the frame if there is room. If not, this reader goes on alone.
    fn pass<B: Body>(&mut self, mut turn: Turn<'_, B>, frame: Frame<Bytes>) -> Polled<B> {
        let Some((source, rest)) = turn.give_back() else {
            return self.end(None);
        };
        let mut recording = turn.shared.lock();
        let own = recording.waiting.leave(self.id);
        let others = recording.waiting.take();
        let (alone, kept) = match recording.tape.push(&frame, &mut self.cursor) {
            Ok(()) => {
                recording.total = self.cursor.read;
                recording.rest = rest;
                recording.source = Source::Idle(source);
                (None, None)
            }
            Err(Full) => {
                let cap = recording.tape.cap();
                recording.source = Source::Gone(ReplayLimit { cap });
                (Some(source), Some(mem::replace(&mut recording.tape, Tape::new(0))))
            }
        };
        drop(recording);
        drop((own, kept));
        wake_all(others);
        match alone {
            None => Polled::Frame(Poll::Ready(Some(Ok(frame)))),
            Some(source) => Polled::Alone(frame, source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::Wake;

    use super::*;

    /// Has nothing yet, and keeps no waker.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Next<Bytes, Infallible> {
            Poll::Pending
        }
    }

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_reader_that_is_dropped_leaves_no_waker_behind() {
        let task = Arc::new(Task);
        let other = Reader::new(Silent, 10);
        let mut reader = other.fork().unwrap();
        let waker = Waker::from(Arc::clone(&task));
        assert!(matches!(reader.poll(&mut Context::from_waker(&waker)), Polled::Frame(Poll::Pending)));
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2, "it waits");
        drop(reader);
        assert_eq!(Arc::strong_count(&task), 1);
        assert!(other.is_replayable());
    }
}
