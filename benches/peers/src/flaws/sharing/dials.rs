//! A host that cannot be connected to, and callers who want it all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use stonework::pool::{Pool, PoolSettings};
use tokio::time::{sleep, timeout};
use tower::reconnect::Reconnect;
use tower::{Service, ServiceExt, service_fn};

use super::kit::{Backend, request};
use crate::flaws::{Found, block_on_paused};
use crate::pool::kit::{Broken as CannotBeMade, By, Things};
use crate::rows::Broken;

pub(super) fn theirs() -> Found {
    block_on_paused(async {
        let tried = Tried::default();
        let counts = tried.clone();
        let connect = service_fn(move |(): ()| {
            counts.count();
            std::future::ready(Err::<Backend, _>(Broken))
        });
        let mut service = Reconnect::new(connect, ());
        for _ in 0..CALLS {
            let call = async { service.ready().await?.call(request(Method::GET)).await };
            assert!(!matches!(timeout(EACH, call).await, Ok(Ok(_))), "it cannot be connected to");
            sleep(EACH).await;
        }
        Found::new(tried.so_often() == CALLS, tried.so_often().to_string())
    })
}

pub(super) fn ours() -> Found {
    block_on_paused(async {
        let tried = Tried::default();
        let pool =
            Pool::builder(By(tried.clone())).settings(PoolSettings::new()).build().expect("the defaults");
        for _ in 0..CALLS {
            assert!(!matches!(timeout(EACH, pool.get()).await, Ok(Ok(_))), "it cannot be connected to");
            sleep(EACH).await;
        }
        Found::new(tried.so_often() <= 12, tried.so_often().to_string())
    })
}

const EACH: Duration = Duration::from_millis(10);
const CALLS: u32 = 100;

#[derive(Clone, Default)]
struct Tried(Arc<AtomicU32>);

impl Tried {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_often(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Things for Tried {
    async fn make(&self) -> Result<u32, CannotBeMade> {
        self.count();
        Err(CannotBeMade)
    }

    async fn ask(&self, _: u32) -> Result<(), CannotBeMade> {
        Ok(())
    }
}
