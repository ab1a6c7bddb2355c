//! Callers who ask again and again.

use std::time::Duration;

use http::Request;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceExt};

pub(super) const SLOW: Duration = Duration::from_millis(150);

/// Ten callers, each with one call after the other, for three seconds: how many are answered.
pub(super) async fn callers<S>(service: S) -> usize
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    let (start, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..10 {
        let service = service.clone();
        callers.spawn(async move {
            let mut answered = 0;
            while start.elapsed() < 20 * SLOW {
                let call = service.clone().oneshot(Request::new(()));
                let rest = (20 * SLOW).saturating_sub(start.elapsed());
                answered += usize::from(matches!(timeout(rest, call).await, Ok(Ok(_))));
                // Who is refused at once asks again, and not without end.
                yield_now().await;
            }
            answered
        });
    }
    callers.join_all().await.into_iter().sum()
}
