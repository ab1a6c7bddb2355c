//! A Redis server, which several limits and processes share, and which dies.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use stonework::base::{RateLimited, Rng};
use stonework::limit::conformance::check;
use stonework::limit::{
    DecidedBy, Quota, QuotaStore, RedisStore, Refill, SharedLimitSettings, SharedRateLimiter, Standing,
    StoreAway, Taken, WhenAway,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{need, run, text};

const PATIENCE: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// A server on a port of its own, that keeps nothing.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let mut redis = Self::nowhere();
        redis.begin().await;
        redis
    }

    /// A port where there will be one.
    fn nowhere() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, child: None }
    }

    pub(crate) async fn begin(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
        let there = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                sleep(5 * MS).await;
            }
        };
        timeout(PATIENCE, there).await.expect("it should listen");
        assert_eq!(self.says("PING").await, "+PONG");
    }

    pub(crate) async fn die(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// Stops its process, or lets it go on.
    async fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().unwrap();
        text(run("sh", &["-c", &format!("kill -{signal} {pid}")], b"").await);
    }

    fn store(&self) -> RedisStore {
        RedisStore::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) async fn says(&self, command: &str) -> String {
        says(self.port, &format!("{command}\r\n")).await
    }

    /// The numbers that it answers to a command of these words.
    async fn numbers(&self, words: &[String]) -> Vec<u128> {
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let command = format!("*{}\r\n{}", words.len(), words.collect::<String>());
        let answer = says(self.port, &command).await;
        let number = |line: &str| line.strip_prefix(':').map(|number| number.parse().expect(line));
        answer.lines().filter_map(number).collect()
    }
}

pub(crate) async fn says(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("{command}QUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.trim_end().trim_end_matches("+OK").trim_end().to_owned()
}

/// Microseconds on the server's clock.
async fn time(port: u16) -> u64 {
    let answer = says(port, "TIME\r\n").await;
    let numbers: Vec<u64> = answer.lines().filter_map(|line| line.parse().ok()).collect();
    numbers[0] * 1_000_000 + numbers[1]
}

/// Five an hour. No machine is so slow that a server that is there does not answer in time.
fn limiter(store: &RedisStore, name: &str, when_away: WhenAway) -> SharedRateLimiter {
    let settings =
        SharedLimitSettings::new().timeout(Duration::from_secs(5)).pause(50 * MS).when_away(when_away);
    let quota = Quota::new(5, Duration::from_secs(3600));
    SharedRateLimiter::named(name, store.clone(), [quota]).unwrap().settings(settings).unwrap()
}

/// Until the store decides again.
async fn is_back(limiter: &SharedRateLimiter) {
    let back = async {
        while !limiter.take("is it?", 0).await.is_ok_and(|allowed| allowed.decided_by() == DecidedBy::Store) {
            sleep(10 * MS).await;
        }
    };
    timeout(PATIENCE, back).await.expect("the store should be back");
}

#[tokio::test]
async fn redis_keeps_what_a_store_promises() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    for prefix in ["stonework:", "", "shop 7:"] {
        assert_eq!(check(&redis.store().prefix(prefix).unwrap()).await, []);
    }
}

#[tokio::test]
async fn what_redis_counts_is_exact_to_the_nanosecond_and_forgotten_when_it_is_full_again() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let store = redis.store();
    let take =
        async |quota: Quota, cost| store.take("key", &[Refill::of(&quota).unwrap()], cost).await.unwrap();
    for (quota, cost, full_in) in [
        (Quota::per_second(3_000_000), 3, 3 * 334),
        (Quota::per_second(3), 2, 2 * 333_333_334),
        (Quota::new(7, Duration::from_secs(300_000_000)), 5, 5 * 42_857_142_857_142_858),
    ] {
        let Taken::All(standing) = take(quota, cost).await else { panic!("{quota}") };
        assert_eq!(standing, [Standing::new(quota_left(quota, cost), Duration::from_nanos(full_in))]);
    }
    sleep(700 * MS).await;
    let keys = redis.says("KEYS *").await;
    let left = keys.starts_with("*1\r\n") && keys.ends_with("stonework:{=key}:42857142857142858ns:7");
    assert!(left, "that which takes years is left: {keys}");

    // As if the clock had been set back by a year: a wait is never longer than it takes to earn all of it.
    let (quota, later) = (Quota::per_second(10), time(redis.port).await + 31_536_000_000_000);
    redis.says(&format!("SET stonework:{{=key}}:100000000ns:10 \"{later} 7\"")).await;
    let Taken::Nothing(short) = take(quota, 10).await else { panic!("nothing is left") };
    assert_eq!((short.left(), short.retry_after()), (0, Some(Duration::from_secs(1))));
}

