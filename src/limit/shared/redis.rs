use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Script};

use super::{KeyTooLong, QuotaStore, Refill, Shortage, Taken};
use crate::base::redis::{Misread, Redis, valid_prefix};
use crate::base::{BoxError, InvalidRedis};

const TAKE: &str = include_str!("take.lua");

/// The longest key, in bytes: a name, a backslash, and what a caller says fit.
const LONGEST_KEY: usize = 640;

/// Quotas in a Redis server, or one that speaks like it (Valkey), of version 5 or later.
///
/// One script decides in one step, by the server's own clock. What it counts is exact to the nanosecond, as far as that clock is (to
/// the microsecond). A key of it is a prefix, the name of the limit and its caller's key in braces, and a quota; it expires when the
/// quota is full again, so what is held there is bounded by the keys that are in use. A quota that was changed is a new one, and full.
///
/// ```
/// use stonework::limit::{Quota, RedisStore, SharedRateLimiter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::open("redis://:secret@quotas.internal:6379/0")?; // nothing is connected yet
/// let logins = SharedRateLimiter::named("logins", store.clone(), [Quota::per_minute(5)])?;
/// let api = SharedRateLimiter::named("api", store, [Quota::per_second(50), Quota::per_hour(10_000)])?;
/// # let _ = (logins, api);
/// # Ok(()) }
/// ```
///
/// It is connected with the first question, by one connection for all clones, over which many questions are under way at once. One that was
/// lost is made anew with the next question; if it was lost under a question, that one is asked once more, and may be counted twice.
/// A connection over which nothing was heard for a second is given up.
///
/// *It has no limit of time of its own:* [`SharedRateLimiter`](super::SharedRateLimiter) has one. *Not covered:* TLS, for which a proxy
/// beside the process does; redirections in a cluster. *Know that* a server which evicts keys when its memory is full, or which fails
/// over to a copy that lags behind, forgets a part of what was taken; and that its clock decides: set forward, quotas are full
/// earlier, set back, a quota waits at most for the time in which all of it is earned.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    prefix: Arc<str>,
}

struct Shared {
    redis: Redis,
    script: Script,
}

impl RedisStore {
    /// On this server: `redis://user:password@host:port/database`, of which all but the host can be left out, or
    /// `unix:///path?db=0`. Nothing is connected before the first question, so it may be down.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis`].
    pub fn open(url: impl AsRef<str>) -> Result<Self, InvalidRedis> {
        let shared = Shared { redis: Redis::open(url.as_ref())?, script: Script::new(TAKE) };
        Ok(Self { shared: Arc::new(shared), prefix: "stonework:".into() })
    }

    /// The same, with what all of its keys begin with. Default: `stonework:`.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis::Prefix`], if it has a brace, or more than 128 bytes.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Result<Self, InvalidRedis> {
        Ok(Self { prefix: valid_prefix(prefix.as_ref())?.into(), ..self })
    }

    /// One Redis key for each quota. What stands in braces decides in which part of a cluster they are: the same.
    fn keys(&self, key: &str, quotas: &[Refill]) -> Vec<String> {
        let mut common = String::with_capacity(self.prefix.len() + key.len() + 3);
        common.push_str(&self.prefix);
        common.push('{');
        // It ends with the first closing brace, and must not be empty.
        common.push('=');
        for letter in key.chars() {
            match letter {
                '{' => common.push_str("%7B"),
                '}' => common.push_str("%7D"),
                '%' => common.push_str("%25"),
                plain => common.push(plain),
            }
        }
        common.push('}');
        let key = |quota: &Refill| {
            let mut key = common.clone();
            let _ = write!(key, ":{}ns:{}", quota.interval().as_nanos(), quota.most());
            key
        };
        quotas.iter().map(key).collect()
    }

    async fn ask(&self, keys: &[String], quotas: &[Refill], cost: u32) -> RedisResult<Vec<u64>> {
        let mut invocation = self.shared.script.prepare_invoke();
        for (key, quota) in keys.iter().zip(quotas) {
            let pace = quota.pace();
            invocation.key(key);
            for nanos in [pace.interval.saturating_mul(u64::from(cost)), pace.whole] {
                invocation.arg(nanos / 1000).arg(nanos % 1000);
            }
        }
        self.shared.redis.ask(&invocation).await
    }
}

impl QuotaStore for RedisStore {
    async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
        if key.len() > LONGEST_KEY {
            return Err(KeyTooLong.into());
        }
        let keys = self.keys(key, quotas);
        // What there never is cannot be waited for. It is only looked then, how much is left.
        let never = quotas.iter().position(|quota| cost > quota.most());
        let asked = if never.is_some() { 0 } else { cost };
        let answer = self.ask(&keys, quotas, asked).await?;
        let [short, wait_us, wait_ns, spent @ ..] = &answer[..] else { return Err(Misread.into()) };
        if spent.len() != 2 * quotas.len() {
            return Err(Misread.into());
        }
        let nanos = |us: u64, ns: u64| us.saturating_mul(1000).saturating_add(ns);
        let standing = |place: usize| quotas[place].standing(nanos(spent[2 * place], spent[2 * place + 1]));
        let short = usize::try_from(*short).unwrap_or(usize::MAX).checked_sub(1);
        Ok(match never.or(short) {
            None => Taken::All((0..quotas.len()).map(standing).collect()),
            Some(place) if place >= quotas.len() => return Err(Misread.into()),
            Some(place) => {
                let wait = Duration::from_nanos(nanos(*wait_us, *wait_ns));
                let retry_after = never.is_none().then_some(wait);
                Taken::Nothing(Shortage::new(place, standing(place).left(), retry_after))
            }
        })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client, in which there is a password.
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Quota;

    #[test]
    fn keys_of_one_key_are_in_one_part_of_a_cluster_and_no_two_are_the_same() {
        let store = RedisStore::open("redis://localhost").unwrap().prefix("shop:").unwrap();
        let quotas = [Quota::per_second(10), Quota::per_minute(1).burst(3)].map(|q| Refill::of(&q).unwrap());
        assert_eq!(
            store.keys("api\\a}b{c%", &quotas),
            ["shop:{=api\\a%7Db%7Bc%25}:100000000ns:10", "shop:{=api\\a%7Db%7Bc%25}:60000000000ns:3"]
        );
        assert_eq!(store.keys("", &quotas)[0], "shop:{=}:100000000ns:10");
        assert_ne!(store.keys("%7D", &quotas), store.keys("}", &quotas));
    }

    #[test]
    fn a_store_that_cannot_be_is_refused_and_its_password_is_not_shown() {
        for url in ["", "localhost", "http://localhost", "redis://:secret@/nonsense"] {
            assert_eq!(RedisStore::open(url).unwrap_err(), InvalidRedis::Url, "{url}");
        }
        let store = RedisStore::open("redis://user:secret@localhost:1/2").unwrap();
        assert!(!format!("{store:?}").contains("secret"));
        for prefix in ["a{b", "}", &"x".repeat(129)] {
            assert_eq!(store.clone().prefix(prefix).unwrap_err(), InvalidRedis::Prefix);
        }
    }
}
