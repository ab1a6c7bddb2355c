//! Who is picked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, Method};
use stonework::balance::{
    Balancer, Candidate, Candidates, Member, Pick, Picker, Sticky, StickyCookie, StickyHeader, StickyKey,
};
use stonework::base::{Fitness, Kind, Rng};
use tokio::time::sleep;
use tower::ServiceExt;

use super::kit::{AtPeer, Does, OK, Peers, ask, from, plain};
use crate::support::{SECOND, polled, request, timed, with_request_header};

const ALL: [Pick; 3] = [Pick::PeakEwma, Pick::LeastLoaded, Pick::WeightedRoundRobin];

/// How often each was called in so many calls, one after the other.
async fn spread(peers: &Peers, balancer: &Balancer<AtPeer>, calls: usize) -> Vec<u64> {
    let before = peers.all_calls();
    for _ in 0..calls {
        ask(&balancer.service()).await.unwrap();
    }
    peers.all_calls().iter().zip(before).map(|(after, before)| after - before).collect()
}

#[tokio::test(start_paused = true)]
async fn every_picker_gives_each_endpoint_the_share_that_it_weighs() {
    for pick in ALL {
        let peers = Peers::default();
        let members = [Member::new("a"), Member::new("b").weight(2), Member::new("c").weight(5)];
        members.iter().for_each(|member| peers.tell(member.id().as_str(), OK));
        let settings = plain().pick(pick);
        let balancer = peers.balancer().members(members).settings(settings).build().unwrap();
        let seen = spread(&peers, &balancer, 16_000).await;
        let chi_square: f64 = seen
            .iter()
            .zip([2_000.0, 4_000.0, 10_000.0])
            .map(|(seen, expected)| (*seen as f64 - expected).powi(2) / expected)
            .sum();
        // Two degrees of freedom: more only once in a thousand runs.
        assert!(chi_square < 13.8, "{pick:?}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_has_just_come_gets_little_at_first_and_its_share_in_the_end() {
    for pick in ALL {
        let peers = Peers::default();
        let builder = peers.named(&["a", "b"]).settings(plain().pick(pick).slow_start(30 * SECOND));
        let balancer = builder.build().unwrap();
        let alike = spread(&peers, &balancer, 2_000).await;
        assert!(alike.iter().all(|calls| (850..1_150).contains(calls)), "those of the first hour: {alike:?}");
        sleep(60 * SECOND).await;
        peers.tell("c", OK);
        balancer.set(["a", "b", "c"]);
        // A share of f where the others have 1 is f of f + 2.
        for (after, share) in [(3, 0.1), (12, 0.5), (15, 1.0), (60, 1.0)] {
            sleep(after * SECOND).await;
            let seen = spread(&peers, &balancer, 4_000).await;
            let expected = 4_000.0 * share / (share + 2.0);
            let off = (seen[2] as f64 - expected).abs() / expected;
            assert!(off < 0.2, "{pick:?}, a share of {share}: {seen:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_faster_one_is_picked_more_often_and_the_slower_one_is_not_forgotten() {
    for pick in [Pick::PeakEwma, Pick::LeastLoaded] {
        let peers = Peers::default();
        let balancer = peers.named(&["a", "b"]).settings(plain().pick(pick)).build().unwrap();
        peers.tell("a", Does::Answer(200, Duration::from_millis(10)));
        peers.tell("b", Does::Answer(200, Duration::from_millis(20)));
        let users: Vec<_> = (0..32)
            .map(|_| {
                let service = balancer.service();
                tokio::spawn(async move {
                    for _ in 0..200 {
                        ask(&service).await.unwrap();
                    }
                })
            })
            .collect();
        for user in users {
            user.await.unwrap();
        }
        let ratio = peers.calls("a") as f64 / peers.calls("b") as f64;
        let expected = if pick == Pick::PeakEwma { 3.0..5.0 } else { 1.8..2.2 };
        assert!(expected.contains(&ratio), "{pick:?}: {ratio}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_has_not_answered_yet_is_asked_once_and_no_more_until_it_has() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain()).build().unwrap();
    peers.tell("b", Does::Hang);
    let service = balancer.service();
    let users: Vec<_> = (0..50)
        .map(|_| {
            let service = service.clone();
            async move { tokio::time::timeout(SECOND / 10, ask(&service)).await }
        })
        .collect();
    let mut pending = 0;
    let mut kept = Vec::new();
    for user in users {
        let mut call = Box::pin(user);
        if polled(&mut call).await.is_pending() {
            pending += 1;
            kept.push(call);
        }
    }
    assert_eq!((pending, peers.calls("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_goes_to_the_same_endpoint_also_in_another_process() {
    let by_user = || StickyHeader::new(HeaderName::from_static("user"));
    let (first, second) = (Peers::default(), Peers::default());
    let build = |peers: &Peers, seed| {
        peers.named(&["a", "b", "c"]).settings(plain()).rng(Rng::seeded(seed)).build().unwrap()
    };
    let (here, there) = (build(&first, 1), build(&second, 2));
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..30 {
        let ask = async |balancer: &Balancer<AtPeer>| {
            let request = with_request_header(request(Method::GET), "user", &user.to_string());
            from(&balancer.service().sticky(by_user()).oneshot(request).await.unwrap())
        };
        let picked = ask(&here).await;
        assert_eq!((&ask(&here).await, &ask(&there).await), (&picked, &picked));
        // When another one goes, nothing changes.
        let left: Vec<_> =
            ["a", "b", "c"].into_iter().filter(|name| *name == picked || user % 2 == 0).collect();
        there.set(left);
        assert_eq!(ask(&there).await, picked);
        there.set(["c", "b", "a"]);
        seen.insert(picked);
    }
    assert_eq!(seen.len(), 3, "not all at one");
    // Without a key it is as if nothing stuck.
    let service = here.service().sticky(by_user());
    let mut without = std::collections::BTreeSet::new();
    for _ in 0..50 {
        without.insert(ask(&service).await.unwrap());
    }
    assert_eq!(without.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_picks_of_one_seed_repeat() {
    let picks = async |seed| {
        let peers = Peers::default();
        let builder = peers.named(&["a", "b", "c", "d"]).settings(plain()).rng(Rng::seeded(seed));
        let service = builder.build().unwrap().service();
        let mut picks = Vec::new();
        for _ in 0..100 {
            picks.push(ask(&service).await.unwrap());
        }
        picks
    };
    assert_eq!(picks(7).await, picks(7).await);
    assert_ne!(picks(7).await, picks(8).await);
}

#[tokio::test(start_paused = true)]
async fn the_first_tier_gets_all_calls_as_long_as_it_can_take_them() {
    let peers = Peers::default();
    let near = ["a", "b", "c", "d"].map(Member::new);
    let far = ["x", "y"].map(|name| Member::new(name).tier(1));
    let settings = plain().without_wait_for_endpoint();
    let balancer = peers.balancer().members(near.into_iter().chain(far)).settings(settings).build().unwrap();
    let of_far = async |balancer: &Balancer<AtPeer>| {
        let before = peers.calls("x") + peers.calls("y");
        for _ in 0..2_000 {
            ask(&balancer.service()).await.unwrap();
        }
        (peers.calls("x") + peers.calls("y") - before) as f64 / 20.0
    };
    let unfit = |name: &str| balancer.found(&name.into(), stonework::base::Fitness::Unfit);
    assert_eq!(of_far(&balancer).await, 0.0);
    unfit("a");
    assert_eq!(of_far(&balancer).await, 0.0, "three quarters can take it");
    unfit("b");
    let half = of_far(&balancer).await;
    assert!((27.0..33.0).contains(&half), "30 % of {half}");
    unfit("c");
    unfit("d");
    assert_eq!(of_far(&balancer).await, 100.0);
    for name in ["a", "b", "c", "d"] {
        balancer.found(&name.into(), stonework::base::Fitness::Fit);
    }
    assert_eq!(of_far(&balancer).await, 0.0, "and back");
}

/// The first by name; it writes down whom it could have picked.
#[derive(Clone, Default)]
struct FirstByName(Arc<Mutex<Vec<String>>>);

impl Picker for FirstByName {
    fn pick<'a>(&self, candidates: &Candidates<'a>, _: &Rng) -> Option<Candidate<'a>> {
        let names: Vec<_> = candidates.iter().map(|one| one.id().as_str()).collect();
        self.0.lock().unwrap().push(names.concat());
        candidates.iter().filter(|one| one.id().as_str() != "never").min_by_key(|one| one.id())
    }
}

impl FirstByName {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_picker_of_ones_own_is_asked_until_somebody_takes_the_call() {
    let (peers, picker) = (Peers::default(), FirstByName::default());
    let members = [Member::new("b"), Member::new("a"), Member::new("never"), Member::new("c").tier(1)];
    let builder = peers.balancer().members(members).settings(plain().without_outliers());
    let balancer = builder.picker(picker.clone()).build().unwrap();
    assert_eq!(ask(&balancer.service()).await.unwrap(), "a");
    assert_eq!(picker.take(), ["banever"]);

    // What comes back unsent goes to whom it picks then: of this tier, and of the next when it wants nobody of this one.
    peers.tell("a", Does::Refuse);
    peers.tell("b", Does::Refuse);
    assert_eq!(ask(&balancer.service()).await.unwrap(), "c");
    let asked = picker.take();
    assert_eq!(
        (asked.first().unwrap().as_str(), asked.last().unwrap().as_str()),
        ("banever", "c"),
        "{asked:?}"
    );
    assert!(balancer.found(&"c".into(), Fitness::Unfit));
    let error = ask(&balancer.service()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoEndpoint, "it would rather have nobody");
}

#[tokio::test(start_paused = true)]
async fn where_a_picker_wants_nobody_of_those_who_are_there_the_call_fails_at_once_whoever_may_come() {
    let (peers, picker) = (Peers::default(), FirstByName::default());
    peers.tell("slow", Does::Hang);
    let builder = peers.named(&["never", "slow"]).check(AtPeer::connects).settings(plain());
    let balancer = builder.picker(picker.clone()).build().unwrap();
    // The one is ready, and nobody knows of the other.
    sleep(SECOND / 10).await;
    picker.take();
    let (answer, took) = timed(ask(&balancer.service())).await;
    assert_eq!((answer.unwrap_err().kind(), took), (Kind::NoEndpoint, Duration::ZERO));
    assert_eq!(picker.take(), ["never"], "it is asked once");
}

/// Draws, and says what it sees.
struct Draws(Arc<Mutex<Vec<Drawn>>>);

/// Its name, its share, what it has under way, and whether its latency is known.
type Drawn = (String, f64, u64, bool);

impl Picker for Draws {
    fn pick<'a>(&self, candidates: &Candidates<'a>, rng: &Rng) -> Option<Candidate<'a>> {
        let drawn = candidates.draw(rng)?;
        let seen = (drawn.id().to_string(), drawn.share(), drawn.in_flight(), drawn.latency().is_some());
        self.0.lock().unwrap().push(seen);
        Some(drawn)
    }
}

#[tokio::test(start_paused = true)]
async fn a_picker_draws_by_weight_and_sees_what_each_has_to_do() {
    let (peers, seen) = (Peers::default(), Arc::<Mutex<_>>::default());
    let members = [Member::new("a").weight(3), Member::new("b")];
    let builder = peers.balancer().members(members).settings(plain().without_slow_start());
    let balancer = builder.picker(Draws(Arc::clone(&seen))).build().unwrap();
    peers.tell("a", Does::Answer(200, SECOND));
    peers.tell("b", Does::Answer(200, SECOND));
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let service = balancer.service();
            tokio::spawn(async move { ask(&service).await.unwrap() })
        })
        .collect();
    let mut of_a = 0;
    for call in calls {
        of_a += usize::from(call.await.unwrap() == "a");
    }
    assert!((700..800).contains(&of_a), "{of_a}");
    let first = std::mem::take(&mut *seen.lock().unwrap());
    assert!(first.iter().all(|(id, share, _, known)| *share == if id == "a" { 1.5 } else { 0.5 } && !known));
    let most = |id: &str| first.iter().filter(|one| one.0 == id).map(|one| one.2).max().unwrap();
    assert_eq!((most("a"), most("b")), (of_a as u64 - 1, 999 - of_a as u64));
    ask(&balancer.service()).await.unwrap();
    assert!(seen.lock().unwrap()[0].3, "how long calls take is known by now");
}

#[test]
fn a_cookie_sticks_by_its_whole_name_in_whatever_field_it_stands_and_the_first_of_them_counts() {
    let key = |fields: &[&'static str]| {
        let mut request = http::Request::new(());
        for field in fields {
            request.headers_mut().append(http::header::COOKIE, http::HeaderValue::from_static(field));
        }
        StickyCookie::new("session").key(&request)
    };
    let seven = Some(StickyKey::of("7"));
    for fields in [
        &["session=7"][..],
        &["lang=en;session=7"],
        &["lang=en; session=7 "],
        &["lang=en", "session=7"],
        &["session=7; session=8"],
    ] {
        assert_eq!(key(fields), seven, "{fields:?}");
    }
    for fields in
        [&[][..], &["session"], &["sessions=7"], &["my-session=7"], &["lang=session=7"], &["SESSION=7"]]
    {
        assert_eq!(key(fields), None, "{fields:?}");
    }
    assert_ne!(key(&["session=8"]), seven);
}
