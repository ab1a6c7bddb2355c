//! A client, a server, and a bad network between them, from the first call to when nothing is left of it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use stonework::base::Rng;
use stonework::idempotency::MemoryStore;
use stonework::testing::Recorder;
use stonework::testing::chaos::{Counts, Wire};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::asks::{CALM, Kind};
use super::callers::{Caller, Told};
use super::clock::{on_a_clock_of_its_own, quiet_after};
use super::shop::{self, Books};
use super::weather::Weather;

const SECOND: Duration = Duration::from_secs(1);
/// Callers, and calls of each.
const CALLERS: u64 = 8;
const CALLS: u64 = 8;

/// What came of a seed.
pub(super) struct Story {
    /// Everything that happened, with the time of each.
    pub(super) trace: Vec<String>,
    /// Which promises were broken.
    pub(super) broken: Vec<String>,
    /// What the network did, and how calls ended.
    pub(super) counts: Counts,
    pub(super) endings: BTreeMap<String, usize>,
}

/// What there is to be seen of a seed.
pub(super) fn play(seed: u64) -> Story {
    let (mut story, ended) = on_a_clock_of_its_own(async |parks| {
        let (start, books, recorder) = (Instant::now(), Books::new(seed), Recorder::new());
        let weather = Weather::of(seed);
        let storm = storm(&weather, &books, &recorder);
        let wire = timeout(24 * 3600 * SECOND, storm).await.ok();
        let tasks = Handle::current().metrics().num_alive_tasks();
        match &wire {
            None => books.broken("it is not over after a day"),
            Some(_) if tasks != 0 => books.broken(format_args!("{tasks} tasks are left")),
            Some(_) => {}
        }
        let mut trace = books.lines();
        let counts = wire.as_ref().map(Wire::counts).unwrap_or_default();
        if let Some(wire) = wire {
            trace.extend(wire.happenings().iter().map(ToString::to_string));
            trace.push(format!("the fingerprint of all bytes is {:016x}", wire.fingerprint()));
        }
        trace.extend(recorder.timeline().lines().map(str::to_owned));
        let over = start.elapsed();
        let parks = parks.within_an_hour().await;
        (Story { trace, broken: books.all_broken(), counts, endings: books.endings() }, (over, parks))
    });
    let (over, parks) = ended;
    let quiet = quiet_after(over);
    if parks != quiet {
        let what = format!("after {over:?} something was still waited for: {parks} instead of {quiet}");
        story.broken.push(what);
    }
    story
}

/// From the first call to the last.
async fn storm(weather: &Weather, books: &Books, recorder: &Recorder) -> Wire {
    let rng = Rng::seeded(weather.seed);
    let wire = Wire::new(weather.seed, weather.faults.clone());
    let (limiter, store) = (weather.limiter(&rng), MemoryStore::new());
    let serve = || {
        let server = weather.server(&wire, &rng, &limiter, &store);
        let (handle, seen) = (server.handle(), books.clone());
        let service = tower::service_fn(move |request| shop::serve(seen.clone(), request));
        (handle, tokio::spawn(server.serve(service)))
    };
    let mut servers = vec![serve()];
    let client = weather.client(&wire, &rng, recorder);
    let caller = Caller {
        client: client.clone(),
        books: books.clone(),
        deadline: weather.deadline,
        bodies_in_time: weather.bodies_in_time,
    };

    let callers = (0..CALLERS).map(|nth| tokio::spawn(caller.clone().asks(nth * CALLS..(nth + 1) * CALLS)));
    // Spawned before the wait, or they would begin after it.
    let callers: Vec<_> = callers.collect();
    if let Some(after) = weather.another {
        sleep(after).await;
        servers.push(serve());
        // What it has begun goes on for as long as its drain lasts.
        servers[0].0.shut_down();
    }
    match timeout(3600 * SECOND, join_all(callers)).await {
        Ok(ended) => ended.into_iter().for_each(|caller| caller.expect("callers do not panic")),
        Err(_) => books.broken("some callers still wait after an hour"),
    }

    // What has gone wrong until now is given up by then: silent connections, circuits that are open, what is stuck.
    wire.calm();
    sleep(150 * SECOND).await;
    let stats = client.connections();
    if (stats.waiting, stats.dialing, stats.open - stats.idle) != (0, 0, 0) {
        books.broken(format_args!("somebody still has a connection: {stats:?}"));
    }
    if (limiter.in_flight(), limiter.waiting_count(), books.at_work()) != (0, 0, 0) {
        books.broken(format_args!(
            "{} permits are out, {} handlers at work",
            limiter.in_flight(),
            books.at_work()
        ));
    }
    for id in CALM..CALM + 4 {
        let told = caller.call(&books.ask(id)).await;
        if told != Told::Done {
            books.broken(format_args!("{id} was told {told:?} although all is well"));
        }
    }
    for id in 0..CALLERS * CALLS {
        let (kind, done) = (books.ask(id).kind, books.effects(id));
        if matches!(kind, Kind::Bare | Kind::Keyed) && done > 1 {
            books.broken(format_args!("{kind:?} {id} was done {done} times"));
        }
    }

    drop((client, caller));
    sleep(SECOND).await;
    let open = wire.counts().open;
    if open != 0 {
        books.broken(format_args!("{open} connections are open, and nobody has a client"));
    }
    let last = servers.len() - 1;
    for (nth, (handle, serving)) in servers.into_iter().enumerate() {
        let served = handle.connections();
        handle.shut_down();
        let report = serving.await.expect("the server does not panic");
        let left = (report.aborted, report.connections_aborted, report.detached, report.upgraded);
        // What is stuck in one that stops in the middle is cut off at the end of its drain.
        if served != 0 || (nth == last && left != (0, 0, 0, 0)) {
            books.broken(format_args!("server {nth} left {served} connections: {report:?}"));
        }
    }
    wire
}
