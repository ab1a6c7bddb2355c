use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Manage;
use super::core::{Core, Lost};
use super::entry::Entry;
use crate::base::PoolClose;

/// An object of a [`Pool`](super::Pool), in use. **Put it back when it is clean**; dropped, it is closed, unless its manager
/// [says](Manage::is_clean) that it is as good as one that was put back.
///
/// ```
/// # use stonework::pool::{Manage, Pool};
/// # struct Names;
/// # impl Manage for Names {
/// #     type Object = Vec<String>;
/// #     type Error = std::convert::Infallible;
/// #     async fn connect(&self) -> Result<Vec<String>, Self::Error> { Ok(Vec::new()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
/// let pool = Pool::new(Names);
/// let mut names = pool.get().await?;
/// names.push("ann".to_owned());
/// names.put_back();
/// assert_eq!(pool.get().await?.len(), 1); // the same one
/// # Ok(()) }
/// ```
pub struct Pooled<M: Manage> {
    // Nothing, once it was given up.
    entry: Option<Entry<M::Object>>,
    core: Arc<Core<M>>,
}

impl<M: Manage> Pooled<M> {
    #[inline]
    pub(super) const fn new(entry: Entry<M::Object>, core: Arc<Core<M>>) -> Self {
        Self { entry: Some(entry), core }
    }

    fn entry(&self) -> &Entry<M::Object> {
        self.entry.as_ref().expect("it is there until it is given up")
    }

    /// Put it back, for whoever has waited longest, or for the next. It has to be clean: nothing of what was done with it goes on.
    #[inline]
    pub fn put_back(mut self) {
        if let Some(entry) = self.entry.take() {
            self.core.put(entry);
        }
    }

    /// Close it, though it may look usable.
    pub fn discard(mut self) {
        if let Some(entry) = self.entry.take() {
            self.core.close_one(entry, PoolClose::Discarded);
        }
    }

    /// Take it out of the pool, which may connect another one in its place.
    #[must_use = "dropped, it is closed; `discard` says that"]
    pub fn take(mut self) -> M::Object {
        let entry = self.entry.take().expect("it is there until it is given up");
        self.core.forget_one();
        entry.object
    }
}

impl<M: Manage> Deref for Pooled<M> {
    type Target = M::Object;

    #[inline]
    fn deref(&self) -> &M::Object {
        &self.entry().object
    }
}

impl<M: Manage> DerefMut for Pooled<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M::Object {
        &mut self.entry.as_mut().expect("it is there until it is given up").object
    }
}

impl<M: Manage> Drop for Pooled<M> {
    #[inline]
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let mut lost = Lost { core: &self.core, entry: Some(entry), why: PoolClose::Dropped };
        let clean = !std::thread::panicking()
            && lost.entry.as_mut().is_some_and(|entry| self.core.manager.is_clean(&mut entry.object));
        if clean {
            lost.why = PoolClose::Broken;
            lost.put();
        }
    }
}

/// Never shows the object.
impl<M: Manage> fmt::Debug for Pooled<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("pool", &self.core.name).finish_non_exhaustive()
    }
}
