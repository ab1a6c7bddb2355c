use std::fmt;
use std::time::Duration;

use super::OutlierSettings;
use super::slow_start::SlowStart;
use crate::base::{Backoff, Jitter, Ratio};

/// How a [`Balancer`](super::Balancer) behaves. With the feature `serde` it can be read from a file and written to one: durations as
/// `"250ms"`, what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::balance::{BalancerSettings, Pick, WhenUnhealthy};
///
/// let settings = BalancerSettings::new()
///     .pick(Pick::LeastLoaded)
///     .slow_start(Duration::from_secs(60))
///     .when_unhealthy(WhenUnhealthy::FailFast);
/// # #[cfg(feature = "serde")] {
/// let text = r#"{ "pick": "least_loaded", "slow_start": "1m", "when_unhealthy": "fail_fast" }"#;
/// let read: BalancerSettings = serde_json::from_str(text).unwrap();
/// assert_eq!(read, settings);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a balancer is made from them"]
pub struct BalancerSettings {
    pub(super) backoff: Backoff,
    pub(super) check_timeout: Duration,
    pub(super) decay: Duration,
    pub(super) failovers: u32,
    pub(super) outliers: Option<OutlierSettings>,
    pub(super) overprovision_percent: u32,
    pub(super) panic_threshold: Ratio,
    pub(super) penalty: Duration,
    pub(super) pick: Pick,
    pub(super) slow_start: Option<Duration>,
    pub(super) slow_start_aggression: f64,
    pub(super) slow_start_least: Ratio,
    pub(super) wait_for_endpoint: Option<Duration>,
    pub(super) when_unhealthy: WhenUnhealthy,
}

/// How one of several endpoints is picked. Keys that [stick](super::BalancerService::sticky) to an endpoint go before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Pick {
    /// Of two, drawn by weight, the one that has fewer calls under way for its weight.
    LeastLoaded,
    /// Of two, drawn by weight, the one whose calls under way will have cost less time, by what calls to it have taken lately:
    /// a slow one counts at once and is forgotten by and by, one that failed counts as slow, and one that was given up as no
    /// faster than it was.
    #[default]
    PeakEwma,
    /// By turns, each as often as it weighs, whatever they have to do. Threads go round by themselves, each from another endpoint,
    /// or all of their calls would wait for one count: who calls from one thread meets the endpoints in turn, and of all calls
    /// together each endpoint gets its share, but for a call or two for each thread.
    WeightedRoundRobin,
}

/// What to do when too few endpoints are fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenUnhealthy {
    /// Never call one that is not ready. When none is, calls fail at once with [`AllUnhealthy`](super::AllUnhealthy).
    FailFast,
    /// Below the [panic threshold](BalancerSettings::panic_threshold), do not believe it: call those that were left out, too, and if
    /// there is nobody else, those that could not be reached.
    #[default]
    FailOpen,
}

