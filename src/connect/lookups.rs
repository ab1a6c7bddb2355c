//! Lookups that belong to all who wait for them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::ConnectError;
use super::error::ResolverSaid;
use super::names::{Answer, Failed, Look, NAMES, Names};
use super::resolve::AnyResolve;
use crate::base::{Error, Kind, Rng};

/// When a lookup is given up, so that the name can be asked for again.
const LIMIT: Duration = Duration::from_secs(30);
/// How long those who have addresses that ran out wait for better ones (RFC 8767, section 5: the client response timer).
const PATIENCE: Duration = Duration::from_millis(1800);

/// A resolver and what it said. One lookup of a name is under way at a time, in a task of its own: whoever gives up waiting for it takes
/// it away from nobody.
pub(super) struct Lookups {
    shared: Arc<Shared>,
    rng: Rng,
}

struct Shared {
    resolver: Arc<dyn AnyResolve>,
    names: Mutex<Names<Waiting>>,
}

type Waiting = watch::Receiver<Option<Answer>>;

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn AnyResolve>, rng: Rng) -> Self {
        Self { shared: Arc::new(Shared { resolver, names: Mutex::new(Names::new(NAMES)) }), rng }
    }

    /// The addresses of a name, and whose turn it is among them.
    pub(super) async fn find(&self, host: &str) -> Result<(Arc<[IpAddr]>, u64), ConnectError> {
        loop {
            let mut sender = None;
            let begin = || {
                let (made, receiver) = watch::channel(None);
                sender = Some(made);
                receiver
            };
            let look = self.shared.names().look(host, Instant::now(), || self.rng.next_u64(), begin);
            let (mut on, stale, turn, is_mine) = match look {
                Look::Known { answer, turn } => return told(host, answer, turn),
                Look::Wait { on, stale, turn } => (on, stale, turn, false),
                Look::Ask { lookup, on, stale, turn } => {
                    if let Some(sender) = sender {
                        let shared = Arc::clone(&self.shared);
                        tokio::spawn(Lookup { shared, host: host.into(), number: lookup, sender }.run());
                    }
                    (on, stale, turn, true)
                }
            };
            let patience = if stale.is_some() { PATIENCE } else { LIMIT + PATIENCE };
            match (timeout(patience, on.wait_for(Option::is_some)).await, stale) {
                (Ok(Ok(answer)), _) => {
                    let answer = answer.clone().expect("that there is one was waited for");
                    return told(host, answer, turn);
                }
                (_, Some(stale)) => return Ok((stale, turn)),
                // The runtime that it ran on has ended, or the resolver has panicked. Whoever only waited asks for themselves.
                _ if is_mine => return told(host, Err(Failed::Said(said("the lookup was given up"))), turn),
                _ => {}
            }
        }
    }

    /// None of the addresses of this name could be reached.
    pub(super) fn doubt(&self, host: &str) {
        self.shared.names().doubt(host, Instant::now());
    }
}

fn told(host: &str, answer: Answer, turn: u64) -> Result<(Arc<[IpAddr]>, u64), ConnectError> {
    match answer {
        Ok(addresses) => Ok((addresses, turn)),
        Err(Failed::Empty) => Err(ConnectError::NoAddress { host: host.into() }),
        Err(Failed::Said(source)) => Err(ConnectError::NotResolved { host: host.into(), source }),
    }
}

fn said(what: &'static str) -> ResolverSaid {
    ResolverSaid(Arc::new(Error::new(Kind::Connect, what)))
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, Names<Waiting>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lookup. However it ends, the name can be asked for again.
struct Lookup {
    shared: Arc<Shared>,
    host: Box<str>,
    number: u64,
    sender: watch::Sender<Option<Answer>>,
}

impl Lookup {
    async fn run(self) {
        let found = match timeout(LIMIT, self.shared.resolver.ask(&self.host)).await {
            Ok(found) => found.map_err(|error| ResolverSaid(Arc::new(error))),
            Err(_) => Err(said("there was no answer")),
        };
        let answer = self.shared.names().ended(&self.host, self.number, found, Instant::now());
        self.sender.send_replace(Some(answer));
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.shared.names().given_up(&self.host, self.number);
    }
}
