use std::time::Duration;

use tower_layer::Layer;

use super::{AttemptTimeout, Timeout};
use crate::base::{Answer, Http, Plain, Problem};

macro_rules! layer {
    ($(#[$doc:meta])* $layer:ident => $service:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[must_use = "a layer does nothing until it wraps a service"]
        pub struct $layer<M = Http> {
            limit: Option<Duration>,
            mode: M,
        }

        impl $layer {
            /// Allow `limit`. There is no default: how long a call may take is the caller's to know.
            pub const fn new(limit: Duration) -> Self {
                Self { limit: Some(limit), mode: Http }
            }
        }

        impl<M> $layer<M> {
            /// Refuse with a response, a [`Problem`] with status 504, and leave the inner error type alone: for
            /// servers.
            pub fn answer(self) -> $layer<Answer<Problem>> {
                self.answer_with(Problem)
            }

            /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
            pub fn answer_with<R>(self, refuse: R) -> $layer<Answer<R>> {
                $layer { limit: self.limit, mode: Answer::with(refuse) }
            }

            /// Refuse with an error, whatever the type of the response.
            pub fn plain(self) -> $layer<Plain> {
                $layer { limit: self.limit, mode: Plain }
            }

            /// With `false`, switch the layer off; its type stays the same.
            pub fn when(mut self, on: bool) -> Self {
                if !on {
                    self.limit = None;
                }
                self
            }
        }

        impl<S, M: Clone> Layer<S> for $layer<M> {
            type Service = $service<S, M>;

            fn layer(&self, inner: S) -> Self::Service {
                $service::with(inner, self.limit, self.mode.clone())
            }
        }
    };
}

layer! {
    /// Limits the whole call: readiness, attempts and the pauses between them. See the [module](super).
    TimeoutLayer => Timeout
}

layer! {
    /// Limits one attempt, with the readiness it waits for. See the [module](super).
    AttemptTimeoutLayer => AttemptTimeout
}
