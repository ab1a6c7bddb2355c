use std::time::Duration;

use super::deadline::Phase;

/// How long the steps of a dial took; one that was not taken has none. A step that is under way counts until now.
///
/// ```
/// use stonework::base::{Event, Observer};
///
/// struct Names;
/// impl Observer for Names {
///     fn observe(&self, event: &Event) {
///         if let Event::ConnectionOpened { host, timings, .. } = event {
///             println!("{host}: {:?} to resolve, {:?} to connect", timings.resolve, timings.connect);
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// The addresses of the host, or of the proxy.
    pub resolve: Option<Duration>,
    /// The connection of TCP, or of what stands in its place.
    pub connect: Option<Duration>,
    /// What was said to a proxy before it was a tunnel.
    pub proxy: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// The first settings of an HTTP/2 peer.
    pub preface: Option<Duration>,
}

impl Timings {
    pub(crate) fn add(&mut self, step: Phase, took: Duration) {
        let slot = match step {
            Phase::Resolve => &mut self.resolve,
            Phase::Connect => &mut self.connect,
            Phase::Proxy => &mut self.proxy,
            Phase::Tls => &mut self.tls,
            Phase::Preface => &mut self.preface,
            _ => return,
        };
        // A proxy may be spoken to over TLS, and the host behind it again.
        *slot = Some(slot.unwrap_or_default().saturating_add(took));
    }
}
