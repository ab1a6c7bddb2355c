use std::fmt;
use std::sync::Arc;

use http::Response;
use tower_layer::Layer;

use super::{FallbackService, FallbackSettings};
use crate::base::{Error, Event, Kind, Observe, Observer};

/// Asks another service, or a function for a value, when a call has failed. See the [module](super).
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct FallbackLayer<F> {
    shared: Arc<Shared<F>>,
    on: bool,
}

/// Another service, asked with the same request. See [`FallbackLayer::service`].
#[derive(Clone)]
pub struct Backup<T>(pub(super) T);

/// A function that makes a response. See [`FallbackLayer::value`].
#[derive(Clone)]
pub struct Value<V>(pub(super) V);

/// What all clones of a service share.
#[derive(Clone, Debug)]
pub(super) struct Shared<F> {
    pub(super) settings: FallbackSettings,
    pub(super) observe: Observe,
    pub(super) form: F,
}

impl<T> FallbackLayer<Backup<T>> {
    /// Ask `backup` with the same request. It answers with the response type of the inner service; where it does not,
    /// `map_response` makes it one. It may have layers of its own: a limit of time, a retry, another fallback. It is shared by all calls, so
    /// it has to be `Sync`; of a boxed one that is tower's `BoxCloneSyncService`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use stonework::base::{Error, Kind};
    /// use stonework::fallback::FallbackLayer;
    /// use stonework::retry::RetryLayer;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// let primary = service_fn(|_: Request<Full<Bytes>>| async {
    ///     Err::<Response<String>, _>(Error::new(Kind::Connect, "connection refused"))
    /// });
    /// let replica = service_fn(|_: Request<Full<Bytes>>| async {
    ///     Ok::<_, Error>(Response::new("from the replica".to_owned()))
    /// });
    /// let layer = FallbackLayer::service(RetryLayer::new().layer(replica));
    ///
    /// let response = layer.layer(primary).oneshot(Request::default()).await.unwrap();
    /// assert_eq!(response.body(), "from the replica");
    /// # }
    /// ```
    pub fn service(backup: T) -> Self {
        Self::new(Backup(backup))
    }
}

impl<V> FallbackLayer<Value<V>> {
    /// Answer with what `value` makes of the error. It is called in the middle of a poll: it must not block. Where
    /// `Timeout` is among the stated kinds, it also answers a call that is under way when the deadline passes.
    pub fn value<R>(value: V) -> Self
    where
        V: Fn(&Error) -> Response<R>,
    {
        Self::new(Value(value))
    }
}

impl<F> FallbackLayer<F> {
    fn new(form: F) -> Self {
        let shared = Shared { settings: FallbackSettings::new(), observe: Observe::default(), form };
        Self { shared: Arc::new(shared), on: true }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        self.on &= on;
        self
    }
}

impl<F: Clone> FallbackLayer<F> {
    /// Behave as these say. Default: [`FallbackSettings::new`].
    pub fn settings(self, settings: FallbackSettings) -> Self {
        self.with(|shared| shared.settings = settings)
    }

    /// Fall back on errors of these kinds, and on no others. See [`FallbackSettings::on`].
    ///
    /// # Panics
    ///
    /// If there is none: [`when(false)`](Self::when) switches the layer off.
    pub fn on(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.with(|shared| shared.settings = shared.settings.clone().on(kinds))
    }

    /// Tell this observer what happens. Default: nobody.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.with(|shared| shared.observe = Observe::by(observer))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<F>)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, F> Layer<S> for FallbackLayer<F> {
    type Service = FallbackService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService::with(inner, self.on.then(|| Arc::clone(&self.shared)))
    }
}

impl<F> Shared<F> {
    /// Something else is asked.
    pub(super) fn tell(&self, error: &Error) {
        self.observe.note(|| Event::FellBack { kind: error.kind(), delivery: error.delivery() });
    }
}

impl<T> fmt::Debug for Backup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for Value<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").finish_non_exhaustive()
    }
}
