use std::fmt;
use std::sync::Arc;

use super::core::Core;
use super::{InvalidPool, Manage, Pool, PoolSettings};
use crate::base::{Observe, Observer, Rng};

/// Builds a [`Pool`]. The order of the setters does not matter. Example: [`Pool`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder<M> {
    manager: M,
    settings: PoolSettings,
    name: Arc<str>,
    observe: Observe,
    rng: Rng,
}

impl<M: Manage> PoolBuilder<M> {
    pub(super) fn new(manager: M) -> Self {
        let (settings, name) = (PoolSettings::new(), Arc::from(""));
        Self { manager, settings, name, observe: Observe::default(), rng: Rng::default() }
    }

    /// Everything that is data. Default: [`PoolSettings::new`].
    pub fn settings(mut self, settings: PoolSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What to call it in errors and events. Default: nothing.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Tell this observer what happens: [`PoolConnected`](crate::base::Event::PoolConnected),
    /// [`PoolConnectFailed`](crate::base::Event::PoolConnectFailed), [`PoolClosed`](crate::base::Event::PoolClosed). Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Build it. Within a Tokio runtime it begins to connect what is to be [kept ready](PoolSettings::min_idle), elsewhere when it is first
    /// asked.
    ///
    /// # Errors
    ///
    /// [`InvalidPool`], which names the setting.
    pub fn build(self) -> Result<Pool<M>, InvalidPool> {
        self.settings.check()?;
        Ok(self.assemble())
    }

    /// The settings were checked, or are the defaults.
    pub(super) fn assemble(self) -> Pool<M> {
        let Self { manager, settings, name, observe, rng } = self;
        Pool::of(Core::new(manager, settings, name, observe, rng))
    }
}

impl<M> fmt::Debug for PoolBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