impl BalancerSettings {
    /// The better of two by what calls have cost lately; slow start within 30 s, outliers left out, everybody called when fewer than
    /// half are fit. The setters say more.
    pub fn new() -> Self {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10));
        Self {
            backoff: backoff.expect("a base below its cap").jitter(Jitter::Equal),
            check_timeout: Duration::from_secs(5),
            decay: Duration::from_secs(10),
            failovers: 3,
            outliers: Some(OutlierSettings::new()),
            overprovision_percent: 140,
            panic_threshold: Ratio::percent(50),
            penalty: Duration::from_secs(1),
            pick: Pick::PeakEwma,
            slow_start: Some(Duration::from_secs(30)),
            slow_start_aggression: 1.0,
            slow_start_least: Ratio::percent(10),
            wait_for_endpoint: Some(Duration::from_secs(5)),
            when_unhealthy: WhenUnhealthy::FailOpen,
        }
    }

    /// How one is picked. Default: [`Pick::PeakEwma`].
    pub const fn pick(mut self, pick: Pick) -> Self {
        self.pick = pick;
        self
    }

    /// How long what a call has cost is remembered: after this time a good third of it is left. Default: 10 s.
    pub const fn decay(mut self, decay: Duration) -> Self {
        self.decay = decay;
        self
    }

    /// What a call costs that was refused because of overload, or that failed after another: the third in a row costs it twice, and so
    /// on, up to ten times. It should be more than nearly all that go well take, or whoever fails at once looks like the fastest. A single failure
    /// costs twice the time that it took. Default: 1 s.
    pub const fn penalty(mut self, penalty: Duration) -> Self {
        self.penalty = penalty;
        self
    }

    /// How long it takes until an endpoint that has come, or come back, gets its whole share, growing from
    /// [a little](Self::slow_start_least). Keys that stick to it come at once. Default: 30 s.
    pub const fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = Some(window);
        self
    }

    /// Give every endpoint its whole share from the beginning. In a file: `slow_start = "off"`.
    pub const fn without_slow_start(mut self) -> Self {
        self.slow_start = None;
        self
    }

    /// How its share grows: the part of the [time](Self::slow_start) that has passed, to the power of one by this. Default: 1, evenly. More
    /// grows sooner.
    pub const fn slow_start_aggression(mut self, aggression: f64) -> Self {
        self.slow_start_aggression = aggression;
        self
    }

    /// The share with which it begins. Default: 10 %.
    pub const fn slow_start_least(mut self, share: Ratio) -> Self {
        self.slow_start_least = share;
        self
    }

    /// When to leave out those that do badly. Default: see [`OutlierSettings::new`].
    pub const fn outliers(mut self, outliers: OutlierSettings) -> Self {
        self.outliers = Some(outliers);
        self
    }

    /// Leave none out for how its calls went. In a file: `outliers = "off"`.
    pub fn without_outliers(mut self) -> Self {
        self.outliers = None;
        self
    }

    /// When less than this share of a tier is ready, and the other tiers cannot make up for it, the balancer *panics*: it takes it for
    /// more likely that what it knows is wrong. See [`WhenUnhealthy`]. Default: 50 %.
    pub const fn panic_threshold(mut self, share: Ratio) -> Self {
        self.panic_threshold = share;
        self
    }

    /// What it does then. Default: [`WhenUnhealthy::FailOpen`].
    pub const fn when_unhealthy(mut self, choice: WhenUnhealthy) -> Self {
        self.when_unhealthy = choice;
        self
    }

    /// How much a tier can take, in percent of what it gets when all of it is ready: with 140, all calls stay there until less than 72 % is
    /// ready. Default: 140.
    pub const fn overprovision_percent(mut self, percent: u32) -> Self {
        self.overprovision_percent = percent;
        self
    }

    /// To how many other endpoints a request may go on that came back unsent, in one call. Default: 3. With 0 its caller gets it
    /// back; more than 7 count as 7.
    pub const fn failovers(mut self, endpoints: u32) -> Self {
        self.failovers = endpoints;
        self
    }

    /// How long an endpoint that could not be reached is left alone, growing each time until it answers. Default: from 100 ms to 10 s,
    /// half of it by chance.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long a [check](super::BalancerBuilder::check) may take. Default: 5 s.
    pub const fn check_timeout(mut self, limit: Duration) -> Self {
        self.check_timeout = limit;
        self
    }

    /// How long a call waits for the first endpoint, while there is none or it is being found out whether it can be reached. Never
    /// longer than the [deadline](crate::base::Deadline) in scope. Default: 5 s.
    pub const fn wait_for_endpoint(mut self, limit: Duration) -> Self {
        self.wait_for_endpoint = Some(limit);
        self
    }

    /// Fail at once while there is no endpoint. In a file: `wait_for_endpoint = "off"`.
    pub const fn without_wait_for_endpoint(mut self) -> Self {
        self.wait_for_endpoint = None;
        self
    }

    pub(super) fn slow(&self) -> Option<SlowStart> {
        let (aggression, least) = (self.slow_start_aggression, self.slow_start_least.as_f64());
        self.slow_start.map(|window| SlowStart { window, aggression, least })
    }

    pub(super) fn check(&self) -> Result<(), InvalidBalancer> {
        let off = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        for (field, instead, is_zero) in [
            ("check_timeout", None, self.check_timeout.is_zero()),
            ("decay", None, self.decay.is_zero()),
            ("penalty", None, self.penalty.is_zero()),
            ("slow_start", Some("without_slow_start"), off(self.slow_start)),
            ("slow_start_least", None, self.slow_start_least == Ratio::ZERO),
            ("wait_for_endpoint", Some("without_wait_for_endpoint"), off(self.wait_for_endpoint)),
        ] {
            match instead {
                _ if !is_zero => {}
                Some(instead) => return Err(InvalidBalancer::ZeroForOff { field, instead }),
                None => return Err(InvalidBalancer::Zero { field }),
            }
        }
        if self.overprovision_percent < 100 {
            return Err(InvalidBalancer::TooFewPercent { percent: self.overprovision_percent });
        }
        if !(self.slow_start_aggression > 0.0 && self.slow_start_aggression.is_finite()) {
            return Err(InvalidBalancer::NoNumber { field: "slow_start_aggression" });
        }
        self.outliers.as_ref().map_or(Ok(()), OutlierSettings::check)
    }
}