/// The script on a clock of its own, beside the same in one number of 128 bits.
#[tokio::test]
async fn the_script_decides_as_arithmetic_without_bounds_does() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    // What expires does so on the real clock.
    let script = include_str!("../../src/limit/shared/take.lua").replace(", 'PX', expire", "");
    let rng = Rng::seeded(7);
    let (mut admitted, mut refused) = (0, 0);
    for round in 0..40_u64 {
        let quotas: Vec<(u128, u128)> = (0..=rng.below(3))
            .map(|_| (u128::from(1 + rng.below(2_000)), u128::from(1 + rng.below(9))))
            .map(|(interval, most)| (interval, interval * most))
            .collect();
        let (mut now, mut cells) = (1_800_000_000_000_000_u128, vec![0_u128; quotas.len()]);
        for _ in 0..30 {
            now += u128::from(rng.below(4));
            let (cost, nanos) = (u128::from(rng.below(4)), now * 1000);
            let spent: Vec<u128> = cells.iter().map(|cell| cell.saturating_sub(nanos)).collect();
            let after: Vec<u128> = spent.iter().zip(&quotas).map(|(s, (i, _))| s + cost * i).collect();
            let over = |place: usize| after[place].saturating_sub(quotas[place].1);
            let wait = (0..quotas.len()).map(over).max().unwrap();
            let short =
                if wait > 0 { 1 + (0..quotas.len()).find(|at| over(*at) == wait).unwrap() } else { 0 };
            let now_spent = if short > 0 { &spent } else { &after };
            if short == 0 {
                admitted += 1;
                cells = after.iter().map(|after| nanos + after).collect();
            } else {
                refused += 1;
            }
            let expected: Vec<u128> = [short as u128, wait].into_iter().chain(now_spent.clone()).collect();

            let clock = format!("{{'{}', '{}'}}", now / 1_000_000, now % 1_000_000);
            let script = script.replace("redis.call('TIME')", &clock);
            let mut words = vec!["EVAL".to_owned(), script, quotas.len().to_string()];
            words.extend((0..quotas.len()).map(|place| format!("{{{round}}}{place}")));
            for (interval, whole) in &quotas {
                for nanos in [cost * interval, *whole] {
                    words.extend([(nanos / 1000).to_string(), (nanos % 1000).to_string()]);
                }
            }
            let said: Vec<u128> = redis.numbers(&words).await;
            let times = said[1..].chunks(2).map(|time| time[0] * 1000 + time[1]);
            let said: Vec<u128> = [said[0]].into_iter().chain(times).collect();
            assert_eq!(said, expected, "{cost} of {quotas:?} at {now}");
        }
    }
    assert!(admitted > 300 && refused > 300, "{admitted}, {refused}");
}

fn quota_left(quota: Quota, cost: u32) -> u32 {
    Refill::of(&quota).unwrap().most() - cost
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_no_failure() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let limiter = limiter(&redis.store(), "idle", WhenAway::Refuse);
    for left in (0..5).rev() {
        assert_eq!(limiter.take("key", 1).await.unwrap().quotas()[0].left(), left);
        redis.says("CLIENT KILL TYPE normal SKIPME yes").await;
        sleep(20 * MS).await;
    }
    assert_eq!(limiter.store_failures(), 0);
}

