//! What happens to a server and its connections.

/// Where a server is between serving and having stopped. They are in order.
///
/// ```
/// use stonework::base::ServerPhase;
///
/// // As an observer may ask of a server that is about to stop.
/// let takes_new_ones = |phase| phase < ServerPhase::Draining;
/// assert!(takes_new_ones(ServerPhase::LameDuck) && !takes_new_ones(ServerPhase::Stopped));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServerPhase {
    /// It takes connections and requests.
    Serving,
    /// It still does, and its readiness fails, so that whoever looks sends new ones elsewhere.
    LameDuck,
    /// It takes no more connections, and finishes what was begun.
    Draining,
    /// It is over. What was not finished was cut off.
    Stopped,
}

impl ServerPhase {
    #[cfg(feature = "server")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// Why a server closed a connection, or began to, of its own accord. See [`Event::ConnectionClosed`](super::Event::ConnectionClosed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Its address has as many connections as it may have.
    Crowded,
    /// Most of its requests were taken back as soon as they were made ("rapid reset", CVE-2023-44487).
    Flood,
    /// The TLS handshake did not end in time.
    Handshake,
    /// The head of a request did not end in time.
    Head,
    /// No request came.
    Idle,
    /// It has served as long as a connection may.
    Old,
    /// The client did not take what it had asked for.
    Stalled,
}

impl CloseReason {
    #[cfg(feature = "metrics")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Flood => "flood",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Old => "old",
            Self::Stalled => "stalled",
        }
    }
}
