use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::grpc;
use super::probing::{Probing, Start};
use super::state::{Ask, State};
use super::tally::Tally;
use super::{CheckKind, Health, HealthSettings, Impact, IntoVerdict, InvalidHealth};
use crate::base::{Observe, Observer, Rng};

/// Collects checks. See [`Health::builder`].
///
/// A check that is not a liveness check is a closure that makes a future. What both return is anything that is a
/// [verdict](IntoVerdict): `()`, a `bool`, a [`Verdict`](super::Verdict), or a `Result` of these.
#[derive(Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct HealthBuilder {
    settings: HealthSettings,
    alive: Vec<(Arc<str>, Ask)>,
    checks: Vec<(Arc<str>, CheckKind, Start)>,
    services: Vec<Arc<str>>,
    observe: Observe,
    rng: Rng,
}

impl HealthBuilder {
    /// Run checks by these. Default: [`HealthSettings::new`].
    pub const fn settings(mut self, settings: HealthSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Whether this process can still do anything: if this fails, it is killed and started anew.
    ///
    /// It is a plain function and no async one, so that nobody asks a database here, whose outage would restart everything that
    /// uses it. It is called by every probe, and must be quick: read an atomic, `try_lock` a lock.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use stonework::health::Health;
    ///
    /// let worker_has_died = Arc::new(AtomicBool::new(false));
    /// let health = Health::builder().liveness("worker", move || !worker_has_died.load(Ordering::Relaxed));
    /// # let _ = health;
    /// ```
    pub fn liveness<V: IntoVerdict>(
        mut self,
        name: impl Into<Arc<str>>,
        check: impl Fn() -> V + Send + Sync + 'static,
    ) -> Self {
        self.alive.push((name.into(), Box::new(move || check().into_verdict())));
        self
    }

    /// Whether it has begun: a cache was loaded, a schema migrated. It is asked until it has passed, once.
    pub fn startup<F>(self, name: impl Into<Arc<str>>, check: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output: IntoVerdict> + Send + 'static,
    {
        self.check(name.into(), CheckKind::Startup, check)
    }

    /// Whether it can serve requests, as far as this is concerned. See [`Impact`].
    ///
    /// The future must not block its thread: that would hold up the other checks, until their results are too old to count.
    pub fn readiness<F>(
        self,
        name: impl Into<Arc<str>>,
        impact: Impact,
        check: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output: IntoVerdict> + Send + 'static,
    {
        self.check(name.into(), CheckKind::Readiness(impact), check)
    }

    fn check<F>(
        mut self,
        name: Arc<str>,
        kind: CheckKind,
        mut check: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output: IntoVerdict> + Send + 'static,
    {
        let start: Start = Box::new(move || {
            let answer = check();
            Box::pin(async move { answer.await.into_verdict() })
        });
        self.checks.push((name, kind, start));
        self
    }

    /// A gRPC service that is as ready as the whole server, by its full name: `package.Service`. Known without this are the empty
    /// name, which stands for the whole server, and `liveness`, `readiness` and `startup`.
    pub fn grpc_service(mut self, name: impl Into<Arc<str>>) -> Self {
        self.services.push(name.into());
        self
    }

    /// Tell this observer of every change of a check: [`HealthChanged`](crate::base::Event::HealthChanged). Default: nobody. It is told
    /// with no lock held, after the fact, in the order of what happened, one event at a time.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Starts the task that runs the checks, if there are any.
    ///
    /// # Errors
    ///
    /// [`InvalidHealth`], which names the setting, the check or the service that cannot be.
    ///
    /// # Panics
    ///
    /// If there is a check, outside a Tokio runtime with timers.
    pub fn build(self) -> Result<Health, InvalidHealth> {
        let Self { settings, alive, checks, services, observe, rng } = self;
        settings.check()?;
        names(alive.iter().map(|(name, _)| name).chain(checks.iter().map(|(name, ..)| name)))?;
        names(services.iter().chain(&grpc::KNOWN.map(Arc::from)))?;
        let known = alive.iter().map(|(name, _)| (Arc::clone(name), CheckKind::Liveness));
        let known = known.chain(checks.iter().map(|(name, kind, _)| (Arc::clone(name), *kind)));
        let tally = Tally::new(&settings, known);
        let asks = alive.len();
        let alive = alive.into_iter().map(|(_, ask)| ask).collect();
        let state = Arc::new(State::new(tally, alive, services, settings, observe));
        let in_passing = |check| -> (CheckKind, Start) {
            let state = Arc::clone(&state);
            (CheckKind::Liveness, Box::new(move || Box::pin(std::future::ready(state.ask(check)))))
        };
        let all = (0..asks).map(in_passing).chain(checks.into_iter().map(|(_, kind, start)| (kind, start)));
        let all: Vec<_> = all.collect();
        let task = (!all.is_empty()).then(|| tokio::spawn(Probing::new(Arc::clone(&state), rng, all)));
        Ok(Health::new(state, task))
    }
}

/// Each is a name, and no two are the same.
fn names<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Result<(), InvalidHealth> {
    let mut seen = HashSet::new();
    for name in names {
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            return Err(InvalidHealth::Name { name: name.to_string() });
        }
        if !seen.insert(name) {
            return Err(InvalidHealth::Duplicate { name: name.to_string() });
        }
    }
    Ok(())
}

impl fmt::Debug for HealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .alive
            .iter()
            .map(|(name, _)| name)
            .chain(self.checks.iter().map(|(name, ..)| name))
            .collect();
        f.debug_struct("HealthBuilder")
            .field("settings", &self.settings)
            .field("checks", &names)
            .finish_non_exhaustive()
    }
}