/// Three of which each is told something else about a store that is away.
fn of_each_policy(store: &RedisStore) -> [SharedRateLimiter; 3] {
    [
        limiter(store, "local", WhenAway::Local),
        limiter(store, "refuse", WhenAway::Refuse),
        limiter(store, "admit", WhenAway::Admit),
    ]
}

/// What they do while it is away, and not for the first time.
async fn go_their_ways([local, refuse, admit]: &[SharedRateLimiter; 3], how_many: u32) {
    for left in (0..how_many).rev() {
        let allowed = local.take("key", 1).await.unwrap();
        assert_eq!((allowed.decided_by(), allowed.quotas()[0].left()), (DecidedBy::Local, left));
        assert!(refuse.take("key", 1).await.unwrap_err().cause::<StoreAway>().is_some());
        assert_eq!(admit.take("key", 99).await.unwrap().decided_by(), DecidedBy::Nobody);
    }
    assert!(local.take("key", 1).await.unwrap_err().cause::<RateLimited>().is_some());
}

#[tokio::test]
async fn when_redis_dies_each_goes_its_way_and_when_it_is_back_the_limit_is_shared_again() {
    if !need("redis-server") {
        return;
    }
    let mut redis = Redis::start().await;
    let (three, others) = (of_each_policy(&redis.store()), of_each_policy(&redis.store()));
    for limiter in three.iter().chain(&others) {
        assert_eq!(limiter.take("key", 1).await.unwrap().decided_by(), DecidedBy::Store);
    }
    redis.die().await;
    go_their_ways(&three, 5).await;
    redis.begin().await;
    for (one, other) in three.iter().zip(&others) {
        is_back(one).await;
        is_back(other).await;
        assert_eq!(one.take("key", 2).await.unwrap().quotas()[0].left(), 3);
        assert_eq!(other.take("key", 3).await.unwrap().quotas()[0].left(), 0);
        assert!(one.take("key", 1).await.unwrap_err().cause::<RateLimited>().is_some());
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_not_waited_for_longer_than_the_timeout() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let settings = SharedLimitSettings::new().timeout(300 * MS).pause(100 * MS);
    let three = of_each_policy(&redis.store()).map(|limiter| {
        let when_away = match limiter.name() {
            "local" => WhenAway::Local,
            "refuse" => WhenAway::Refuse,
            _ => WhenAway::Admit,
        };
        limiter.settings(settings.pause(PATIENCE).when_away(when_away)).unwrap()
    });
    let alone = limiter(&redis.store(), "alone", WhenAway::Local).settings(settings).unwrap();
    is_back(&alone).await;
    redis.signal("STOP").await;
    for limiter in three.iter().chain([&alone]) {
        let begun = Instant::now();
        let _ = limiter.take("key", 0).await;
        let time = begun.elapsed();
        assert!(limiter.is_away() && time >= 300 * MS && time < Duration::from_secs(3), "{time:?}");
    }
    go_their_ways(&three, 5).await;
    // Long enough that its connection is given up.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        let _ = alone.take("key", 0).await;
        sleep(20 * MS).await;
    }
    redis.signal("CONT").await;
    is_back(&alone).await;
}

/// Between a limit and the server: each connection to it is one to the server, until it is told to lose them. Then those that there
/// are carry nothing any more, and are not closed; later ones are well.
async fn lossy(redis: &Redis) -> (u16, watch::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), redis.port);
    let (lose, lost) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut lost = lost.clone();
            lost.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = lost.changed() => sleep(PATIENCE * 2).await,
                }
            });
        }
    });
    (port, lose)
}

