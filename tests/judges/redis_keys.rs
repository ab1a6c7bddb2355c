//! A Redis server that keeps idempotency keys, and dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use stonework::base::{BoxError, Rng};
use stonework::idempotency::conformance::check;
use stonework::idempotency::{
    AfterCrash, Begun, Claim, Final, Fingerprint, Held, InvalidEntry, NewClaim, Owner, RedisStore, Scope,
    Store,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agreement::{BY_ITSELF, agrees_with_entry};
use crate::kit::need;
use crate::redis::{Redis, says};

const HOUR: Duration = Duration::from_secs(3600);

fn store(redis: &Redis) -> RedisStore {
    RedisStore::open(format!("redis://127.0.0.1:{}", redis.port)).unwrap()
}

fn claim() -> NewClaim {
    NewClaim {
        fingerprint: Fingerprint::from_bytes([1; 32]),
        owner: Owner::new(&Rng::from_entropy()),
        lease: HOUR,
        keep: HOUR,
        after_crash: AfterCrash::FailClosed,
    }
}

fn scope(number: u8) -> Scope {
    Scope::from_bytes([number; 32])
}

const fn named(after_crash: AfterCrash) -> &'static [u8] {
    match after_crash {
        AfterCrash::Rerun => b"rerun",
        _ => b"closed",
    }
}

fn record(text: &'static str) -> Final {
    Final::Record(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn redis_keeps_what_a_store_of_keys_promises() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    for prefix in ["stonework:idempotency:", ""] {
        assert_eq!(check(&store(&redis).prefix(prefix).unwrap()).await, []);
    }
}

#[tokio::test]
async fn redis_answers_as_an_entry_decides() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    agrees_with_entry(&store(&redis), 0..20, &BY_ITSELF, |_| 0).await;
}

/// The script on a clock of its own, asked over a bare connection.
struct Clocked {
    port: u16,
    script: &'static str,
    now: AtomicU64,
}

impl Clocked {
    async fn ask(&self, scope: Scope, words: &[&[u8]]) -> Vec<String> {
        let now = self.now.load(Ordering::Relaxed);
        let clock = format!("{{'{}', '{}'}}", now / 1000, now % 1000 * 1000 + 999);
        let script = self.script.replace("redis.call('TIME')", &clock);
        assert_ne!(script, self.script, "it goes by the clock");
        let key: String = scope.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = format!("*{}\r\n", words.len() + 4);
        let words = words.iter().map(|word| str::from_utf8(word).unwrap());
        for word in ["EVAL", &script, "1", &key].into_iter().chain(words) {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        let answer = says(self.port, &command).await;
        assert!(answer.starts_with('*'), "{answer}");
        answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
    }

    async fn held(&self, what: &[u8], claim: &Claim, more: &[&[u8]]) -> Result<Held, BoxError> {
        let (owner, lease, keep) = (claim.owner().to_bytes(), claim.lease(), claim.keep());
        let lengths = [lease, keep].map(|length| length.as_millis().to_string());
        let words = [&[what, &owner[..], lengths[0].as_bytes(), lengths[1].as_bytes()], more].concat();
        Ok(match self.ask(claim.scope(), &words).await[0].as_str() {
            "yes" => Held::Yes,
            "ended" => Held::Ended,
            "lost" => Held::Lost,
            other => return Err(other.into()),
        })
    }
}

impl Store for Clocked {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        let lengths = [claim.lease, claim.keep].map(|length| length.as_millis().to_string());
        let after_crash = named(claim.after_crash);
        let (owner, print) = (claim.owner.to_bytes(), claim.fingerprint.as_bytes());
        let words = [b"begin", &owner[..], lengths[0].as_bytes(), lengths[1].as_bytes(), print, after_crash];
        let answer = self.ask(scope, &words).await;
        Ok(match answer[0].as_str() {
            "run" => Begun::Run { fence: answer[1].parse()? },
            "in flight" => Begun::InFlight,
            "mismatch" => Begun::Mismatch,
            // An empty one at the end of the answer is trimmed with it.
            "record" => Begun::Ended(Final::Record(answer.get(1).cloned().unwrap_or_default().into())),
            "too large" => Begun::Ended(Final::TooLarge),
            "indeterminate" => Begun::Ended(Final::Indeterminate),
            other => return Err(other.into()),
        })
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.held(b"renew", claim, &[]).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        let words: [&[u8]; 2] = match end {
            Final::Record(record) => [b"record", record],
            Final::TooLarge => [b"too large", b""],
            Final::Indeterminate => [b"indeterminate", b""],
        };
        self.held(b"complete", claim, &words).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.held(b"release", claim, &[named(claim.after_crash())]).await
    }
}

