//! The one source of chance.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::sync::Padded;
use super::{MOST_LANES, WallClock, lane};

const NANOS: u128 = 1_000_000_000;

/// A handle to one stream of random numbers, used through `&self` and shared by cloning.
///
/// Clones draw from the same stream, and no two draws of a stream return the same 64 bits, whichever threads make them.
/// So a layer that clones its handle into every call gives each call its own jitter; were the *state* cloned, all calls
/// would wait the same time and come back together.
///
/// A draw is one atomic addition and a few multiplications, and takes no lock. From [entropy](Self::from_entropy) it adds to
/// one of sixteen counts, which few threads share; from a [seed](Self::seeded) all threads add to one. The numbers are good
/// enough for jitter, sampling and load balancing. They are **not** secret: do not make tokens or passwords of them.
///
/// ```
/// use stonework::base::Rng;
///
/// let (one, other) = (Rng::seeded(7), Rng::seeded(7));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(Rng::from_entropy().unit() < 1.0);
/// ```
#[derive(Clone)]
pub struct Rng {
    stream: Arc<Stream>,
}

struct Stream {
    start: u64,
    // Odd, so that `start + n * step` meets every 64-bit number once before it repeats.
    step: u64,
    source: Source,
}

enum Source {
    /// The same in every run: this counts the draws.
    Seed(AtomicU64),
    /// Different in every run: [`DRAWN`] counts.
    Entropy(Ids),
}

/// The draws of all streams from entropy, by lane: one count would be what all threads wait for. Each lane has numbers of its own.
static DRAWN: [Padded<AtomicU64>; MOST_LANES] = [const { Padded(AtomicU64::new(0)) }; MOST_LANES];

/// A number that no other draw from entropy in this process gets.
fn draw() -> u64 {
    let lane = lane(MOST_LANES);
    // Relaxed: only the count itself must be handed out once; nothing else is published by it.
    let drawn = DRAWN[lane].0.fetch_add(1, Ordering::Relaxed);
    drawn.wrapping_mul(MOST_LANES as u64).wrapping_add(lane as u64)
}

/// A hash that nobody outside can foresee, or they could make all keys fall into one place.
#[cfg(feature = "limit")]
pub(crate) type UnforeseenHash = RandomState;

/// Two keyed hashes for identifiers, one for each half.
struct Ids {
    high: RandomState,
    low: RandomState,
}

