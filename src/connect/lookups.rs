//! Lookups that belong to all who wait for them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::ConnectError;
use super::error::ResolverSaid;
use super::names::{Answer, Failed, Look, NAMES, Names};
use super::resolve::AnyResolve;
use crate::base::{Error, Kind, Rng};

/// When a lookup is given up, so that the name can be asked for again.
const LIMIT: Duration = Duration::from_secs(30);

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
            let answer = async { on.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone()) };
            let answer = match &stale {
                Some(stale) => timeout_at(stale.until, answer).await.unwrap_or_default(),
                None => answer.await,
            };
            match (answer, stale) {
                (Some(answer), _) => return told(host, answer, turn),
                (None, Some(stale)) => return Ok((stale.addresses, turn)),
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;
    use crate::connect::names::PATIENCE;
    use crate::connect::{Resolve, Resolved};

    const SECOND: Duration = Duration::from_secs(1);

    /// Says what it is told to, after a time.
    #[derive(Clone, Default)]
    struct Script(Arc<Said>);

    #[derive(Default)]
    struct Said {
        now: Mutex<(Duration, Option<Resolved>)>,
        of: Mutex<HashMap<String, usize>>,
        asked: AtomicUsize,
        panics: Mutex<bool>,
    }

    impl Script {
        fn says(&self, after: Duration, found: Option<Resolved>) {
            *self.0.now.lock().unwrap() = (after, found);
        }

        fn asked(&self) -> usize {
            self.0.asked.load(Ordering::SeqCst)
        }
    }

    impl Resolve for Script {
        async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            *self.0.of.lock().unwrap().entry(host.to_owned()).or_default() += 1;
            let (after, found) = self.0.now.lock().unwrap().clone();
            sleep(after).await;
            assert!(!*self.0.panics.lock().unwrap(), "as the script says");
            found.ok_or_else(|| Error::new(Kind::Connect, "no such name"))
        }
    }

    fn set(last: &[u8]) -> Option<Resolved> {
        Some(Resolved::new(last.iter().map(|last| IpAddr::from([10, 0, 0, *last]))))
    }

    fn start(first: Option<Resolved>) -> (Script, Lookups) {
        let script = Script::default();
        script.says(Duration::ZERO, first);
        let lookups = Lookups::new(Arc::new(script.clone()), Rng::seeded(1));
        (script, lookups)
    }

    /// The last byte of each address, or why there is none.
    async fn find(lookups: &Lookups) -> Result<Vec<u8>, String> {
        let last = |ip: &IpAddr| ip.to_string().rsplit('.').next().unwrap().parse::<u8>().unwrap();
        let found = lookups.find("orders.test").await;
        found.map(|(found, _)| found.iter().map(last).collect()).map_err(|error| {
            let error = Error::from(error);
            format!("{error:#}")
        })
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_good_for_as_long_as_the_resolver_says_within_a_second_and_an_hour() {
        for (ttl, good_for) in [
            (None, 30 * SECOND),
            (Some(5 * SECOND), 5 * SECOND),
            (Some(Duration::ZERO), SECOND),
            (Some(Duration::MAX), 3600 * SECOND),
        ] {
            let (script, lookups) = start(set(&[1]).map(|set| Resolved { ttl, ..set }));
            assert_eq!(find(&lookups).await, Ok(vec![1]));
            script.says(Duration::ZERO, set(&[2]));
            advance(good_for - Duration::from_millis(1)).await;
            assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1]), 1), "{ttl:?}");
            advance(Duration::from_millis(1)).await;
            assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![2]), 2), "{ttl:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_once_for_all_who_ask_and_goes_on_when_one_of_them_leaves() {
        let (script, lookups) = start(None);
        script.says(3 * SECOND, set(&[1]));
        let lookups = Arc::new(lookups);
        let all: Vec<_> = (0..20)
            .map(|_| {
                let lookups = Arc::clone(&lookups);
                tokio::spawn(async move { find(&lookups).await })
            })
            .collect();
        sleep(SECOND).await;
        // The one that began the lookup.
        all[0].abort();
        for one in all.into_iter().skip(1) {
            assert_eq!(one.await.unwrap(), Ok(vec![1]));
        }
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_addresses_are_kept_for_an_hour_while_a_lookup_fails_or_finds_none() {
        for bad in [None, set(&[])] {
            let (script, lookups) = start(set(&[1, 2]));
            assert_eq!(find(&lookups).await, Ok(vec![1, 2]));
            script.says(Duration::ZERO, bad);
            advance(30 * SECOND).await;
            assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1, 2]), 2));
            assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1, 2]), 2), "asked once in a second");
            advance(3600 * SECOND - Duration::from_millis(1)).await;
            assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1, 2]), 3));
            advance(2 * SECOND).await;
            assert!(find(&lookups).await.is_err());
            script.says(Duration::ZERO, set(&[3]));
            advance(SECOND).await;
            assert_eq!(find(&lookups).await, Ok(vec![3]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_reaches_all_who_wait_with_its_cause_and_is_remembered_for_a_second() {
        let (script, lookups) = start(None);
        script.says(SECOND, None);
        let (one, other) = (tokio::join!(find(&lookups), find(&lookups)), script.asked());
        let why = "no connection could be made: the name \"orders.test\" was not resolved: the resolver failed: no such name";
        assert_eq!((one, other), ((Err(why.to_owned()), Err(why.to_owned())), 1));
        assert!(find(&lookups).await.is_err());
        assert_eq!(script.asked(), 1);
        script.says(Duration::ZERO, set(&[1]));
        advance(SECOND).await;
        assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1]), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_addresses_that_ran_out_waits_less_than_two_seconds_for_better_ones() {
        let (script, lookups) = start(set(&[1]));
        assert_eq!(find(&lookups).await, Ok(vec![1]));
        advance(30 * SECOND).await;
        script.says(5 * SECOND, set(&[2]));
        let begun = Instant::now();
        assert_eq!(find(&lookups).await, Ok(vec![1]));
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(find(&lookups).await, Ok(vec![1]));
        assert_eq!(begun.elapsed(), PATIENCE, "it has been waited for already");
        sleep(4 * SECOND).await;
        assert_eq!(
            (find(&lookups).await, script.asked()),
            (Ok(vec![2]), 2),
            "it went on for those who come later"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn when_no_address_could_be_reached_the_name_is_asked_for_again_but_not_every_time() {
        let (script, lookups) = start(set(&[1]));
        assert_eq!(find(&lookups).await, Ok(vec![1]));
        script.says(Duration::ZERO, set(&[2]));
        lookups.doubt("orders.test");
        assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![1]), 1), "that was found just now");
        advance(SECOND).await;
        lookups.doubt("never.heard.of");
        assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![2]), 2));
        advance(5 * SECOND).await;
        assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![2]), 2));
        lookups.doubt("orders.test");
        assert_eq!((find(&lookups).await, script.asked()), (Ok(vec![2]), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_never_ends_is_given_up_and_one_that_panics_is_a_failure() {
        let (script, lookups) = start(None);
        script.says(Duration::MAX, None);
        let begun = Instant::now();
        let why = find(&lookups).await.unwrap_err();
        assert!(why.ends_with("there was no answer"), "{why}");
        assert_eq!(begun.elapsed(), LIMIT);

        advance(SECOND).await;
        script.says(SECOND, set(&[1]));
        *script.0.panics.lock().unwrap() = true;
        let (one, other) = tokio::join!(find(&lookups), find(&lookups));
        assert!(one.unwrap_err().ends_with("the lookup was given up") && other.is_err());
        assert_eq!(script.asked(), 3, "whoever only waited has asked, too");
        *script.0.panics.lock().unwrap() = false;
        assert_eq!(find(&lookups).await, Ok(vec![1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_names_are_remembered_and_the_one_that_is_not_used_goes_first() {
        let (script, lookups) = start(set(&[1]).map(|set| set.with_ttl(3600 * SECOND)));
        for number in 0..5000 {
            lookups.find(&format!("{number}.test")).await.unwrap();
            lookups.find("used.test").await.unwrap();
            advance(Duration::from_millis(1)).await;
            assert!(lookups.shared.names().len() <= NAMES);
        }
        assert_eq!(script.0.of.lock().unwrap()["used.test"], 1);
        lookups.find("4999.test").await.unwrap();
        lookups.find("0.test").await.unwrap();
        assert_eq!(script.0.of.lock().unwrap()["4999.test"], 1);
        assert_eq!(script.0.of.lock().unwrap()["0.test"], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_it_is_the_turn_of_the_next_address() {
        let (_, lookups) = start(set(&[1, 2, 3]));
        let first = lookups.find("orders.test").await.unwrap().1;
        for step in 1..7 {
            assert_eq!(lookups.find("orders.test").await.unwrap().1, first.wrapping_add(step));
        }
        let other = lookups.find("others.test").await.unwrap().1;
        assert_ne!(other, first, "each name begins elsewhere");
    }
}
