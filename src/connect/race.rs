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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::time::sleep;

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    /// What becomes of the attempt at each port: so many milliseconds, then a connection or none.
    #[derive(Clone, Default)]
    struct Script {
        began: Rc<RefCell<Vec<(u16, u128)>>>,
        open: Rc<Cell<usize>>,
    }

    /// An attempt that is open until it is dropped.
    struct Open(Rc<Cell<usize>>);

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    async fn run(script: &Script, attempts: &[(u64, bool)]) -> Result<u16, Vec<u16>> {
        let begin = Instant::now();
        let addresses: Vec<_> =
            (0..attempts.len()).map(|at| SocketAddr::from(([127, 0, 0, 1], at as u16))).collect();
        let won = race(&addresses, DELAY, |address| {
            let (took, connects) = attempts[usize::from(address.port())];
            script.began.borrow_mut().push((address.port(), begin.elapsed().as_millis()));
            script.open.set(script.open.get() + 1);
            let open = Open(Rc::clone(&script.open));
            async move {
                let _open = open;
                sleep(Duration::from_millis(took)).await;
                if connects { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
            }
        });
        let won = won.await;
        assert_eq!(script.open.get(), 0, "nothing is left open");
        won.map(|(address, ())| address.port())
            .map_err(|failed| failed.iter().map(|(a, _)| a.port()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_begins_after_the_delay_or_at_once_when_one_fails_and_the_first_to_connect_wins() {
        const NEVER: (u64, bool) = (1_000_000, true);
        for (attempts, expected, began, took) in [
            (&[(10, true), NEVER][..], Ok(0), &[(0, 0)][..], 10),
            (&[NEVER, (10, true), NEVER], Ok(1), &[(0, 0), (1, 250)], 260),
            (&[NEVER, NEVER, (0, true)], Ok(2), &[(0, 0), (1, 250), (2, 500)], 500),
            (&[(400, true), (200, true)], Ok(0), &[(0, 0), (1, 250)], 400),
            (&[(10, false), (10, false), (10, true)], Ok(2), &[(0, 0), (1, 10), (2, 20)], 30),
            (&[NEVER, (10, false), (10, true)], Ok(2), &[(0, 0), (1, 250), (2, 260)], 270),
            // After a failure the delay begins anew.
            (&[(240, false), NEVER, (10, true)], Ok(2), &[(0, 0), (1, 240), (2, 490)], 500),
            (
                &[(10, false), (300, false), (10, false)],
                Err(vec![0, 2, 1]),
                &[(0, 0), (1, 10), (2, 260)],
                310,
            ),
            (&[], Err(vec![]), &[], 0),
        ] {
            let (script, begin) = (Script::default(), Instant::now());
            assert_eq!(run(&script, attempts).await, expected, "{attempts:?}");
            assert_eq!(*script.began.borrow(), began, "{attempts:?}");
            assert_eq!(begin.elapsed().as_millis(), took, "{attempts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_that_is_given_up_leaves_nothing_open() {
        let script = Script::default();
        let attempts = [(10_000, true); 5];
        let given_up = tokio::time::timeout(Duration::from_millis(900), run(&script, &attempts)).await;
        assert!(given_up.is_err());
        assert_eq!((script.began.borrow().len(), script.open.get()), (4, 0));
    }
}
