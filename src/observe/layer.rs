use tower_layer::Layer;

use super::Spanned;
use super::attributes::About;

/// Opens a span for each call, or for each attempt. See the [module](super).
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct SpanLayer {
    about: Option<About>,
}

impl SpanLayer {
    /// One span, `call`, for the whole call: put it outside of `retry`.
    pub const fn call() -> Self {
        Self { about: Some(About::Call) }
    }

    /// One span, `attempt`, for each attempt: put it inside of `retry`.
    pub const fn attempt() -> Self {
        Self { about: Some(About::Attempt) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub const fn when(self, on: bool) -> Self {
        if on { self } else { Self { about: None } }
    }
}

impl<S> Layer<S> for SpanLayer {
    type Service = Spanned<S>;

    fn layer(&self, inner: S) -> Spanned<S> {
        Spanned::with(inner, self.about)
    }
}