impl Rng {
    /// A stream that is the same in every run and on every machine: for tests and simulations.
    ///
    /// Handles made from different seeds have different streams.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let step = fastrand::Rng::with_seed(seed).u64(..);
        // The finaliser is one to one, so different seeds start at different places.
        Self::from_parts(finish(seed), step, Source::Seed(AtomicU64::new(0)))
    }

    /// A stream that differs in every handle and every process: what a running service wants.
    #[must_use]
    pub fn from_entropy() -> Self {
        let ids = Ids { high: RandomState::new(), low: RandomState::new() };
        let made = ticket();
        Self::from_parts(
            ids.high.hash_one((2_u8, made)),
            ids.low.hash_one((3_u8, made)),
            Source::Entropy(ids),
        )
    }

    fn from_parts(start: u64, step: u64, source: Source) -> Self {
        let mut step = step | 1;
        // A step of long runs of equal bits mixes badly; this is the remedy of SplittableRandom (Steele, Lea, Flood 2014).
        if (step ^ (step >> 1)).count_ones() < 24 {
            step ^= 0xaaaa_aaaa_aaaa_aaaa;
        }
        Self { stream: Arc::new(Stream { start, step, source }) }
    }

    /// The next number. No other draw from this stream returns the same one, short of 2⁶⁴ of them.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        let Stream { start, step, source } = &*self.stream;
        let n = match source {
            Source::Seed(drawn) => drawn.fetch_add(1, Ordering::Relaxed),
            Source::Entropy(_) => draw(),
        };
        finish(start.wrapping_add(n.wrapping_mul(*step)))
    }

    /// A number in `0..n`, each as likely as another; 0 if `n` is 0.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        // Lemire's method (2019): the high half of the product, less the few draws that would favour some results.
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let unfair = n.wrapping_neg() % n;
            while (product as u64) < unfair {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// A number from 0 up to but without 1, in steps of 2⁻⁵³.
    #[must_use]
    pub fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration from zero up to and with `most`, to the nanosecond, each as likely as another.
    #[must_use]
    pub fn duration_below(&self, most: Duration) -> Duration {
        let most = most.as_nanos();
        match u64::try_from(most) {
            Ok(nanos) if nanos < u64::MAX => Duration::from_nanos(self.below(nanos + 1)),
            // More than five centuries. Draw until it fits: at least every second draw does.
            _ => {
                let mask = u128::MAX >> most.leading_zeros();
                loop {
                    let nanos = self.wide() & mask;
                    if nanos <= most {
                        return Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32);
                    }
                }
            }
        }
    }

    /// 128 bits for an identifier, such as an idempotency key.
    ///
    /// From a handle made [from entropy](Self::from_entropy) no two are alike, as far as 128 bits allow: not among
    /// threads, handles, processes or machines, and not after a `fork`. They come from keyed hashes and not from the
    /// stream, whose 64 bits would collide among many processes. From a [seeded](Self::seeded) handle they are as
    /// repeatable as the rest, and unique within that handle alone.
    #[must_use]
    pub fn unique_id(&self) -> u128 {
        let Source::Entropy(ids) = &self.stream.source else { return self.wide() };
        // The ticket differs within a process. The keys differ among processes, except after a fork or in a restored
        // snapshot of a machine: there the process number and the time do.
        let now = WallClock::system().now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Nanoseconds fit until the year 2554. An array is hashed in one step, and a tuple in as many as it has parts.
        let name = [ticket(), u64::from(std::process::id()), now.as_nanos() as u64];
        let (high, low) = (ids.high.hash_one(name), ids.low.hash_one(name));
        (u128::from(high) << 64) | u128::from(low)
    }

    fn wide(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }
}

/// The same as [`Rng::from_entropy`].
impl Default for Rng {
    fn default() -> Self {
        Self::from_entropy()
    }
}

/// Says only where the stream comes from: the numbers to come are nobody's business.
impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng")
            .field("seeded", &matches!(self.stream.source, Source::Seed(_)))
            .finish_non_exhaustive()
    }
}

/// A number that this process hands out once.
fn ticket() -> u64 {
    static TICKETS: AtomicU64 = AtomicU64::new(0);
    TICKETS.fetch_add(1, Ordering::Relaxed)
}

