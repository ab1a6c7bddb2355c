//! One recording: the source, the tape and who waits.
//!
//! Whoever stands at the end of the tape and is polled takes the source out, polls it with no lock held, and puts it
//! back with what came. Wakers are woken, and wakers and buffers dropped, with no lock held either: all of these can run
//! code that comes back to this recording.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http_body::{Body, Frame, SizeHint};

use super::replay::{ReplayLimit, SourceFailed};
use super::tape::Tape;
use super::waiting::{ReaderId, Waiting, wake_all};

/// What a poll for a frame gives.
pub(super) type Next<D, E> = Poll<Option<Result<Frame<D>, E>>>;

pub(super) struct Shared<B>(Mutex<Recording<B>>);

pub(super) struct Recording<B> {
    pub(super) source: Source<B>,
    pub(super) tape: Tape,
    /// What the source said of itself when it was last polled, so that asking a reader asks no foreign code.
    pub(super) rest: Rest,
    /// Bytes of data that have come out of the source.
    pub(super) total: u64,
    pub(super) waiting: Waiting,
    /// Who may read no more, since the body was taken over.
    over: Vec<Range<ReaderId>>,
    next_id: ReaderId,
}

pub(super) enum Source<B> {
    /// Not being read just now.
    Idle(B),
    /// Some reader is polling it.
    Busy,
    /// At its end.
    Ended,
    /// It failed, and the error is with the reader that polled it.
    Failed(SourceFailed),
    /// Over the limit, and with the reader that was in front.
    Gone(ReplayLimit),
}

pub(super) struct Rest {
    pub(super) hint: SizeHint,
    pub(super) is_end: bool,
}

impl Rest {
    fn of<B: Body>(source: &B) -> Self {
        Self { hint: source.size_hint(), is_end: source.is_end_stream() }
    }
}

impl<B> Shared<B> {
    pub(super) fn new(source: B, cap: usize) -> Self
    where
        B: Body,
    {
        let rest = Rest::of(&source);
        Self(Mutex::new(Recording {
            source: Source::Idle(source),
            tape: Tape::new(cap),
            rest,
            total: 0,
            waiting: Waiting::Nobody,
            over: Vec::new(),
            next_id: 1,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Recording<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more will come from the source.
    fn finish(&self, how: Source<B>) {
        let mut recording = self.lock();
        recording.source = how;
        let waiting = recording.waiting.take();
        drop(recording);
        wake_all(waiting);
    }
}

impl<B> Recording<B> {
    /// Whether it can no longer be read from the start.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.source, Source::Failed(_) | Source::Gone(_))
    }

    /// `copy` takes the body over: from the reader that it was forked from, and from all that were forked after it.
    /// Copies that were forked before it belong to layers above, who take over in their turn.
    pub(super) fn take_over(&mut self, copy: ReaderId, parent: Option<ReaderId>) {
        let later = copy + 1..self.next_id;
        self.over.retain(|range| range.start < later.start);
        self.over.extend(parent.filter(|parent| !self.is_over(*parent)).map(|parent| parent..parent + 1));
        self.over.push(later);
    }

    pub(super) fn is_over(&self, id: ReaderId) -> bool {
        self.over.iter().any(|range| range.contains(&id))
    }

    pub(super) fn new_id(&mut self) -> ReaderId {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// The right to poll the source, which has been taken out of the recording. Whatever happens, a panic of the source's
/// included, the recording is told and nobody waits for ever.
pub(super) struct Turn<'a, B> {
    pub(super) shared: &'a Shared<B>,
    source: Option<B>,
}

impl<'a, B> Turn<'a, B> {
    pub(super) fn new(shared: &'a Shared<B>, source: B) -> Self {
        Self { shared, source: Some(source) }
    }

    pub(super) fn finish(mut self, how: Source<B>) {
        let source = self.source.take();
        self.shared.finish(how);
        drop(source);
    }
}

impl<B: Body> Turn<'_, B> {
    /// The source, and what it says of itself: asked first, since that is foreign code and may panic.
    pub(super) fn give_back(&mut self) -> Option<(B, Rest)> {
        let rest = Rest::of(self.source.as_ref()?);
        Some((self.source.take()?, rest))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Next<B::Data, B::Error>
    where
        B: Unpin,
    {
        match &mut self.source {
            Some(source) => Pin::new(source).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// Puts the source back. `own` is the waker it was polled with, unless that was everybody's.
    pub(super) fn pause(mut self, id: ReaderId, own: Option<&Waker>) {
        let Some((source, rest)) = self.give_back() else { return };
        let mut recording = self.shared.lock();
        recording.rest = rest;
        recording.source = Source::Idle(source);
        let (late, old) = own.map(|waker| recording.waiting.stay(id, waker)).unwrap_or_default();
        drop(recording);
        drop(old);
        wake_all(late);
    }
}

impl<B> Drop for Turn<'_, B> {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.shared.finish(Source::Failed(SourceFailed::panicked()));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn a_copy_takes_over_from_its_origin_and_from_what_was_forked_after_it_and_from_nobody_else() {
        let shared = Shared::new(Empty::<Bytes>::new(), 10);
        let mut recording = shared.lock();
        let over = |recording: &Recording<_>| (0..=7).filter(|id| recording.is_over(*id)).collect::<Vec<_>>();
        assert_eq!([(); 3].map(|()| recording.new_id()), [1, 2, 3]);
        recording.take_over(1, Some(0));
        assert_eq!(over(&recording), [0, 2, 3]);
        // A layer below repeats in its turn: 4 is what it got, 5 its copy, 6 what it has sent.
        assert_eq!([(); 3].map(|()| recording.new_id()), [4, 5, 6]);
        recording.take_over(5, Some(4));
        assert_eq!(over(&recording), [0, 2, 3, 4, 6]);
        let kept = recording.over.len();
        assert_eq!(recording.new_id(), 7);
        recording.take_over(5, Some(4));
        assert_eq!(over(&recording), [0, 2, 3, 4, 6, 7]);
        assert_eq!(recording.over.len(), kept, "many attempts cost no more than one");
        recording.take_over(1, Some(0));
        assert_eq!(over(&recording), [0, 2, 3, 4, 5, 6, 7]);
    }
}
