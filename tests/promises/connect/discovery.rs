//! A name that is followed to its addresses, on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stonework::base::{Error, Kind, Rng};
use stonework::connect::{ConnectError, DiscoverySettings, DnsDiscovery, Resolve, Resolved};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{SECOND, timed};

/// What a name server says.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// Addresses that end with these numbers, good for so many seconds.
    Found(Vec<u8>, u64),
    NoSuchName,
    Nothing,
    Panic,
}

/// A resolver that says what it is told to, and when it was asked.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<(Says, Vec<Instant>)>>);

impl Script {
    pub(crate) fn new(says: Says) -> Self {
        Self(Arc::new(Mutex::new((says, Vec::new()))))
    }

    pub(crate) fn says(&self, says: Says) {
        self.0.lock().unwrap().0 = says;
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    fn gaps(&self) -> Vec<Duration> {
        self.0.lock().unwrap().1.windows(2).map(|two| two[1] - two[0]).collect()
    }
}

impl Resolve for Script {
    async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
        assert_eq!(host, "orders.internal");
        let says = {
            let mut script = self.0.lock().unwrap();
            script.1.push(Instant::now());
            script.0.clone()
        };
        match says {
            Says::Found(last, ttl) => {
                let addresses = last.into_iter().map(|last| [10, 0, 0, last].into());
                Ok(Resolved::new(addresses).with_ttl(Duration::from_secs(ttl)))
            }
            Says::NoSuchName => Err(Error::new(Kind::Connect, "no such name")),
            Says::Nothing => std::future::pending().await,
            Says::Panic => panic!("on purpose"),
        }
    }
}

pub(crate) fn follow(script: &Script) -> DnsDiscovery {
    DnsDiscovery::new(script.clone(), "Orders.internal", 80).rng(Rng::seeded(1))
}

fn found(last: &[u8], ttl: u64) -> Says {
    Says::Found(last.to_vec(), ttl)
}

/// The next change, as text.
async fn changed(discovery: &mut DnsDiscovery) -> Result<Vec<String>, Error> {
    let changed = timeout(3_600 * SECOND, discovery.changed()).await.expect("there is a change");
    changed.map(|found| found.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_again_when_its_time_to_live_is_over_and_only_changes_are_news() {
    let script = Script::new(found(&[2, 1], 5));
    let mut discovery = follow(&script);
    let (first, took) = timed(changed(&mut discovery)).await;
    assert_eq!(
        (first.unwrap(), took),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], Duration::ZERO)
    );
    assert!(timeout(60 * SECOND, discovery.changed()).await.is_err(), "the same is no news");
    assert!(script.gaps().len() >= 10);
    for gap in script.gaps() {
        assert!(
            (5 * SECOND..5_600 * SECOND / 1_000).contains(&gap),
            "never early, and a tenth later at most: {gap:?}"
        );
    }
    script.says(found(&[2, 3], 5));
    let (next, took) = timed(changed(&mut discovery)).await;
    assert_eq!(next.unwrap(), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(took < 6 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_finds_nothing_is_an_error_with_its_cause_and_the_name_is_looked_up_again() {
    let script = Script::new(found(&[1], 5));
    let mut discovery = follow(&script);
    assert!(changed(&mut discovery).await.is_ok());
    for (says, named) in [
        (Says::NoSuchName, "no such name"),
        (found(&[], 5), "has no address"),
        (Says::Nothing, "there was no answer"),
        (Says::Panic, "the lookup was given up"),
    ] {
        script.says(says);
        let error = changed(&mut discovery).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.cause::<ConnectError>().is_some() && format!("{error:#}").contains(named), "{error:#}");
    }
    // It goes on by itself: what is there as before is no news, what is new is.
    let before = script.asked();
    script.says(found(&[1], 5));
    assert!(timeout(60 * SECOND, discovery.changed()).await.is_err());
    assert!(script.asked() >= before + 10);
    script.says(found(&[2], 5));
    assert_eq!(changed(&mut discovery).await.unwrap(), ["10.0.0.2:80"]);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_found_the_name_is_looked_up_ever_less_often_up_to_the_interval() {
    let script = Script::new(Says::NoSuchName);
    let mut discovery = follow(&script);
    let begin = Instant::now();
    while begin.elapsed() < 600 * SECOND {
        assert!(changed(&mut discovery).await.is_err());
    }
    let gaps = script.gaps();
    assert!(gaps[0] < 2 * SECOND && gaps[1] < 3 * SECOND, "{gaps:?}");
    assert!(gaps.iter().skip(5).all(|gap| (30 * SECOND..=33 * SECOND).contains(gap)), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_wants_to_know_anew_is_heard_once_in_a_second() {
    let script = Script::new(found(&[1], 300));
    let mut discovery = follow(&script);
    assert!(changed(&mut discovery).await.is_ok());
    let look_again = discovery.look_again();
    let hurries = tokio::spawn(async move {
        sleep(10 * SECOND).await;
        for _ in 0..100 {
            look_again.now();
            sleep(SECOND / 20).await;
        }
    });
    script.says(found(&[2], 300));
    let (next, took) = timed(changed(&mut discovery)).await;
    assert_eq!((next.unwrap(), took), (vec!["10.0.0.2:80".to_owned()], 10 * SECOND), "at once");
    assert!(timeout(20 * SECOND, discovery.changed()).await.is_err());
    hurries.await.unwrap();
    assert!((5..=7).contains(&script.asked()), "{} lookups in five seconds", script.asked());
}

#[tokio::test(start_paused = true)]
async fn an_address_is_what_it_is() {
    let script = Script::new(Says::Panic);
    for (host, member) in [("10.0.0.7", "10.0.0.7:80"), ("[::1]", "[::1]:80")] {
        let mut discovery = DnsDiscovery::new(script.clone(), host, 80);
        assert_eq!(changed(&mut discovery).await.unwrap(), [member]);
        assert!(timeout(3_600 * SECOND, discovery.changed()).await.is_err());
    }
    assert_eq!(script.asked(), 0);
    let never = DiscoverySettings::new().min_interval(Duration::ZERO);
    assert!(DnsDiscovery::new(script, "a", 80).settings(never).is_err());
}
