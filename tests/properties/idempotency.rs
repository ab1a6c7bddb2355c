//! A keyed request is done at most once, whatever crashes, expires or comes late.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use proptest::prelude::*;
use stonework::base::{BoxError, Kind, Rng};
use stonework::idempotency::{
    AfterCrash, Begun, Change, Claim, Entry, Final, Fingerprint, Held, IdempotencyLayer, IdempotencySettings,
    MemoryStore, NewClaim, Owner, Scope, State, Store,
};
use stonework::testing::{Scripted, Step};
use stonework::{Body, Error};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

const MS: Duration = Duration::from_millis(1);
const LEASE: Duration = Duration::from_millis(100);

// ───────────────────────────────────────────────────────────────────────────── what is decided

/// What happens next. Numbers name one of those who were told to run.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Somebody asks, and does something at once if it is told to run; or nothing, and may say so.
    Begin {
        does: bool,
    },
    /// Its answer was lost, and it asks again.
    BeginAgain(usize),
    Complete(usize),
    Fail(usize),
    Release(usize),
    Renew(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any::<bool>().prop_map(|does| Event::Begin { does }),
        1 => (0..8_usize).prop_map(Event::BeginAgain),
        2 => (0..8_usize).prop_map(Event::Complete),
        1 => (0..8_usize).prop_map(Event::Fail),
        1 => (0..8_usize).prop_map(Event::Release),
        1 => (0..8_usize).prop_map(Event::Renew),
        3 => (0..150_u64).prop_map(Event::Pass),
    ]
}

struct Run {
    asked: NewClaim,
    claim: Claim,
    did: bool,
}

/// One key, and all that happens to it.
struct World {
    after_crash: AfterCrash,
    rng: Rng,
    now: u64,
    entry: Option<Entry>,
    runs: Vec<Run>,
    /// How often somebody was told that its record is the one.
    committed: usize,
    /// What those who ask are told from here on.
    end: Option<Final>,
}

impl World {
    fn new(after_crash: AfterCrash) -> Self {
        let rng = Rng::seeded(1);
        Self { after_crash, rng, now: 0, entry: None, runs: Vec::new(), committed: 0, end: None }
    }

    fn write<T>(&mut self, (answer, change): (T, Change)) -> T {
        match change {
            Change::Keep => {}
            Change::Put(entry) => {
                if let Some(before) = &self.entry {
                    assert!(entry.fence >= before.fence, "a fence never goes back");
                }
                self.entry = Some(entry);
            }
            Change::Remove => self.entry = None,
        }
        answer
    }

    fn begin(&mut self, asked: NewClaim) -> Begun {
        let decided = Entry::begin(self.entry.as_ref(), &asked, self.now);
        let begun = self.write(decided);
        match (&self.end, &begun) {
            (Some(end), begun) => assert_eq!(begun, &Begun::Ended(end.clone()), "what has ended has ended"),
            (None, Begun::Ended(end)) => self.end = Some(end.clone()),
            (None, _) => {}
        }
        begun
    }

    fn of(&self, number: usize) -> Option<usize> {
        (!self.runs.is_empty()).then(|| number % self.runs.len())
    }

    fn complete(&mut self, at: usize, end: &Final) {
        let decided = Entry::complete(self.entry.as_ref(), &self.runs[at].claim, end, self.now);
        if self.write(decided) == Held::Yes {
            assert!(self.end.is_none(), "somebody was told otherwise");
            self.end = Some(end.clone());
            self.committed += 1;
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Begin { does } => {
                let asked = NewClaim {
                    fingerprint: Fingerprint::from_bytes([7; 32]),
                    owner: Owner::new(&self.rng),
                    lease: LEASE,
                    keep: Duration::from_secs(3600),
                    after_crash: self.after_crash,
                };
                if let Begun::Run { fence } = self.begin(asked) {
                    let claim = asked.won(Scope::from_bytes([8; 32]), fence);
                    self.runs.push(Run { asked, claim, did: does });
                }
            }
            Event::BeginAgain(number) => {
                let Some(at) = self.of(number) else { return };
                let asked = self.runs[at].asked;
                // Only of one that still runs: others do not ask again with what they were.
                let running = self.entry.as_ref().is_some_and(|entry| {
                    entry.owner == asked.owner && matches!(entry.state, State::Running { .. })
                });
                if running {
                    let fence = self.runs[at].claim.fence();
                    assert_eq!(self.begin(asked), Begun::Run { fence });
                }
            }
            Event::Complete(number) => {
                if let Some(at) = self.of(number) {
                    self.complete(at, &Final::Record(vec![u8::try_from(at).unwrap()].into()));
                }
            }
            Event::Fail(number) => {
                if let Some(at) = self.of(number) {
                    self.complete(at, &Final::Indeterminate);
                }
            }
            Event::Release(number) => {
                let Some(at) = self.of(number) else { return };
                // Whoever did something does not say otherwise; or it is to be done again, whatever was done.
                if !self.runs[at].did || self.after_crash == AfterCrash::Rerun {
                    let decided = Entry::release(self.entry.as_ref(), &self.runs[at].claim, self.now);
                    self.write(decided);
                }
            }
            Event::Renew(number) => {
                if let Some(at) = self.of(number) {
                    let decided = Entry::renew(self.entry.as_ref(), &self.runs[at].claim, self.now);
                    self.write(decided);
                }
            }
            Event::Pass(millis) => self.now += millis,
        }
    }
}

