//! What each service notes of each call: when it began, how much time it was given, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use stonework::Deadline;
use stonework::base::BoxError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// One call, at one service.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) by: &'static str,
    pub(crate) item: String,
    pub(crate) begun: Instant,
    /// What there was left of its deadline when it began, if it has one.
    pub(crate) left: Option<Duration>,
    pub(crate) ended: Option<(Instant, End)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Answered,
    /// Nobody wanted to know any more.
    Dropped,
}

impl Note {
    pub(crate) fn is(&self, by: &str, item: &str) -> bool {
        self.by == by && self.item == item
    }
}

/// A handle: its clones write into the same book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    notes: Arc<watch::Sender<Vec<Note>>>,
}

impl Log {
    /// A call begins. It ends with what comes back.
    pub(crate) fn begin(&self, by: &'static str, item: &str) -> Entry {
        let begun = Instant::now();
        // In scope, since the server has read it from the request.
        let left = Deadline::current().map(|deadline| deadline.remaining(begun));
        let mut at = 0;
        self.notes.send_modify(|notes| {
            at = notes.len();
            notes.push(Note { by, item: item.to_owned(), begun, left, ended: None });
        });
        Entry { log: self.clone(), at, end: End::Dropped }
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        self.notes.borrow().clone()
    }

    /// What is noted of this call there, in order.
    pub(crate) fn of(&self, by: &str, item: &str) -> Vec<Note> {
        self.notes.borrow().iter().filter(|note| note.is(by, item)).cloned().collect()
    }

    /// How often a call of this item was begun at any B.
    pub(crate) fn at_b(&self, item: &str) -> Vec<Note> {
        let notes = self.notes.borrow();
        notes.iter().filter(|note| is_at_b(note, item)).cloned().collect()
    }

    /// Waits until this call has begun there.
    pub(crate) async fn begun(&self, by: &str, item: &str) -> Result<(), BoxError> {
        self.until(|notes| notes.iter().any(|note| note.is(by, item))).await
    }

    /// Waits until this call has begun at a B, and says at which.
    pub(crate) async fn begun_at_b(&self, item: &str) -> Result<&'static str, BoxError> {
        self.until(|notes| notes.iter().any(|note| is_at_b(note, item))).await?;
        Ok(self.at_b(item).first().ok_or("it was there")?.by)
    }

    /// Waits until this call has ended there, as often as it was begun.
    pub(crate) async fn ended(&self, by: &str, item: &str) -> Result<Vec<Note>, BoxError> {
        self.begun(by, item).await?;
        let is_over = |note: &Note| note.ended.is_some() || !note.is(by, item);
        self.until(|notes| notes.iter().all(is_over)).await?;
        Ok(self.of(by, item))
    }

    /// For ten seconds at most, since it may never be.
    async fn until(&self, holds: impl Fn(&[Note]) -> bool) -> Result<(), BoxError> {
        let mut notes = self.notes.subscribe();
        timeout(Duration::from_secs(10), notes.wait_for(|notes| holds(notes))).await??;
        Ok(())
    }
}

fn is_at_b(note: &Note, item: &str) -> bool {
    note.by.starts_with('b') && note.item == item
}

/// A call under way.
pub(crate) struct Entry {
    log: Log,
    at: usize,
    end: End,
}

impl Entry {
    pub(crate) fn answered(mut self) {
        self.end = End::Answered;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let ended = (Instant::now(), self.end);
        self.log.notes.send_modify(|notes| notes[self.at].ended = Some(ended));
    }
}
