//! A layer of one's own: it signs each request, for which it has to ask somebody first. So it calls the service inside later than it was
//! called itself, which is where such layers go wrong.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request};
use stonework::base::BoxError;
use stonework::testing::Breach;
use tokio::time::sleep;
use tower::{Layer, Service};

use crate::examine::{Wrong, examine};
use crate::kit::Verdict;
use crate::wrong::{CallsClone, ForgetsReady, NeverAsks};

/// What to write into a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignLayer;

impl<S> Layer<S> for SignLayer {
    type Service = Sign<S>;

    fn layer(&self, inner: S) -> Sign<S> {
        Sign { inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Sign<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Sign<S>
where
    S: Service<Request<B>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes with the call; a clone, which is not, stays for the next.
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        Box::pin(async move { ready.call(signed(request).await).await })
    }
}

/// Somebody else has the key, and takes a moment.
pub(crate) async fn signed<B>(mut request: Request<B>) -> Request<B> {
    sleep(Duration::from_millis(5)).await;
    request.headers_mut().insert("x-signature", HeaderValue::from_static("by the keeper of the keys"));
    request
}

// ───────────────────────────────────────────────────────────────────────────── what comes of it

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    println!(
        "\nA layer: four ways to write it, over a service that is always ready, and then over `Strict`\n"
    );
    let rows = [
        ("Sign", examine(|inner| SignLayer.layer(inner)).await?),
        ("CallsClone", examine(CallsClone).await?),
        ("NeverAsks", examine(NeverAsks).await?),
        ("ForgetsReady", examine(ForgetsReady).await?),
    ];
    for (name, found) in &rows {
        println!("  {name}: {found}");
    }
    println!();
    let [right, clone, never, forgets] = rows.map(|(_, found)| found);
    verdict.claim(
        [&right, &clone, &never, &forgets].iter().all(|found| found.works),
        "over a service that is always ready, all four work",
    );
    verdict.claim(right.wrong.is_none(), "over `Strict` the right one does, whatever its callers do");
    verdict.claim(
        clone.wrong == Some(Wrong::Broke(Breach::CalledClone)),
        "the one that calls a clone is caught, and told what to do instead",
    );
    verdict.claim(
        never.wrong == Some(Wrong::Broke(Breach::CalledUnasked)),
        "so is the one that says that it is ready, and has not asked",
    );
    verdict.claim(
        forgets.wrong == Some(Wrong::Waits),
        "and the one that keeps a place and waits for another: where there is one, it waits for itself",
    );
    Ok(())
}
