/// Why there is no token.
///
/// ```
/// use stonework::jwt::{Issuer, NotSigned};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::jwt::InvalidJwt> {
/// let issuer = Issuer::builder("https://id.example").build()?;
/// assert_eq!(issuer.sign(&"no claims").unwrap_err(), NotSigned::NotAnObject);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSigned {
    /// The backend cannot sign with the key.
    #[error("the backend cannot sign with the key")]
    Backend,
    /// The claims are no JSON object.
    #[error("the claims are no JSON object")]
    NotAnObject,
    /// The issuer says this of each token itself.
    #[error("`{claim}` is said by the issuer")]
    #[non_exhaustive]
    Reserved {
        /// The name of the claim.
        claim: &'static str,
    },
    /// It would be good for longer than the key is published, or for less than a second.
    #[error("no token is good for so long")]
    Lifetime,
}
