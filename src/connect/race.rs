//! The attempts to connect, one after the other and side by side (RFC 8305, section 5).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::Alarm;

/// An attempt under way.
type Attempt<F> = (SocketAddr, Pin<Box<F>>);

/// Failures, in the order in which they came.
pub(super) type Failures = Vec<(SocketAddr, io::Error)>;

/// The first connection that is made to one of these addresses. The next one is tried `delay` after the one before, or at once when one
/// fails. When it is over, every other attempt has been dropped.
pub(super) async fn race<F, T>(
    addresses: &[SocketAddr],
    delay: Duration,
    mut dial: impl FnMut(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Failures>
where
    F: Future<Output = io::Result<T>>,
{
    let mut left = addresses.iter();
    let mut under_way: Vec<Attempt<F>> = Vec::new();
    let mut failed = Failures::new();
    loop {
        if let Some(address) = left.next() {
            under_way.push((*address, Box::pin(dial(*address))));
        } else if under_way.is_empty() {
            return Err(failed);
        }
        let next_at = (!left.as_slice().is_empty()).then(|| Instant::now() + delay);
        let mut alarm = pin!(Alarm::new());
        let won = poll_fn(|cx| match look(&mut under_way, &mut failed, cx) {
            Poll::Pending => match next_at {
                Some(at) => alarm.as_mut().poll_until(cx, at).map(|()| None),
                None => Poll::Pending,
            },
            ready => ready,
        });
        if let Some(won) = won.await {
            return Ok(won);
        }
    }
}

/// Ready when one has connected, and with nothing when one has failed.
fn look<F, T>(
    under_way: &mut Vec<Attempt<F>>,
    failed: &mut Failures,
    cx: &mut Context<'_>,
) -> Poll<Option<(SocketAddr, T)>>
where
    F: Future<Output = io::Result<T>>,
{
    let before = failed.len();
    let mut won = None;
    under_way.retain_mut(|(address, attempt)| match &won {
        Some(_) => true,
        None => match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(made)) => {
                won = Some((*address, made));
                false
            }
            Poll::Ready(Err(error)) => {
                failed.push((*address, error));
                false
            }
        },
    });
    if won.is_some() || failed.len() > before { Poll::Ready(won) } else { Poll::Pending }
}
