//! Goes where a server says that the answer is.

mod error;
mod follow;
mod future;
mod reference;
mod service;
mod trail;

pub use self::error::{InvalidRedirect, TooManyRedirects};
pub(super) use self::service::Redirect;
pub use self::trail::Redirected;
