use http::StatusCode;

/// What was fetched, and is no keys. It stands at the end of the chain of what an observer may log; no token is refused with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotKeys {
    #[error("the issuer says that its keys are at an address that may not be used")]
    Address,
    #[error("it is no discovery document")]
    Document,
    #[error("it has no key that can be used")]
    Empty,
    #[error("the document is that of another issuer")]
    OtherIssuer,
    #[error("fetching it has panicked")]
    Panicked,
    #[error("it is no set of keys")]
    Set,
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("nothing came within the time for it")]
    TimedOut,
}
