use std::sync::Arc;

use tower_layer::Layer;

use super::{BearerService, InvalidOauth, TokenSource};
use crate::base::Origin;

/// Sends requests with a token: `Authorization: Bearer …` (RFC 6750, section 2.1). See the [module](super), where an example stands.
///
/// Only those that go to one of its origins; others, also those that a server redirects elsewhere, pass without one. So do requests that have
/// an `Authorization` already, and those whose URI does not say where they go. A request that is answered with 401 is sent once more with a
/// token that is new, if its body can be sent twice and such a token can be had; otherwise the 401 is the answer.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BearerLayer {
    pub(super) terms: Terms,
}

/// What a layer and its services know.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Nothing, if the layer is switched off.
    pub(super) source: Option<TokenSource>,
    pub(super) origins: Arc<[Origin]>,
    /// How much of a body is kept. Nothing, if no request is sent again.
    pub(super) replay_cap: Option<usize>,
}

/// As for retry: layers that keep the same body keep it once.
const REPLAY_CAP: usize = 64 * 1024;

impl BearerLayer {
    /// Tokens of this source, for these origins: a scheme, a host and, if it is not the usual one, a port. Over anything but `https` the
    /// token can be read on the way (RFC 6750, section 5.3).
    ///
    /// ```
    /// # use stonework::base::{ClientAuth, body::Body};
    /// # use stonework::oauth::{BearerLayer, InvalidOauth, TokenSource};
    /// # fn layer(source: TokenSource) -> Result<(), InvalidOauth> {
    /// let layer = BearerLayer::new(source.clone(), ["https://api.example", "https://files.example:8443"])?;
    /// # let _ = layer;
    /// assert!(BearerLayer::new(source, ["api.example"]).is_err(), "of which scheme?");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidOauth`], if there is no origin, or one is none.
    pub fn new(
        source: TokenSource,
        origins: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidOauth> {
        let parse = |text: &str| Origin::parse(text).ok_or(InvalidOauth::Address { field: "origins" });
        let origins =
            origins.into_iter().map(|text| parse(text.as_ref())).collect::<Result<Arc<[_]>, _>>()?;
        if origins.is_empty() {
            return Err(InvalidOauth::Empty { field: "origins" });
        }
        Ok(Self { terms: Terms { source: Some(source), origins, replay_cap: Some(REPLAY_CAP) } })
    }

    /// How many bytes of a request body to keep so that it can be sent again. A request with more is sent once. Default: 64 KiB.
    pub const fn replay_cap(mut self, bytes: usize) -> Self {
        self.terms.replay_cap = Some(bytes);
        self
    }

    /// Send each request once: a 401 is the answer, and no token is asked for because of it. Requests are then not copied.
    pub const fn without_replay(mut self) -> Self {
        self.terms.replay_cap = None;
        self
    }

    /// With `false`, switch the layer off; its type stays the same. Requests then go without a token.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.terms.source = None;
        }
        self
    }
}

#[cfg(feature = "client")]
impl BearerLayer {
    pub(crate) const fn is_on(&self) -> bool {
        self.terms.source.is_some()
    }

    /// For which origins, in words.
    pub(crate) fn origins(&self) -> String {
        self.terms.origins.iter().map(Origin::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService::with(inner, self.terms.clone())
    }
}