#[tokio::test]
async fn a_connection_over_which_nothing_is_heard_is_given_up_for_a_new_one() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let (port, lose) = lossy(&redis).await;
    let store = RedisStore::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let settings = SharedLimitSettings::new().timeout(300 * MS).pause(50 * MS);
    let limiter = limiter(&store, "lost", WhenAway::Local).settings(settings).unwrap();
    is_back(&limiter).await;
    lose.send(()).unwrap();
    let begun = Instant::now();
    let _ = limiter.take("key", 0).await;
    assert!(limiter.is_away());
    is_back(&limiter).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_process_that_starts_while_redis_is_down_shares_as_soon_as_it_is_there() {
    if !need("redis-server") {
        return;
    }
    let mut redis = Redis::nowhere();
    let three = of_each_policy(&redis.store());
    go_their_ways(&three, 5).await;
    redis.begin().await;
    for limiter in &three {
        is_back(limiter).await;
        assert_eq!(limiter.take("key", 5).await.unwrap().quotas()[0].left(), 0);
    }
}

// ───────────────────────────────────────────────────────────────────────────── two processes

const BURST: u32 = 50;
/// One in each so many microseconds.
const INTERVAL: u64 = 5_000;
const PEER: &str = "STONEWORK_REDIS_PEER";

/// The other process of the test below. Here it does nothing.
#[tokio::test]
async fn as_a_process_of_its_own_takes_all_it_can_for_a_second() {
    let Ok(port) = std::env::var(PEER) else { return };
    let port: u16 = port.parse().unwrap();
    let store = RedisStore::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let quota = Quota::new(1, Duration::from_micros(INTERVAL)).burst(BURST);
    let settings = SharedLimitSettings::new().timeout(PATIENCE).when_away(WhenAway::Refuse);
    let limiter = SharedRateLimiter::named("hammer", store, [quota]).unwrap().settings(settings).unwrap();

    let (begun, start) = (time(port).await, Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let (mut asked, mut admitted) = (0, 0);
            while start.elapsed() < Duration::from_secs(1) {
                asked += 1;
                match limiter.take("one key", 1).await {
                    Ok(allowed) => {
                        assert_eq!(allowed.decided_by(), DecidedBy::Store);
                        admitted += 1;
                    }
                    Err(error) => assert!(error.cause::<RateLimited>().is_some(), "{error:#}"),
                }
            }
            (asked, admitted)
        });
    }
    let all = tasks.join_all().await;
    let sum = |pick: fn(&(u64, u64)) -> u64| all.iter().map(pick).sum::<u64>();
    let (asked, admitted) = (sum(|of| of.0), sum(|of| of.1));
    assert_eq!(limiter.store_failures(), 0);
    println!("\nPEER {begun} {} {asked} {admitted}", time(port).await);
}

#[tokio::test]
async fn two_processes_that_hammer_one_limit_get_the_burst_and_what_was_earned_and_no_more() {
    if !need("redis-server") {
        return;
    }
    let redis = Redis::start().await;
    let name = "redis::as_a_process_of_its_own_takes_all_it_can_for_a_second";
    let peer = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture"]).env(PEER, redis.port.to_string()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap().wait_with_output()
    };
    let forget_scripts = async {
        for _ in 0..6 {
            sleep(150 * MS).await;
            assert_eq!(redis.says("SCRIPT FLUSH").await, "+OK");
        }
    };
    let (one, other, ()) = timeout(PATIENCE, async { tokio::join!(peer(), peer(), forget_scripts) })
        .await
        .expect("a second should be over");
    let numbers = [one, other].map(|output| {
        let printed = text(output.unwrap());
        let line = printed.lines().find_map(|line| line.strip_prefix("PEER ")).expect(&printed);
        line.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
    });
    let [one, other] = &numbers;
    let time = one[1].max(other[1]) - one[0].min(other[0]);
    let (asked, admitted) = (one[2] + other[2], one[3] + other[3]);
    let (burst, earned) = (u64::from(BURST), time / INTERVAL);
    eprintln!(
        "of {asked} calls {admitted} were admitted: {} and {}, of {burst} and {earned} earned in {time} µs",
        one[3], other[3]
    );
    assert!(admitted <= burst + earned, "{admitted} of {burst} and {earned}");
    assert!(admitted >= burst + earned / 2, "{admitted} of {burst} and {earned}");
    assert!(one[3] > 0 && other[3] > 0);
}
