use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Permit;
use super::core::{Core, Turn};
use crate::base::Priority;

/// A place in the queue that never gets old, given up when this is dropped.
pub(in crate::limit) struct Queued {
    core: Arc<Core>,
    priority: Priority,
    /// When it is too late to begin.
    latest: Option<Instant>,
    place: Option<Place>,
}

struct Place {
    number: u64,
    until: Instant,
}

/// It is no use to wait, or no longer.
#[derive(Debug)]
pub(in crate::limit) struct InVain;

impl Queued {
    /// `latest`, if it is too late after that.
    pub(super) const fn new(core: Arc<Core>, priority: Priority, latest: Option<Instant>) -> Self {
        Self { core, priority, latest, place: None }
    }

    /// Until when it waits, once it does.
    pub(in crate::limit) fn until(&self) -> Option<Instant> {
        self.place.as_ref().map(|place| place.until)
    }

    pub(in crate::limit) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, InVain>> {
        let turn = match &self.place {
            None => self.core.queue(self.priority, self.latest, cx.waker()),
            Some(place) => self.core.turn(place.number, cx.waker()),
        };
        match turn {
            Turn::Waits(place) => {
                if let Some((number, until)) = place {
                    self.place = Some(Place { number, until });
                }
                Poll::Pending
            }
            Turn::Entered => {
                self.place = None;
                Poll::Ready(Ok(Permit::entered(Arc::clone(&self.core), true)))
            }
            Turn::InVain => {
                self.place = None;
                Poll::Ready(Err(InVain))
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.core.leave_queue(place.number);
        }
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").field("priority", &self.priority).finish_non_exhaustive()
    }
}
