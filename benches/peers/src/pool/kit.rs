//! One kind of thing to pool, told to everybody in their own words, and one way to take one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use stonework::pool::{Manage, Pooled};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is pooled: numbers, which are made and asked for their health as this says.
pub(crate) trait Things: Clone + Send + Sync + 'static {
    fn make(&self) -> impl Future<Output = Result<u32, Broken>> + Send;
    fn ask(&self, thing: u32) -> impl Future<Output = Result<(), Broken>> + Send;
}

#[derive(Debug, thiserror::Error)]
#[error("broken")]
pub(crate) struct Broken;

/// Made at once, and always well.
#[derive(Clone)]
pub(crate) struct Numbers;

impl Things for Numbers {
    async fn make(&self) -> Result<u32, Broken> {
        Ok(7)
    }

    async fn ask(&self, _: u32) -> Result<(), Broken> {
        Ok(())
    }
}

/// As each of the pools wants to be told of them.
#[derive(Clone)]
pub(crate) struct By<T>(pub(crate) T);

impl<T: Things> Manage for By<T> {
    type Object = u32;
    type Error = Broken;

    fn connect(&self) -> impl Future<Output = Result<u32, Broken>> + Send {
        self.0.make()
    }

    fn check(&self, thing: &mut u32) -> impl Future<Output = Result<(), Broken>> + Send {
        self.0.ask(*thing)
    }

    /// As the others have it: dropped is put back.
    fn is_clean(&self, _: &mut u32) -> bool {
        true
    }
}

impl<T: Things> deadpool::managed::Manager for By<T> {
    type Type = u32;
    type Error = Broken;

    fn create(&self) -> impl Future<Output = Result<u32, Broken>> + Send {
        self.0.make()
    }

    async fn recycle(
        &self,
        thing: &mut u32,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Broken> {
        Ok(self.0.ask(*thing).await?)
    }
}

impl<T: Things> bb8::ManageConnection for By<T> {
    type Connection = u32;
    type Error = Broken;

    fn connect(&self) -> impl Future<Output = Result<u32, Broken>> + Send {
        self.0.make()
    }

    fn is_valid(&self, thing: &mut u32) -> impl Future<Output = Result<(), Broken>> + Send {
        self.0.ask(*thing)
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

#[async_trait]
impl<T: Things> mobc::Manager for By<T> {
    type Connection = u32;
    type Error = Broken;

    async fn connect(&self) -> Result<u32, Broken> {
        self.0.make().await
    }

    async fn check(&self, thing: u32) -> Result<u32, Broken> {
        self.0.ask(thing).await.map(|()| thing)
    }
}

pub(crate) type Ours<T> = stonework::pool::Pool<By<T>>;
pub(crate) type Deadpool<T> = deadpool::managed::Pool<By<T>>;
pub(crate) type Bb8<T> = bb8::Pool<By<T>>;
pub(crate) type Mobc<T> = mobc::Pool<By<T>>;

/// A pool, whoever made it: clones share it.
pub(crate) trait Lends: Clone + Send + Sync + 'static {
    /// Dropped, it is back.
    type Lent: Send;

    fn take(&self) -> impl Future<Output = Option<Self::Lent>> + Send;
}

impl<T: Things> Lends for Ours<T> {
    type Lent = Pooled<By<T>>;

    async fn take(&self) -> Option<Self::Lent> {
        self.get().await.ok()
    }
}

impl<T: Things> Lends for Deadpool<T> {
    type Lent = deadpool::managed::Object<By<T>>;

    async fn take(&self) -> Option<Self::Lent> {
        self.get().await.ok()
    }
}

impl<T: Things> Lends for Bb8<T> {
    type Lent = bb8::PooledConnection<'static, By<T>>;

    async fn take(&self) -> Option<Self::Lent> {
        self.get_owned().await.ok()
    }
}

impl<T: Things> Lends for Mobc<T> {
    type Lent = mobc::Connection<By<T>>;

    async fn take(&self) -> Option<Self::Lent> {
        self.get().await.ok()
    }
}

/// The least that a pool can be: so many permits, and things that lie in a vector.
#[derive(Clone)]
pub(crate) struct Least {
    permits: Arc<Semaphore>,
    things: Arc<Mutex<Vec<u32>>>,
}

impl Least {
    pub(crate) fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), things: Arc::new(Mutex::new(vec![7; max])) }
    }

    pub(crate) fn permits(&self) -> &Semaphore {
        &self.permits
    }

    pub(crate) fn things(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct LeastLent {
    least: Least,
    thing: u32,
    _permit: OwnedSemaphorePermit,
}

impl Drop for LeastLent {
    fn drop(&mut self) {
        self.least.things().push(self.thing);
    }
}

impl Lends for Least {
    type Lent = LeastLent;

    async fn take(&self) -> Option<LeastLent> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let thing = self.things().pop()?;
        Some(LeastLent { least: self.clone(), thing, _permit: permit })
    }
}
