use std::fmt;
use std::time::Duration;

use crate::base::{EndpointId, Rng};

/// Picks the endpoint of a call, in a way of one's own, in place of a [`Pick`](super::Pick): see
/// [`BalancerBuilder::picker`](super::BalancerBuilder::picker).
///
/// ```
/// use stonework::balance::{Balancer, Candidate, Candidates, Picker};
/// use stonework::base::Rng;
///
/// /// The least loaded one of three, in place of two.
/// struct OfThree;
///
/// impl Picker for OfThree {
///     fn pick<'a>(&self, candidates: &Candidates<'a>, rng: &Rng) -> Option<Candidate<'a>> {
///         let three = (0..3).filter_map(|_| candidates.draw(rng));
///         three.min_by_key(Candidate::in_flight)
///     }
/// }
///
/// let balancer = Balancer::builder(|id| id.to_string()).members(["10.0.0.1:80", "10.0.0.2:80"]).picker(OfThree);
/// # let _ = balancer;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not pick endpoints",
    note = "the ways that a balancer has by itself are set by `BalancerSettings::pick`"
)]
pub trait Picker: Send + Sync + 'static {
    /// One of the candidates. With none, the call goes to another tier; if there is none either, it fails at once, as where nobody is ready: nothing says when
    /// it would be another.
    ///
    /// It is asked for each call, and again if what it picks cannot take the call, in the middle of a poll: it must not block. No lock is
    /// held. A panic unwinds through the call.
    fn pick<'a>(&self, candidates: &Candidates<'a>, rng: &Rng) -> Option<Candidate<'a>>;
}

/// The endpoints of one tier that may get a call: those that are ready, and that this call has not tried. See [`Picker`].
#[derive(Clone, Copy)]
pub struct Candidates<'a>(&'a dyn Look);

impl<'a> Candidates<'a> {
    pub(super) const fn of(tier: &'a dyn Look) -> Self {
        Self(tier)
    }

    /// All of them, in an order that stays the same as long as the endpoints do.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> {
        let tier = self.0;
        (0..tier.count()).filter(|at| tier.admits(*at) > 0.0).map(|at| Candidate { tier, at })
    }

    /// One by chance, each as often as it weighs; one that has just come less often, by [slow
    /// start](super::BalancerSettings::slow_start). This takes no longer for many than for few.
    #[must_use]
    pub fn draw(&self, rng: &Rng) -> Option<Candidate<'a>> {
        self.0.draw(rng).map(|at| Candidate { tier: self.0, at })
    }
}

/// An endpoint that may get a call. See [`Picker`].
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    tier: &'a dyn Look,
    at: usize,
}

impl<'a> Candidate<'a> {
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &'a EndpointId {
        self.tier.id(self.at)
    }

    /// What part of the calls is for it, where 1 is what all have on average: by its [weight](super::Member::weight), and less if it has just come.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.tier.share(self.at)
    }

    /// How many calls it has under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.tier.in_flight(self.at)
    }

    /// How long its calls take lately, with a [penalty](super::BalancerSettings::penalty) for those that failed; nothing before the first has ended.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.tier.latency(self.at)
    }
}

/// A tier, at the moment of a pick.
pub(super) trait Look {
    fn count(&self) -> usize;
    /// How much of its share it is to get, from 0, which is none.
    fn admits(&self, at: usize) -> f64;
    fn draw(&self, rng: &Rng) -> Option<usize>;
    fn id(&self, at: usize) -> &EndpointId;
    fn share(&self, at: usize) -> f64;
    fn in_flight(&self, at: usize) -> u64;
    fn latency(&self, at: usize) -> Option<Duration>;
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("id", self.id())
            .field("share", &self.share())
            .field("in_flight", &self.in_flight())
            .field("latency", &self.latency())
            .finish()
    }
}
