//! Connections that break, in hyper-util's new pool and in stonework's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use hyper_util::client::pool::cache;
use stonework::pool::{Manage, Pool};
use tower::{Service, ServiceExt, service_fn};

use crate::flaws::{Found, block_on};
use crate::rows::Broken;

/// Answers twice, and breaks with the third call. Whether it is ready does not say so.
struct Wire {
    calls: u32,
}

impl Service<()> for Wire {
    type Response = ();
    type Error = Broken;
    type Future = Ready<Result<(), Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.calls += 1;
        ready(if self.calls < 3 { Ok(()) } else { Err(Broken) })
    }
}

const CALLS: u32 = 20;

pub(super) fn theirs() -> Found {
    block_on(async {
        let connect = service_fn(|(): ()| ready(Ok::<_, Infallible>(Wire { calls: 0 })));
        let mut cache = cache::builder().build(connect);
        let mut answered = 0;
        for _ in 0..CALLS {
            let wire = cache.ready().await.expect("it does not fail").call(()).await;
            let mut wire = wire.expect("it can always be connected to");
            answered += u32::from(wire.ready().await.expect("it is always ready").call(()).await.is_ok());
        }
        Found::new(answered == 2, answered.to_string())
    })
}

struct Wires;

impl Manage for Wires {
    type Object = Wire;
    type Error = Infallible;

    async fn connect(&self) -> Result<Wire, Infallible> {
        Ok(Wire { calls: 0 })
    }
}

pub(super) fn ours() -> Found {
    block_on(async {
        let service = Pool::new(Wires).service().plain();
        let mut answered = 0;
        for _ in 0..CALLS {
            answered += u32::from(service.clone().oneshot(()).await.is_ok());
        }
        // Two of three.
        Found::new(answered == 14, answered.to_string())
    })
}
