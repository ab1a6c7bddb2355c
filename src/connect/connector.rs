use std::fmt;
use std::sync::Arc;

use super::transport::AnyConnect;
use super::tunnel::tunnel;
use super::{ConnectError, ConnectorBuilder, Dialed, Forward, Offer, Progress, Proxy, Stream, Target};
use crate::base::{Delivery, Error, Phase};

/// The whole way to a host: its addresses, TCP, a proxy, TLS. A cheap handle: clones share all that is remembered.
///
/// ```no_run
/// # async fn run() -> Result<(), stonework::Error> {
/// use stonework::connect::{Connector, Offer, Progress, Target};
///
/// let target = Target::new("example.com", 80, false);
/// let dialed = Connector::new().dial(&target, Offer::Http1, &Progress::default()).await?;
/// # let _ = dialed;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Connector {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) transport: Arc<dyn AnyConnect>,
    pub(super) proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    pub(super) tls: super::tls::Handshakes,
}

impl Connector {
    /// With what a [builder](Self::builder) begins with.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults fit together")
    }

    /// With something else: see [`ConnectorBuilder`].
    pub fn builder() -> ConnectorBuilder {
        ConnectorBuilder::new()
    }

    /// Go there. It has no limit of time of its own: whoever waits for it has one for all of it. Dropping it closes what was opened.
    ///
    /// # Errors
    ///
    /// Of the kind [`Connect`](crate::base::Kind::Connect), not sent; [`ConnectError`] in its chain names what was being done, and
    /// where. Trying again is [in vain](Error::forbids_retry) where one end does not trust the other's certificate.
    pub async fn dial(&self, to: &Target, offer: Offer, progress: &Progress) -> Result<Dialed, Error> {
        self.dial_at(to, None, offer, progress).await
    }

    /// The same, with what answers for `to` found at this place, whatever is known of where it is.
    pub(crate) async fn dial_at(
        &self,
        to: &Target,
        at: Option<&Target>,
        offer: Offer,
        progress: &Progress,
    ) -> Result<Dialed, Error> {
        let place = at.unwrap_or(to);
        let proxy = self.inner.proxy.as_ref();
        // Whoever says that there is none for the one or the other means it.
        let proxy = proxy.and_then(|proxy| proxy.for_target(to).and(proxy.for_target(place)));
        let first = proxy.map_or(place, |proxy| &proxy.target);
        #[cfg(not(feature = "tls"))]
        if let Some(target) = [first, to].into_iter().find(|target| target.is_tls()) {
            return Err(ConnectError::NoTls { target: target.clone() }.into());
        }
        progress.begin(Phase::Connect);
        let dialed = self.inner.transport.dial(first, progress).await;
        // Whatever it says: no request was sent.
        let mut io = dialed.map_err(|error| error.with_delivery(Delivery::NotSent))?;
        let (mut protocol, mut forwards) = (None, None);
        if let Some(proxy) = proxy {
            if proxy.target.is_tls() {
                (io, _) = self.encrypt(&proxy.target, Offer::Http1, io, progress).await?;
            }
            // A proxy that passes requests on looks for their host itself.
            // Without TLS only who speaks nothing else offers HTTP/2, and one that passes requests on speaks HTTP/1.1.
            if to.is_tls() || at.is_some() || offer == Offer::Http2 {
                progress.begin(Phase::Proxy);
                io = tunnel(proxy, place, io).await?;
            } else {
                forwards = Some(Forward { authorization: proxy.authorization.clone() });
            }
        }
        if to.is_tls() {
            (io, protocol) = self.encrypt(to, offer, io, progress).await?;
        }
        progress.end();
        Ok(Dialed { io, protocol, forwards })
    }

    #[cfg(feature = "tls")]
    async fn encrypt(
        &self,
        to: &Target,
        offer: Offer,
        io: Stream,
        progress: &Progress,
    ) -> Result<(Stream, Option<super::Alpn>), ConnectError> {
        progress.begin(Phase::Tls);
        let (stream, protocol) = self.inner.tls.with(to, offer, io).await?;
        Ok((Stream::new(stream), protocol))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn encrypt(
        &self,
        to: &Target,
        _: Offer,
        _: Stream,
        _: &Progress,
    ) -> Result<(Stream, Option<super::Alpn>), ConnectError> {
        Err(ConnectError::NoTls { target: to.clone() })
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
