//! Probes endpoints when it is their turn. What a probe does, it does in a task of its own: one that panics or holds up its thread does
//! not do so to the others.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::probe::AnyProbe;
use super::roster::{Step, Turn};
use super::state::State;
use crate::base::{Alarm, Deadline};
use crate::health::Verdict;

pub(super) struct Task {
    state: Arc<State>,
    probe: Arc<dyn AnyProbe>,
    probes: JoinSet<Verdict>,
    turns: HashMap<Id, (Turn, AbortHandle)>,
}

impl Task {
    pub(super) fn new(state: Arc<State>, probe: Arc<dyn AnyProbe>) -> Self {
        Self { state, probe, probes: JoinSet::new(), turns: HashMap::new() }
    }

    /// It never ends by itself, but is ended by the last handle.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.start_those_who_are_due();
            self.wait(next).await;
            self.state.tell();
        }
    }

    /// Says when to come back, if anything has to be done by then.
    fn start_those_who_are_due(&mut self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let step = self.state.roster().step(self.probes.len(), now, &self.state.rng);
            match step {
                Step::Start(turn) => {
                    let probe = probe(Arc::clone(&self.probe), Arc::clone(&self.state), turn.clone());
                    let handle = self.probes.spawn(probe);
                    self.turns.insert(handle.id(), (turn, handle));
                }
                Step::At(due) => return Some(due),
                Step::Rest => return None,
            }
        }
    }

    /// Until it is time, a probe has ended, or there are other endpoints.
    async fn wait(&mut self, until: Option<Instant>) {
        let state = Arc::clone(&self.state);
        let (mut changed, mut alarm) = (pin!(state.changed.notified()), pin!(Alarm::new()));
        let mut is_other = false;
        let ended = poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = self.probes.poll_join_next_with_id(cx) {
                return Poll::Ready(Some(ended));
            }
            is_other = changed.as_mut().poll(cx).is_ready();
            let is_time = until.is_some_and(|until| alarm.as_mut().poll_until(cx, until).is_ready());
            if is_other || is_time { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        if let Some(ended) = ended {
            self.ended(ended);
        }
        if is_other {
            self.drop_those_who_are_not_wanted();
        }
    }

    fn ended(&mut self, ended: Result<(Id, Verdict), JoinError>) {
        let (id, verdict) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Verdict::fail("the probe panicked")),
        };
        if let Some((turn, _)) = self.turns.remove(&id) {
            self.state.roster().record(&turn, verdict, Instant::now());
        }
    }

    fn drop_those_who_are_not_wanted(&self) {
        let roster = self.state.roster();
        for (turn, handle) in self.turns.values() {
            if !roster.wants(turn) {
                handle.abort();
            }
        }
    }
}

/// Also when the runtime ends: what was known says nothing any more.
impl Drop for Task {
    fn drop(&mut self) {
        self.state.roster().end();
        self.state.tell();
    }
}

async fn probe(probe: Arc<dyn AnyProbe>, state: Arc<State>, turn: Turn) -> Verdict {
    let limit = state.settings.timeout;
    let probing = Deadline::after(Instant::now(), limit).bound(probe.ask(&turn.endpoint));
    probing.await.unwrap_or_else(|_| Verdict::fail(format_args!("no result within {limit:?}")))
}
