use std::time::Duration;

use crate::base::{Ratio, Rng};

/// What a [`Wire`](super::Wire) does to connections. The default is a network that is bad, and that one can live with; [`none`](Self::none) is a
/// perfect one, to begin with where only one thing is to go wrong.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::Ratio;
/// use stonework::testing::chaos::Faults;
///
/// let slow = Faults::none().latency(Duration::from_millis(80)).bandwidth(20_000);
/// let rude = Faults::default().resets(Ratio::percent(30)).within(500);
/// # let _ = (slow, rude);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "faults do nothing until a wire is given them"]
pub struct Faults {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) slices: Option<usize>,
    pub(super) bandwidth: Option<u64>,
    pub(super) refusals: Ratio,
    pub(super) hangs: Ratio,
    pub(super) resets: Ratio,
    pub(super) silences: Ratio,
    pub(super) within: u64,
}

impl Faults {
    /// How long something takes that starts now; beyond what a clock can count, so long that nobody waits for it.
    pub(super) fn delay(&self, rng: &Rng) -> Duration {
        const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        self.latency.saturating_add(rng.duration_below(self.jitter)).min(YEARS)
    }

    /// Everything arrives, whole and at once.
    pub fn none() -> Self {
        let never = Ratio::percent(0);
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            slices: None,
            bandwidth: None,
            refusals: never,
            hangs: never,
            resets: never,
            silences: never,
            within: 4096,
        }
    }

    /// How long everything takes from one end to the other, at least. Default: 5 ms, as between data centres of one region.
    pub fn latency(mut self, least: Duration) -> Self {
        self.latency = least;
        self
    }

    /// How much longer it may take, by chance, for each piece; nothing overtakes what was sent before it. Default: 20 ms.
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Cut what is written into pieces of up to so many bytes, and at least one, which arrive one at a time. Default: 1460, what a packet carries, so
    /// that most heads are whole and most bodies are not. A few bytes find parsers that count on more.
    pub fn slices(mut self, most: usize) -> Self {
        self.slices = Some(most.max(1));
        self
    }

    /// How many bytes a second go through each direction of a connection; at least one. Default: 1 000 000, so that what is large takes its time.
    pub fn bandwidth(mut self, bytes: u64) -> Self {
        self.bandwidth = Some(bytes.max(1));
        self
    }

    /// Of how many connections the other end says no. Default: 5 %.
    pub fn refusals(mut self, share: Ratio) -> Self {
        self.refusals = share;
        self
    }

    /// Of how many connections nothing is ever heard, not even whether there is another end. Default: 2 %.
    pub fn hangs(mut self, share: Ratio) -> Self {
        self.hangs = share;
        self
    }

    /// How many connections are reset, after some bytes in one of their directions. What was under way is lost. Default: 10 %.
    pub fn resets(mut self, share: Ratio) -> Self {
        self.resets = share;
        self
    }

    /// In how many connections one direction falls silent after some bytes: what is sent in it is lost, its end included, and nobody is told. The
    /// other direction goes on. Default: 5 %.
    pub fn silences(mut self, share: Ratio) -> Self {
        self.silences = share;
        self
    }

    /// After how many bytes of a direction a connection is reset or falls silent, at most, by chance. Default: 4096, which is somewhere within the
    /// first few requests.
    pub fn within(mut self, bytes: u64) -> Self {
        self.within = bytes;
        self
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
            .latency(Duration::from_millis(5))
            .jitter(Duration::from_millis(20))
            .slices(1460)
            .bandwidth(1_000_000)
            .refusals(Ratio::percent(5))
            .hangs(Ratio::percent(2))
            .resets(Ratio::percent(10))
            .silences(Ratio::percent(5))
    }
}