#[tokio::test]
async fn the_script_decides_to_the_millisecond_as_an_entry_does() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let script = include_str!("../../src/idempotency/redis.lua");
    // So late that nothing expires on the real clock.
    let clocked = Clocked { port: redis.port, script, now: AtomicU64::new(4_000_000_000_000) };
    let lengths = [0, 1, 2, 3, 5, 8].map(Duration::from_millis);
    let tick = |rng: &Rng| {
        let step = rng.below(3);
        clocked.now.fetch_add(step, Ordering::Relaxed) + step
    };
    agrees_with_entry(&clocked, 0..10, &lengths, tick).await;
}

#[tokio::test]
async fn what_redis_is_to_forget_expires_there_and_all_of_it() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let (store, brief) = (store(&redis), Duration::from_millis(100));
    let claims = [
        NewClaim { lease: brief, keep: Duration::ZERO, ..claim() },
        NewClaim { lease: HOUR, keep: brief, ..claim() },
        NewClaim { lease: HOUR, keep: HOUR, ..claim() },
        // What is too long to be added is as long as can be.
        NewClaim { lease: Duration::MAX, keep: Duration::MAX, ..claim() },
    ];
    for (number, claim) in (0..).zip(&claims) {
        assert_eq!(store.begin(scope(number), claim).await.unwrap(), Begun::Run { fence: 1 });
    }
    assert_eq!(store.complete(&claims[1].won(scope(1), 1), &record("done")).await.unwrap(), Held::Yes);
    assert_eq!(redis.says("DBSIZE").await, ":4");
    sleep(brief * 3).await;
    assert_eq!(redis.says("DBSIZE").await, ":2");
    let left = redis.says(&format!("PTTL stonework:idempotency:{}", "02".repeat(32))).await;
    let left: u64 = left.strip_prefix(':').unwrap().parse().unwrap();
    assert!((7_190_000..=7_200_000).contains(&left), "a lease and then as long as it is kept: {left}");
}

#[tokio::test]
async fn what_somebody_else_has_written_is_not_guessed_at() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let (store, claim) = (store(&redis), claim());
    store.begin(scope(1), &claim).await.unwrap();
    let key = format!("stonework:idempotency:{}", "01".repeat(32));
    assert_eq!(redis.says(&format!("HSET {key} state half-done")).await, ":0");
    let error = store.begin(scope(1), &claim).await.unwrap_err();
    assert!(error.is::<InvalidEntry>(), "{error}");
    assert_eq!(redis.says(&format!("SET {key} text")).await, "+OK");
    let error = store.begin(scope(1), &claim).await.unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    assert_eq!(store.begin(scope(2), &claim).await.unwrap(), Begun::Run { fence: 1 });
}

#[tokio::test]
async fn of_many_machines_one_is_told_to_run_and_a_full_server_is_away() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        // A connection for each.
        let store = store(&redis);
        tasks.spawn(async move {
            let mut won = Vec::new();
            for number in 0..100 {
                if store.begin(scope(number), &claim()).await.unwrap() == (Begun::Run { fence: 1 }) {
                    won.push(number);
                }
            }
            won
        });
    }
    let mut won = tasks.join_all().await.concat();
    won.sort_unstable();
    assert_eq!(won, (0..100).collect::<Vec<_>>());

    assert_eq!(redis.says("CONFIG SET maxmemory 1").await, "+OK");
    let error = store(&redis).begin(scope(200), &claim()).await.unwrap_err();
    assert!(error.to_string().contains("OOM"), "{error}");
    assert_eq!(
        store(&redis).begin(scope(1), &claim()).await.unwrap(),
        Begun::InFlight,
        "what it has it knows"
    );
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_and_one_that_is_back_is_found() {
    if !need("redis-server") {
        return;
    }
    let mut redis = Redis::start().await;
    let (store, claim) = (store(&redis), claim());
    assert_eq!(store.begin(scope(1), &claim).await.unwrap(), Begun::Run { fence: 1 });
    // A connection that is lost while nobody asks is no error: what was asked is asked once more.
    assert!(redis.says("CLIENT KILL TYPE normal SKIPME yes").await.starts_with(':'));
    assert_eq!(store.complete(&claim.won(scope(1), 1), &record("done")).await.unwrap(), Held::Yes);
    redis.die().await;
    assert!(store.begin(scope(1), &claim).await.is_err());
    redis.begin().await;
    let back = async {
        while store.begin(scope(2), &claim).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), back).await.expect("it is found again");
}
