use std::fmt;
use std::pin::Pin;

use crate::base::EndpointId;
use crate::health::{IntoVerdict, Verdict};

/// Finds out whether an endpoint is well: [`HttpProbe`](super::HttpProbe), [`GrpcProbe`](super::GrpcProbe),
/// [`TcpProbe`](super::TcpProbe), a closure in [`probe_fn`], or one of your own.
///
/// ```
/// use stonework::base::EndpointId;
/// use stonework::health::{Probe, Prober, Verdict};
///
/// /// Asks a database whether it takes writes.
/// struct Writable;
///
/// impl Probe for Writable {
///     async fn probe(&self, endpoint: &EndpointId) -> Verdict {
///         match endpoint.as_str() {
///             "10.0.0.7:5432" => Verdict::pass(),
///             _ => Verdict::fail("read only"),
///         }
///     }
/// }
/// # let _ = Prober::builder(Writable);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` probes no endpoints",
    note = "`stonework::health::probe_fn` makes a probe of a closure"
)]
pub trait Probe: Send + Sync + 'static {
    /// Whether this endpoint is well.
    ///
    /// It is dropped when its [time](super::ProberSettings::timeout) is over, and when the endpoint is removed; that time is the deadline of what
    /// clients of this crate do for it. If it panics it has failed.
    fn probe(&self, endpoint: &EndpointId) -> impl Future<Output = Verdict> + Send;
}

/// A probe of a closure, whose future returns anything that is a [verdict](IntoVerdict).
///
/// ```
/// use stonework::health::{Prober, probe_fn};
/// use tokio::net::UdpSocket;
///
/// let echo = probe_fn(|endpoint| async move {
///     let socket = UdpSocket::bind("127.0.0.1:0").await?;
///     socket.connect(endpoint.as_str()).await?;
///     socket.send(b"ping").await?;
///     socket.recv(&mut [0; 4]).await.map(drop)
/// });
/// # let _ = Prober::builder(echo);
/// ```
pub const fn probe_fn<F, Fut>(probe: F) -> ProbeFn<F>
where
    F: Fn(EndpointId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoVerdict> + Send,
{
    ProbeFn(probe)
}

/// A closure as a probe. See [`probe_fn`].
#[derive(Clone, Copy)]
pub struct ProbeFn<F>(F);

impl<F, Fut> Probe for ProbeFn<F>
where
    F: Fn(EndpointId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoVerdict> + Send,
{
    async fn probe(&self, endpoint: &EndpointId) -> Verdict {
        (self.0)(endpoint.clone()).await.into_verdict()
    }
}

impl<F> fmt::Debug for ProbeFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFn").finish_non_exhaustive()
    }
}

pub(super) type Asking<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// The same, whichever it is.
pub(super) trait AnyProbe: Send + Sync {
    fn ask<'a>(&'a self, endpoint: &'a EndpointId) -> Asking<'a>;
}

impl<P: Probe> AnyProbe for P {
    fn ask<'a>(&'a self, endpoint: &'a EndpointId) -> Asking<'a> {
        Box::pin(self.probe(endpoint))
    }
}
