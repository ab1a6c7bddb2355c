use crate::base::BoxError;

/// Makes what a [`Pool`](super::Pool) keeps, and knows whether it is still good: a database session, a channel of a broker, an HTTP/1
/// connection.
///
/// ```
/// use std::io;
/// use stonework::pool::{Manage, Pool};
/// use tokio::net::TcpStream;
///
/// struct Lines;
///
/// impl Manage for Lines {
///     type Object = TcpStream;
///     type Error = io::Error;
///
///     async fn connect(&self) -> io::Result<TcpStream> {
///         TcpStream::connect("db.internal:4711").await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let pool = Pool::new(Lines);
/// assert_eq!(pool.stats().open(), 0); // nothing is connected before it is needed
/// # }
/// ```
///
/// A method that panics costs the object that it was called for, and nothing else: no place in the pool is lost.
#[diagnostic::on_unimplemented(
    message = "a pool does not know how to connect `{Self}`",
    note = "a pool is made from what connects, not from what is connected: a type with `impl stonework::pool::Manage`"
)]
pub trait Manage: Send + Sync + 'static {
    /// What is kept.
    type Object: Send + 'static;
    /// Why none could be made, or why one is no longer good.
    type Error: Into<BoxError> + Send;

    /// Make one. It runs in a task of the pool, so it goes on when the caller who needed it has gone, and it has the
    /// [limit](super::PoolSettings::connect_timeout) of the pool.
    fn connect(&self) -> impl Future<Output = Result<Self::Object, Self::Error>> + Send;

    /// Whether it can still be used, as far as a look at it tells; nothing may be sent. It is asked when it has been connected, each time
    /// before it is handed out and when it is put back. Default: yes.
    fn is_usable(&self, object: &Self::Object) -> bool {
        let _ = object;
        true
    }

    /// Whether it can still be used, for which something may be sent: asked before one is handed out that nobody has used
    /// [for a while](super::PoolSettings::check_after). What it says at once is heard where it is needed; the rest, as connecting, runs in a task
    /// of the pool, within the limit for that, and goes on when the caller has gone. One that says nothing does not take all of a caller's time: after half of it something else is tried in its
    /// place, and it is closed, or else 100 ms after it was asked. Two in a row that fail are taken for a sign: all that lie idle are closed.
    /// Default: yes.
    fn check(&self, object: &mut Self::Object) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = object;
        async { Ok(()) }
    }

    /// Whether one that was dropped, and not [put back](super::Pooled::put_back), is as good as one that was. Its user may have been in
    /// the middle of something: of a query whose rows are still on their way, of a transaction. Default: no, it is closed.
    fn is_clean(&self, object: &mut Self::Object) -> bool {
        let _ = object;
        false
    }
}
