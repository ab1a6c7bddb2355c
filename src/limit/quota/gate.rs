use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::time::Instant;

use super::ServerQuotas;
use super::error::QuotaUsedUp;
use super::handle::Server;
use super::ledger::NotYet;
use crate::base::{Alarm, Deadline, Error, KeyOf, scope};
use crate::limit::gate::sealed::Sealed;
use crate::limit::gate::{Entered, Entry, Gate, Keyed, Turned, Wait};

/// Lets requests out as far as their server has said that it takes them. See [`ServerQuotaLayer`](super::ServerQuotaLayer).
pub struct ServerQuota<K, F>(pub(super) Keyed<ServerQuotas<K>, F>);

impl<K, F: Clone> Clone for ServerQuota<K, F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, F> fmt::Debug for ServerQuota<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerQuota").field(&self.0).finish()
    }
}

impl<K, F> Sealed for ServerQuota<K, F> {}

impl<Req, F: KeyOf<Req>> Gate<Req> for ServerQuota<F::Key, F> {
    type Pass = ();
    type Turn = Pin<Box<QuotaWait<F::Key>>>;

    #[inline]
    fn enter(&self, request: &Req, wait: Wait, _: bool) -> Entered<(), Self::Turn> {
        let Keyed { limiter: quotas, key } = &self.0;
        if quotas.is_silent() {
            return Entered::silently(Entry::In(()));
        }
        let now = scope::now();
        let latest = match wait {
            Wait::InTurn(patience) if !patience.is_zero() => {
                let latest = Deadline::after(now, patience).instant();
                scope::deadline().map_or(latest, |deadline| deadline.min(latest))
            }
            _ => now,
        };
        let server = quotas.server(key.key_of(request), now);
        let entry = match quotas.admit(&server, now, latest) {
            Ok(()) => Entry::In(()),
            Err(NotYet { until: at, waits: true, .. }) => Entry::Wait(Box::pin(QuotaWait {
                quotas: quotas.clone(),
                turn: Turn { server, at: Some(at) },
                latest,
                alarm: Alarm::new(),
            })),
            Err(not_yet) => Entry::Out(refusal(not_yet, now)),
        };
        Entered::silently(entry)
    }
}

#[cold]
fn refusal(NotYet { policy, until, .. }: NotYet, now: Instant) -> Error {
    QuotaUsedUp::new(policy, until.saturating_duration_since(now)).into()
}

/// Waits until a server takes requests again. Dropped before that, it leaves its turn to the next who comes. See [`ServerQuotas`].
#[pin_project]
pub struct QuotaWait<K> {
    quotas: ServerQuotas<K>,
    turn: Turn<K>,
    latest: Instant,
    #[pin]
    alarm: Alarm,
}

struct Turn<K> {
    server: Arc<Server<K>>,
    /// Nothing, once it has come.
    at: Option<Instant>,
}

impl<K> Drop for Turn<K> {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.server.gives_up(at);
        }
    }
}

impl<K: Hash + Eq + Clone> Future for QuotaWait<K> {
    type Output = Turned<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(at) = this.turn.at {
                ready!(this.alarm.as_mut().poll_until(cx, at));
                this.turn.at = None;
            }
            // Others may have come first, or the server has said more meanwhile.
            let now = Instant::now();
            match this.quotas.admit(&this.turn.server, now, *this.latest) {
                Ok(()) => return Poll::Ready(Turned::silently(Ok(()))),
                Err(NotYet { until, waits: true, .. }) => this.turn.at = Some(until),
                Err(not_yet) => return Poll::Ready(Turned::silently(Err(refusal(not_yet, now)))),
            }
        }
    }
}

impl<K> fmt::Debug for QuotaWait<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaWait").field("at", &self.turn.at).finish_non_exhaustive()
    }
}
