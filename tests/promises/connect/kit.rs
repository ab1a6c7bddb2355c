//! Resolvers and peers that do what a test says.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use stonework::Error;
use stonework::base::{Delivery, Kind};
use stonework::connect::{
    Connect, ConnectError, Connector, Dialed, Offer, Progress, Resolve, Resolved, Target, connect_fn,
};
use tokio::io::DuplexStream;

/// The same addresses for every name.
pub(crate) struct Fixed(pub(crate) Vec<IpAddr>);

impl Resolve for Fixed {
    async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
        Ok(Resolved::new(self.0.clone()))
    }
}

/// Pipes in place of TCP: the other ends, and where they were asked to lead.
#[derive(Clone, Default)]
pub(crate) struct Pipes {
    ends: Arc<Mutex<VecDeque<DuplexStream>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Pipes {
    /// What makes them.
    pub(crate) fn transport(&self) -> impl Connect {
        let pipes = self.clone();
        connect_fn(move |to: Target| {
            pipes.asked.lock().unwrap().push(to.to_string());
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            pipes.ends.lock().unwrap().push_back(theirs);
            async move { io::Result::Ok(ours) }
        })
    }

    /// The other end of the oldest that nobody has taken.
    pub(crate) fn take(&self) -> DuplexStream {
        self.ends.lock().unwrap().pop_front().expect("a pipe was made")
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Dial, in a task of its own as a client does.
pub(crate) async fn dial(connector: &Connector, to: &Target, offer: Offer) -> Result<Dialed, Error> {
    let (connector, to) = (connector.clone(), to.clone());
    tokio::spawn(async move { connector.dial(&to, offer, &Progress::default()).await }).await.unwrap()
}

/// What every failure has in common, and why it failed.
pub(crate) fn why(error: &Error) -> &ConnectError {
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent), "{error:#}");
    error.cause().expect("it says what was being done")
}
