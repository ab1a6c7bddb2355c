use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Script, ScriptInvocation};

use super::{AfterCrash, Begun, Claim, Final, Held, InvalidEntry, NewClaim, Scope, Store};
use crate::base::redis::{Misread, Redis, valid_prefix};
use crate::base::{BoxError, InvalidRedis};

const SCRIPT: &str = include_str!("redis.lua");

/// As many milliseconds as the server still counts exactly when it has added two of them to the time; some ten thousand years.
const LONGEST: u64 = 1 << 51;

/// Keys in a Redis server, or one that speaks like it (Valkey), of version 5 or later: for several machines, and quick.
///
/// One script decides in one step, by the server's own clock. A key of it is a prefix and the scope, in 64 hexadecimal digits; it expires
/// when it is to be forgotten.
///
/// ```
/// use stonework::idempotency::RedisStore;
///
/// # fn main() -> Result<(), stonework::base::InvalidRedis> {
/// let store = RedisStore::open("redis://:secret@keys.internal:6379/0")?; // nothing is connected yet
/// let store = store.prefix("shop:")?; // for a server that several applications share
/// # let _ = store;
/// # Ok(()) }
/// ```
///
/// **What it remembers is as safe as that server.** It has to run with `maxmemory-policy noeviction`: one that evicts keys forgets what was done,
/// and does it again. What was written last is forgotten when it crashes without `appendonly yes` and `appendfsync always`, and when it
/// fails over to a copy, which always lags behind. Whoever cannot live with that takes a database.
///
/// It is connected with the first question, by one connection for all clones, over which many questions are under way at once. One that was
/// lost is made anew with the next question; a question under which it was lost is asked once more. A connection over which nothing was
/// heard for a second is given up.
///
/// *Errors:* those of the connection and the server, such as that its memory is full; [`InvalidEntry`] for what it did not write itself.
/// *Cancellation:* as every [`Store`]. *It has no limit of time of its own.* *Not covered:* TLS, for which a proxy beside the process does;
/// redirections in a cluster; a handler's own transaction, for which there is a store in a database. *Know that* its clock
/// decides: set forward, leases end earlier and keys are forgotten earlier; set back, later.
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
        let shared = Shared { redis: Redis::open(url.as_ref())?, script: Script::new(SCRIPT) };
        Ok(Self { shared: Arc::new(shared), prefix: "stonework:idempotency:".into() })
    }

    /// The same, with what all of its keys begin with. Default: `stonework:idempotency:`.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis::Prefix`], if it has a brace, or more than 128 bytes.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Result<Self, InvalidRedis> {
        Ok(Self { prefix: valid_prefix(prefix.as_ref())?.into(), ..self })
    }

    fn key(&self, scope: Scope) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 64);
        key.push_str(&self.prefix);
        for byte in scope.as_bytes() {
            for half in [byte >> 4, byte & 15] {
                key.push(char::from_digit(half.into(), 16).expect("half a byte is a digit"));
            }
        }
        key
    }

    fn of_claim(&self, what: &str, claim: &Claim) -> ScriptInvocation<'_> {
        let mut script = self.shared.script.key(self.key(claim.scope()));
        script.arg(what).arg(&claim.owner().to_bytes()[..]);
        script.arg(millis(claim.lease())).arg(millis(claim.keep()));
        script
    }

    async fn held(&self, script: &ScriptInvocation<'_>) -> Result<Held, BoxError> {
        let answer: Vec<Vec<u8>> = self.shared.redis.ask(script).await?;
        match answer.first().map(Vec::as_slice) {
            Some(b"yes") => Ok(Held::Yes),
            Some(b"ended") => Ok(Held::Ended),
            Some(b"lost") => Ok(Held::Lost),
            _ => Err(Misread.into()),
        }
    }
}

impl Store for RedisStore {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        let mut script = self.of_claim("begin", &claim.won(scope, 0));
        script.arg(&claim.fingerprint.as_bytes()[..]).arg(named(claim.after_crash));
        let answer: Vec<Vec<u8>> = self.shared.redis.ask(&script).await?;
        let mut parts = answer.into_iter();
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        Ok(match (first.as_slice(), second) {
            (b"run", Some(fence)) => {
                let fence = str::from_utf8(&fence).ok().and_then(|fence| fence.parse().ok());
                Begun::Run { fence: fence.ok_or(Misread)? }
            }
            (b"in flight", None) => Begun::InFlight,
            (b"mismatch", None) => Begun::Mismatch,
            (b"record", Some(record)) => Begun::Ended(Final::Record(record.into())),
            (b"too large", None) => Begun::Ended(Final::TooLarge),
            (b"indeterminate", None) => Begun::Ended(Final::Indeterminate),
            _ => return Err(InvalidEntry.into()),
        })
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.held(&self.of_claim("renew", claim)).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        let mut script = self.of_claim("complete", claim);
        let (state, record) = match end {
            Final::Record(record) => ("record", record.clone()),
            Final::TooLarge => ("too large", Bytes::new()),
            Final::Indeterminate => ("indeterminate", Bytes::new()),
        };
        self.held(script.arg(state).arg(&record[..])).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.held(self.of_claim("release", claim).arg(named(claim.after_crash()))).await
    }
}

const fn named(after_crash: AfterCrash) -> &'static str {
    match after_crash {
        AfterCrash::FailClosed => "closed",
        AfterCrash::Rerun => "rerun",
    }
}

/// Rounded up, so that nothing lasts shorter than it was said.
fn millis(length: Duration) -> u64 {
    let millis = length.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(LONGEST).min(LONGEST)
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_has_a_key_that_can_be_typed() {
        let store = RedisStore::open("redis://localhost").unwrap();
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (0x0a, 0xf0);
        let key = store.key(Scope::from_bytes(bytes));
        assert_eq!(key, format!("stonework:idempotency:0a{}f0", "00".repeat(30)));
        let store = store.prefix("shop:").unwrap();
        assert_eq!(store.key(Scope::from_bytes([1; 32])), format!("shop:{}", "01".repeat(32)));
    }

    #[test]
    fn a_store_that_cannot_be_is_refused_and_its_password_is_not_shown() {
        assert_eq!(RedisStore::open("keys.internal").unwrap_err(), InvalidRedis::Url);
        let store = RedisStore::open("redis://user:secret@localhost:1/2").unwrap();
        assert!(!format!("{store:?}").contains("secret"));
        assert_eq!(store.prefix("a{b").unwrap_err(), InvalidRedis::Prefix);
    }

    #[test]
    fn lengths_are_rounded_up_and_never_too_long_to_be_added() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(250)), 250);
        // Its numbers have 53 bits.
        let most = 2 * u128::from(millis(Duration::MAX)) + 2_000_000_000_000;
        assert!(most < 1 << 53, "{most}");
    }
}