/// The finaliser of splitmix64: one to one, and every bit of the input moves every bit of the result.
const fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_seed_another() {
        let draw = |seed| {
            let rng = Rng::seeded(seed);
            (0..1_000).map(|_| rng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        let all: HashSet<u64> = (0..64).flat_map(draw).collect();
        assert!(all.len() > 63_990, "the streams of near seeds overlap: {}", all.len());
        assert_ne!(Rng::from_entropy().next_u64(), Rng::from_entropy().next_u64());
        assert_eq!(Rng::seeded(7).unique_id(), Rng::seeded(7).unique_id());
    }

    #[test]
    fn concurrent_callers_of_one_handle_never_see_the_same_number() {
        for rng in [Rng::seeded(1), Rng::from_entropy()] {
            // More threads than lanes, so that some share one.
            let drawn: Vec<u64> = thread::scope(|scope| {
                let draw = || (0..1_000).map(|_| rng.next_u64()).collect::<Vec<_>>();
                let threads: Vec<_> = (0..20).map(|_| scope.spawn(draw)).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 20_000, "{rng:?}");
        }
    }

    #[test]
    fn identifiers_differ_among_handles_and_threads_and_in_every_bit() {
        let ids: Vec<u128> = thread::scope(|scope| {
            let draw = || {
                let rng = Rng::from_entropy();
                (0..5_000).map(|_| rng.unique_id()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 20_000);
        for half in [|id: &u128| (*id >> 64) as u64, |id: &u128| *id as u64] {
            assert_eq!(ids.iter().map(half).collect::<HashSet<_>>().len(), 20_000);
        }
        for bit in 0..128 {
            let set = ids.iter().filter(|id| (**id >> bit) & 1 == 1).count();
            assert!((9_200..10_800).contains(&set), "bit {bit} is set in {set} of 20 000");
        }
    }

    #[test]
    fn numbers_below_a_limit_are_all_equally_likely() {
        let rng = Rng::seeded(3);
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            seen[rng.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        let mean = (0..100_000).map(|_| rng.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn durations_reach_both_ends_and_never_overflow() {
        let rng = Rng::seeded(5);
        let drawn: HashSet<_> = (0..200).map(|_| rng.duration_below(Duration::from_nanos(3))).collect();
        assert_eq!(drawn.len(), 4);
        assert_eq!(rng.duration_below(Duration::ZERO), Duration::ZERO);
        let longest = (0..100).map(|_| rng.duration_below(Duration::MAX)).max();
        assert!(longest > Some(Duration::MAX / 2));
        let edge = Duration::from_nanos(u64::MAX);
        assert!((0..100).all(|_| rng.duration_below(edge) <= edge));
    }

    #[test]
    fn a_handle_is_send_and_sync_and_keeps_its_state_to_itself() {
        fn check<T: Send + Sync + Clone + 'static>(_: &T) {}
        let rng = Rng::seeded(12_345);
        check(&rng);
        assert_eq!(format!("{rng:?}"), "Rng { seeded: true, .. }");
    }

    #[test]
    fn its_numbers_are_mixed_as_splitmix64_mixes_them() {
        // The first numbers of the reference implementation (Vigna 2015) for the seed 1234567.
        let mut state = 1_234_567_u64;
        for number in [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ] {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            assert_eq!(finish(state), number);
        }
    }

    #[test]
    fn a_step_is_odd_and_has_no_long_runs_of_equal_bits() {
        let remedied = |step: u64| step ^ 0xaaaa_aaaa_aaaa_aaaa;
        for (step, expected) in [
            (1, remedied(1)),
            (u64::MAX, remedied(u64::MAX)),
            // 23 changes from one bit to the next, 25 and 63.
            (0x0055_5555, remedied(0x0055_5555)),
            (0x0155_5555, 0x0155_5555),
            (0x5555_5555_5555_5555, 0x5555_5555_5555_5555),
            (0x5555_5555_5555_5554, 0x5555_5555_5555_5555),
        ] {
            let rng = Rng::from_parts(0, step, Source::Seed(AtomicU64::new(0)));
            assert_eq!(rng.stream.step, expected, "{step:#x}");
            assert_eq!(expected % 2, 1);
        }
    }

    #[test]
    fn results_that_more_numbers_would_lead_to_are_no_likelier() {
        // Of four numbers in a row, two would lead to a multiple of three.
        let rng = Rng::seeded(9);
        let mut seen = [0_u32; 3];
        for _ in 0..30_000 {
            seen[(rng.below(3 << 62) % 3) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_long_duration_is_what_was_drawn_to_the_nanosecond() {
        let (rng, twin) = (Rng::seeded(11), Rng::seeded(11));
        let all = (1_u128 << 70) - 1;
        let most = Duration::new((all / NANOS) as u64, (all % NANOS) as u32);
        for _ in 0..100 {
            assert_eq!(rng.duration_below(most).as_nanos(), twin.wide() & all);
        }
    }

    #[test]
    fn a_ticket_is_handed_out_once() {
        assert_eq!((0..1_000).map(|_| ticket()).collect::<HashSet<_>>().len(), 1_000);
    }
}
