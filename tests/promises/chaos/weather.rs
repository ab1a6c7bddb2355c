//! What is drawn for a seed as a whole: the network, and how client and server are set up.

use std::time::{Duration, SystemTime};

use stonework::base::{Ratio, Rng, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::hedge::HedgeSettings;
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::limit::{AdaptiveSettings, ConcurrencyLimiter, ConcurrencySettings};
use stonework::server::Server;
use stonework::testing::Recorder;
use stonework::testing::chaos::{Faults, Wire, WireStream};
use stonework::timeout::BodyLimits;
use tokio::sync::mpsc;

use super::asks::in_crumbs;

const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Weather {
    pub(super) seed: u64,
    pub(super) bodies_in_time: bool,
    pub(super) deadline: Duration,
    /// When another server takes the place of the first one in the middle of it all, if one does.
    pub(super) another: Option<Duration>,
    client: ClientSettings,
    concurrency: ConcurrencySettings,
    pub(super) faults: Faults,
}

impl Weather {
    pub(super) fn of(seed: u64) -> Self {
        let rng = Rng::seeded(seed ^ 0xc4a0);
        // Worse than a network that one would stay with, and anywhere between the first head and the middle of a large body.
        let within = [600, 4_096, 30_000, 100_000][rng.below(4) as usize];
        let (often, now_and_then) = (Ratio::percent(25), Ratio::percent(15));
        let mut faults = Faults::default().resets(often).silences(now_and_then).within(within);
        if in_crumbs(seed) {
            faults = faults.slices(1 + rng.below(40) as usize);
        }
        if rng.below(4) == 0 {
            faults = faults.bandwidth(30_000);
        }
        let deadline = [SECOND, 3 * SECOND, 12 * SECOND, 30 * SECOND][rng.below(4) as usize];
        let mut client = ClientSettings::new().deadline(deadline);
        if seed % 2 == 1 {
            client = client.http2_only();
        }
        let bodies_in_time = rng.below(2) == 0;
        if bodies_in_time {
            client = client.body(BodyLimits::new().until_deadline());
        }
        if rng.below(3) == 0 {
            client = client.max_connections_per_host(3);
        }
        if rng.below(4) == 0 {
            client = client.hedge(HedgeSettings::new());
        }
        let concurrency = match rng.below(3) {
            0 => ConcurrencySettings::adaptive(AdaptiveSettings::new()),
            1 => ConcurrencySettings::new(4).queue(4),
            _ => ConcurrencySettings::new(6),
        };
        let another = (rng.below(5) == 0).then(|| rng.duration_below(4 * SECOND));
        Self { seed, bodies_in_time, deadline, another, client, concurrency, faults }
    }

    pub(super) fn client(&self, wire: &Wire, rng: &Rng, recorder: &Recorder) -> Client {
        let wire = wire.clone();
        let transport = connect_fn(move |_: Target| wire.connect());
        let connector = Connector::builder().transport(transport).build().expect("a valid connector");
        let client = Client::builder().settings(self.client.clone()).connector(connector);
        client.rng(rng.clone()).observer(recorder.clone()).build().expect("valid settings")
    }

    pub(super) fn limiter(&self, rng: &Rng) -> ConcurrencyLimiter {
        ConcurrencyLimiter::with_rng(self.concurrency, rng.clone()).expect("valid settings")
    }

    pub(super) fn server(
        &self,
        wire: &Wire,
        rng: &Rng,
        limiter: &ConcurrencyLimiter,
        store: &MemoryStore,
    ) -> Server<mpsc::Receiver<WireStream>> {
        let server = Server::builder().rng(rng.clone());
        let server = server.wall_clock(WallClock::fixed_at(SystemTime::UNIX_EPOCH + 1_000_000 * SECOND));
        let server = server.concurrency_limiter(limiter.clone());
        let server = server.idempotency(IdempotencyLayer::new(store.clone()));
        server.listen(wire.listen()).expect("valid settings")
    }
}
