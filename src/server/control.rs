use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use http::Request;
use tokio::sync::{Notify, watch};

use super::ServerSettings;
use super::crowd::Crowd;
use super::tasks::Leavers;
use crate::base::{Detach, DetachShare, Event, Observe, ServerPhase, WallClock};
use crate::health::{self, Health};

/// How connections are secured, if they are.
#[cfg(feature = "tls")]
pub(super) type MaybeTls = Option<super::ServerTls>;
#[cfg(not(feature = "tls"))]
pub(super) type MaybeTls = Option<std::convert::Infallible>;

/// What a server and all its connections share.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) settings: ServerSettings,
    pub(super) health: Option<Health>,
    pub(super) observe: Observe,
    /// What `date` says, unless that is hyper's business.
    pub(super) wall: Option<WallClock>,
    pub(super) crowd: Arc<Crowd>,
    /// Work that is waited for, too.
    pub(super) detached: Vec<DetachShare>,
    pub(super) leavers: Leavers,
    pub(super) tls: MaybeTls,
    /// How often somebody asked for a shutdown.
    pub(super) asked: watch::Sender<u32>,
    phase: AtomicU8,
    // Told once. Whoever waits for it is woken by nothing else, and so need not look at the phase but when this is said; and in the order in
    // which they came, so that two runs of a test are the same.
    drains: Notify,
    /// Answers that came to their end since the shutdown began.
    finished: AtomicU64,
    /// Requests that the shutdown cut off.
    aborted: AtomicU64,
}

impl Control {
    pub(super) fn new(
        settings: ServerSettings,
        health: Option<Health>,
        observe: Observe,
        wall: Option<WallClock>,
        detached: Vec<Detach>,
        tls: MaybeTls,
    ) -> Arc<Self> {
        let detached = detached.iter().map(Detach::share).collect();
        let crowd = Crowd::new(settings.max_connections, settings.max_connections_per_address);
        Arc::new(Self {
            settings,
            health,
            observe,
            wall,
            crowd,
            detached,
            leavers: Leavers::default(),
            tls,
            asked: watch::Sender::new(0),
            phase: AtomicU8::new(ServerPhase::Serving as u8),
            drains: Notify::new(),
            finished: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
        })
    }

    /// Who answers this request, if it is a probe.
    pub(super) fn probed<B>(&self, request: &Request<B>) -> Option<&Health> {
        self.health.as_ref().filter(|_| health::is_asked(request.uri().path()))
    }

    pub(super) fn phase(&self) -> ServerPhase {
        const ALL: [ServerPhase; 4] =
            [ServerPhase::Serving, ServerPhase::LameDuck, ServerPhase::Draining, ServerPhase::Stopped];
        ALL[usize::from(self.phase.load(Relaxed))]
    }

    /// Tells everybody.
    pub(super) fn enter(&self, phase: ServerPhase) {
        self.phase.store(phase as u8, Relaxed);
        if phase >= ServerPhase::Draining {
            self.drains.notify_waiters();
        }
        tracing::info!(phase = phase.name(), "the server enters a phase");
        self.tell(|| Event::ServerPhaseChanged { to: phase });
    }

    /// Tells whoever listens. One that panics is none of a client's business, and does not stop a server.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.observe.note(event))).is_err() {
            tracing::error!("an observer panicked");
        }
    }

    /// Waits until nothing new is taken on.
    pub(super) async fn draining(&self) {
        // Made before the look: it hears of everything from here on.
        let told = self.drains.notified();
        if self.phase() < ServerPhase::Draining {
            told.await;
        }
    }

    /// Waits until it was asked to stop more often than `times`.
    pub(super) async fn asked_again(&self, times: u32) {
        let mut asked = self.asked.subscribe();
        let _ = asked.wait_for(|asked| *asked > times).await;
    }

    /// There is no server any more, though there may be handles.
    pub(super) fn leave(&self) {
        for detach in &self.detached {
            detach.leave();
        }
    }

    pub(super) fn finished(&self, requests: u64) {
        self.finished.fetch_add(requests, Relaxed);
    }

    pub(super) fn aborted(&self, requests: u64) {
        self.aborted.fetch_add(requests, Relaxed);
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (self.finished.load(Relaxed), self.aborted.load(Relaxed))
    }
}
