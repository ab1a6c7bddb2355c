//! recloser. It does not tell its state: what it does with the next calls does.

use std::time::Duration;

use tokio::time::sleep;
use tower::timeout::Timeout;

use super::kit::{Ask, Backend, Ended, call};
use super::scenes;
use crate::flaws::{Found, block_on};
use crate::rows::Broken;
use crate::wrapped::Recloser;

const OPEN_TIME: Duration = Duration::from_millis(20);

fn breaker(closed: usize, half_open: usize) -> recloser::Recloser {
    let settings = recloser::Recloser::custom().error_rate(0.5).open_wait(OPEN_TIME);
    settings.closed_len(closed).half_open_len(half_open).build()
}

pub(super) fn flood() -> Found {
    block_on(async {
        let backend = Backend::default();
        let service = Recloser::new(backend.clone(), breaker(10, 2));
        let reached = scenes::flood(&service, &backend, OPEN_TIME).await;
        Found::new(reached == 1_000, reached.to_string())
    })
}

pub(super) fn hang() -> Found {
    block_on(async {
        let backend = Backend::default();
        let reached = scenes::hung(&Recloser::new(backend.clone(), breaker(10, 2)), &backend).await;
        // The control: where the time limit is inside, and once open it stays so.
        let settings = recloser::Recloser::custom().error_rate(0.5).closed_len(10);
        let (backend, breaker) = (Backend::default(), settings.open_wait(Duration::from_secs(30)).build());
        let limited = Timeout::new(backend.clone(), scenes::LIMIT);
        let inside = scenes::hung(&Recloser::new(limited, breaker), &backend).await;
        // It takes an eleventh failure, and ten calls are on their way at a time.
        Found::new(reached == 300 && inside <= 20, format!("{reached} (limit inside: {inside})"))
    })
}

pub(super) fn stale() -> Found {
    block_on(async {
        let mut found = Vec::new();
        for end in [Err(Broken), Ok(())] {
            let backend = Backend::default();
            let service = Recloser::new(backend.clone(), breaker(10, 1));
            let probe = scenes::stale(&service, &backend, 2, OPEN_TIME, end).await;
            // Open: none. Half-open: two, with the length of one. Closed: eleven, with the length of ten.
            found.push(scenes::failures_until_open(&service, 100).await);
            assert!(!probe.is_finished(), "the probe waits");
            probe.abort();
        }
        Found::new(
            found == [Some(0), Some(11)],
            format!(
                "they fail: open, {} failures let through; they succeed: closed, opens after {}; the probe has not ended",
                scenes::listed(&found[..1]),
                scenes::listed(&found[1..])
            ),
        )
    })
}

pub(super) fn length() -> Found {
    block_on(async {
        let service = Recloser::new(Backend::default(), breaker(100, 2));
        let closed = scenes::failures_until_open(&service, 1_000).await;
        sleep(OPEN_TIME + Duration::from_millis(5)).await;
        let half_open = scenes::failures_until_open(&service, 1_000).await;
        let refused = call(&service, Ask::Fail).await == Ended::Refused;
        Found::new(
            closed == Some(101) && half_open == Some(3) && refused,
            format!("{}, {}", scenes::listed(&[closed]), scenes::listed(&[half_open])),
        )
    })
}

pub(super) fn old() -> Found {
    block_on(async {
        let settings = recloser::Recloser::custom().error_rate(0.5).closed_len(10);
        let breaker = settings.open_wait(Duration::from_secs(30)).build();
        let ended = scenes::long_ago(&Recloser::new(Backend::default(), breaker)).await;
        Found::new(ended == Ended::Refused, format!("{ended:?}"))
    })
}
