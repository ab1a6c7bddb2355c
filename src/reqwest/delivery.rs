//! Decides from reqwest's errors what went wrong and how far the request got, and what of them may be shown. Nothing
//! here waits, locks or reads a clock; and nothing looks at a message.

use std::error::Error as StdError;

use hyper_util::client::legacy;

use crate::base::{BoxError, Delivery, Kind};
use crate::exchange::Facts;

/// What a client makes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchanges {
    /// One exchange: its error speaks of this request.
    One,
    /// Several, if it follows redirects: its error speaks of the last one.
    Several,
}

pub(super) fn judge(error: &::reqwest::Error, exchanges: Exchanges) -> (Kind, Delivery) {
    // Only the direct source is of this exchange. What lies deeper may come from another one, so that reqwest's own
    // `is_connect`, which looks at the whole chain, proves nothing.
    let exchange = error.source().and_then(|source| source.downcast_ref::<legacy::Error>());
    let (kind, delivery) = match exchange {
        Some(exchange) => Facts::of(exchange).judge(),
        // Reqwest checks the target of a redirect too, after the request has been answered.
        None if error.is_builder() => (Kind::Invalid, Delivery::Unknown),
        None if error.is_timeout() => (Kind::Timeout, Delivery::Unknown),
        None => (Kind::Other, Delivery::Unknown),
    };
    match exchanges {
        Exchanges::One => (kind, delivery),
        Exchanges::Several => (kind, Delivery::Unknown),
    }
}

/// `error`, or a word in its place if something in its chain carries a URL that cannot be taken off.
pub(super) fn shown(error: ::reqwest::Error) -> BoxError {
    let error = error.without_url();
    let mut next = error.source();
    while let Some(inner) = next {
        if inner.downcast_ref::<::reqwest::Error>().is_some_and(|inner| inner.url().is_some()) {
            return Unshown.into();
        }
        next = inner.source();
    }
    error.into()
}

#[derive(Debug, thiserror::Error)]
#[error("reqwest failed; its error carries a URL and is not shown")]
struct Unshown;