impl Default for BalancerSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// `the faster of two, …`
impl fmt::Display for BalancerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pick = match self.pick {
            Pick::LeastLoaded => "the less loaded of two",
            Pick::PeakEwma => "the faster of two",
            Pick::WeightedRoundRobin => "by turns",
        };
        f.write_str(pick)?;
        self.after_the_pick(f)
    }
}

impl BalancerSettings {
    /// All but how one is picked.
    pub(super) fn after_the_pick(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", up to {} others if it cannot be reached", self.failovers)?;
        if let Some(outliers) = &self.outliers {
            write!(f, "; left out {outliers}")?;
        }
        let open = match self.when_unhealthy {
            WhenUnhealthy::FailFast => "none that is not ready",
            WhenUnhealthy::FailOpen => "all of them",
        };
        write!(f, "; below {} ready, {open}", self.panic_threshold)
    }
}

/// Settings that no balancer can have: told where one is built, or where they are read from a file.
///
/// ```
/// use stonework::balance::{Balancer, BalancerSettings, InvalidBalancer};
///
/// let settings = BalancerSettings::new().overprovision_percent(90);
/// let error = Balancer::builder(|_| ()).settings(settings).build().unwrap_err();
/// assert_eq!(error.to_string(), "`overprovision_percent` is 90, less than 100: a tier that is well could not take its own calls");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBalancer {
    /// What is to look at the endpoints cannot be.
    #[error("`inspect`: {why}")]
    #[non_exhaustive]
    Inspect {
        /// What it says.
        why: String,
    },
    /// It is no number above zero.
    #[error("`{field}` is no number above zero")]
    #[non_exhaustive]
    NoNumber {
        /// The name of the setting.
        field: &'static str,
    },
    /// Calls would go to another tier for no reason.
    #[error(
        "`overprovision_percent` is {percent}, less than 100: a tier that is well could not take its own calls"
    )]
    #[non_exhaustive]
    TooFewPercent {
        /// What was asked for.
        percent: u32,
    },
    /// It is zero, with which nothing would ever succeed.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
    /// It is zero, and there is a word for doing without.
    #[error("`{field}` is zero; to do without, say `{instead}` (in a file: {field} = \"off\")")]
    #[non_exhaustive]
    ZeroForOff {
        /// The name of the setting.
        field: &'static str,
        /// The setter that switches it off.
        instead: &'static str,
    },
}
