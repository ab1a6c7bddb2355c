use std::sync::Weak;

use tokio::sync::watch;

use super::Member;
use super::core::Core;
use crate::base::{BoxError, Error, Event};

/// Says which endpoints there are, and again whenever that changes: a registry, a file that is watched, a resolver.
///
/// ```
/// use stonework::balance::{Discover, Member};
/// use stonework::base::BoxError;
///
/// /// Reads a list of addresses from a file, every minute.
/// struct File(std::path::PathBuf);
///
/// impl Discover for File {
///     async fn next(&mut self) -> Option<Result<Vec<Member>, BoxError>> {
///         tokio::time::sleep(std::time::Duration::from_secs(60)).await;
///         let read = tokio::fs::read_to_string(&self.0).await;
///         Some(read.map(|text| text.lines().map(Member::from).collect()).map_err(Into::into))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not discover endpoints",
    note = "`stonework::balance::watch()` makes one from lists that you send"
)]
pub trait Discover: Send + 'static {
    /// The next list, as a whole, when there is one; `None` when there will never be another.
    ///
    /// An error, and a list with nothing in it, change nothing: the last good list stays in use, and an observer is told
    /// ([`DiscoveryFailed`](crate::base::Event::DiscoveryFailed)). It is asked again at once, so it has to wait by itself before it tries
    /// again. It is asked in a task of the balancer's, and dropped with it.
    fn next(&mut self) -> impl Future<Output = Option<Result<Vec<Member>, BoxError>>> + Send;
}

/// Hears of lists until there are no more.
pub(super) async fn discover<S: Clone + Send + Sync + 'static>(
    core: Weak<Core<S>>,
    mut discovery: impl Discover,
) {
    while let Some(list) = discovery.next().await {
        let Some(core) = core.upgrade() else { return };
        let error = match list {
            Ok(members) if !members.is_empty() => {
                core.set(members);
                continue;
            }
            Ok(_) => BoxError::from("a list with nothing in it"),
            Err(error) => error,
        };
        let kind = Error::wrap(error).kind();
        core.observe().note(|| Event::DiscoveryFailed { balancer: core.name.clone(), kind });
    }
}

/// A list that you send whenever it changes, and its other end, for a [balancer](super::BalancerBuilder::discover).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use stonework::balance::{Balancer, watch};
///
/// let (sender, members) = watch();
/// let balancer = Balancer::builder(|id| id.to_string()).discover(members).build().unwrap();
/// sender.send(["10.0.0.1:80".into(), "10.0.0.2:80".into()]);
/// # tokio::task::yield_now().await;
/// # assert_eq!(balancer.stats().endpoints().len(), 2);
/// # }
/// ```
#[must_use]
pub fn watch() -> (MemberSender, MemberWatch) {
    let (sender, receiver) = watch::channel(None);
    (MemberSender(sender), MemberWatch(receiver))
}

/// Sends lists of endpoints. See [`watch()`].
#[derive(Clone, Debug)]
pub struct MemberSender(watch::Sender<Option<Vec<Member>>>);

impl MemberSender {
    /// These are the endpoints from now on. Whoever is slow to hear of it hears of the last list alone. With nothing in it, the list
    /// is not believed: the last good one stays in use.
    pub fn send(&self, members: impl IntoIterator<Item = Member>) {
        self.0.send_replace(Some(members.into_iter().collect()));
    }
}

/// Hears of lists of endpoints. See [`watch()`].
#[derive(Clone, Debug)]
pub struct MemberWatch(watch::Receiver<Option<Vec<Member>>>);

impl Discover for MemberWatch {
    async fn next(&mut self) -> Option<Result<Vec<Member>, BoxError>> {
        loop {
            self.0.changed().await.ok()?;
            if let Some(members) = self.0.borrow_and_update().clone() {
                return Some(Ok(members));
            }
        }
    }
}