proptest! {
    #[test]
    fn for_any_schedule_of_crashes_expiries_and_late_writes_it_is_done_at_most_once(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(AfterCrash::FailClosed);
        events.into_iter().for_each(|event| world.happens(event));
        let done = world.runs.iter().filter(|run| run.did).count();
        prop_assert!(done <= 1, "done {done} times");
        prop_assert!(world.committed <= 1);
    }

    #[test]
    fn for_any_schedule_one_record_at_most_is_committed_also_if_it_is_done_again(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(AfterCrash::Rerun);
        events.into_iter().for_each(|event| world.happens(event));
        prop_assert!(world.committed <= 1);
        let fences: HashSet<_> = world.runs.iter().map(|run| run.claim.fence()).collect();
        prop_assert!(fences.len() == world.runs.len(), "no two have one fence");
    }
}

// ───────────────────────────────────────────────────────────────────────────── the whole layer

/// A way to a store that many share, on which anything can happen.
#[derive(Clone)]
struct Way {
    store: MemoryStore,
    mood: Arc<Mutex<Mood>>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    /// Nothing gets through.
    Cut,
    /// It gets through, and the answer does not.
    Mute,
    /// It gets through after so long, whoever still waits for it.
    Late(u64),
}

impl Way {
    async fn ask<T: Send + 'static>(
        &self,
        does: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> Result<T, BoxError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => does.await,
            Mood::Cut => Err("no route to host".into()),
            Mood::Mute => {
                does.await?;
                Err("connection reset".into())
            }
            Mood::Late(millis) => {
                let late = tokio::spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    does.await
                });
                late.await?
            }
        }
    }
}

impl Store for Way {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        let (store, claim) = (self.store.clone(), *claim);
        self.ask(async move { store.begin(scope, &claim).await }).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        let (store, claim) = (self.store.clone(), *claim);
        self.ask(async move { store.renew(&claim).await }).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        let (store, claim, end) = (self.store.clone(), *claim, end.clone());
        self.ask(async move { store.complete(&claim, &end).await }).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        let (store, claim) = (self.store.clone(), *claim);
        self.ask(async move { store.release(&claim).await }).await
    }
}

/// What happens to two servers with one store.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// A client asks this server, and leaves after so long if it is not answered.
    Ask {
        server: usize,
        patience: u64,
    },
    Mood {
        server: usize,
        mood: Mood,
    },
    Pass(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let mood = prop_oneof![
        2 => Just(Mood::Well),
        1 => Just(Mood::Cut),
        1 => Just(Mood::Mute),
        1 => (0..200_u64).prop_map(Mood::Late),
    ];
    prop_oneof![
        3 => (0..2_usize, 0..300_u64).prop_map(|(server, patience)| Happens::Ask { server, patience }),
        2 => (0..2_usize, mood).prop_map(|(server, mood)| Happens::Mood { server, mood }),
        2 => (0..150_u64).prop_map(Happens::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn two_servers_and_a_store_that_comes_and_goes_do_it_once_and_say_one_thing(
        all in prop::collection::vec(happens(), 1..40),
        takes in 0..400_u64,
        ending in 0..4_u32,
        attached: bool,
        wait in 0..200_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (ran, said) = runtime.block_on(async move {
            let takes = Duration::from_millis(takes);
            let shop = Scripted::<Request<Body>, Response<Body>, Error>::script(move |number, _| match ending {
                0 => Step::FailAfter(takes, Error::new(Kind::Other, "an accident")),
                1 => Step::AnswerAfter(takes, Response::builder().status(500).body(Body::empty()).unwrap()),
                _ => Step::AnswerAfter(takes, Response::new(Body::from(format!("number {number}")))),
            });
            let store = MemoryStore::new();
            let settings = IdempotencySettings::new()
                .lease(LEASE)
                .store_timeout(50 * MS)
                .wait_up_to(Duration::from_millis(wait));
            let ways = [(); 2].map(|()| Way { store: store.clone(), mood: Arc::new(Mutex::new(Mood::Well)) });
            let servers = ways.clone().map(|way| {
                let layer = IdempotencyLayer::new(way).settings(settings.clone()).unwrap();
                if attached { layer.attached() } else { layer }.layer(shop.clone())
            });
            let mut clients = Vec::new();
            for happens in all {
                match happens {
                    Happens::Ask { server, patience } => {
                        let request = Request::post("/").header("idempotency-key", "a").body(Body::from("x")).unwrap();
                        let asks = servers[server].clone().oneshot(request);
                        clients.push(tokio::spawn(tokio::time::timeout(Duration::from_millis(patience), asks)));
                        tokio::task::yield_now().await;
                    }
                    Happens::Mood { server, mood } => *ways[server].mood.lock().unwrap() = mood,
                    Happens::Pass(millis) => sleep(Duration::from_millis(millis)).await,
                }
            }
            let mut said = HashSet::new();
            for client in clients {
                if let Ok(Ok(response)) = client.await.unwrap() {
                    if response.status() == 200 {
                        said.insert(response.into_body().collect().await.unwrap().to_bytes());
                    }
                }
            }
            (shop.seen().count(), said)
        });
        prop_assert!(ran <= 1, "it ran {ran} times");
        prop_assert!(said.len() <= 1, "{said:?}");
    }
}
