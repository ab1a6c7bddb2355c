//! The same key goes to the same endpoint, in every process, unless that has too much to do.
//!
//! Each endpoint has a score for each key, and the highest wins: rendezvous hashing (Thaler and Ravishankar, 1998), with
//! weights (Schindelhauer and Schomaker, 2005). When an endpoint goes, only its own keys move, and they move to all others alike;
//! when it is back, they come back. Nothing has to be kept for it, and shares are exact where a ring has them roughly. It
//! looks at every endpoint for each pick.
//!
//! None takes more than a quarter above its share of what is under way at that moment: "Consistent Hashing with Bounded
//! Loads", Mirrokni, Thorup and Zadimoghaddam, 2018. What is too much for it goes to its second best, and so on.

use std::hash::Hasher;

use fnv::FnvHasher;

use super::weighted::Weights;

/// The same for the same bytes, in every process and version of this crate: FNV-1a in 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// How much above its share one may have.
const ABOVE_SHARE: f64 = 1.25;

/// Picks one for this key. `name` is the hash of an endpoint's name; `busy` how many calls it has under way.
pub(super) fn by_key(
    key: u64,
    weights: &Weights,
    name: impl Fn(usize) -> u64,
    admits: impl Fn(usize) -> bool,
    busy: impl Fn(usize) -> u64,
) -> Option<usize> {
    let admitted = || (0..weights.len()).filter(|at| admits(*at));
    let (mut calls, mut sum) = (1.0, 0.0);
    for at in admitted() {
        calls += busy(at) as f64;
        sum += weights.of(at);
    }
    let has_room = |at: usize| {
        let most = (ABOVE_SHARE * calls * weights.of(at) / sum).ceil();
        (busy(at) as f64) < most
    };
    let score = |at: usize| score(mix(key ^ name(at)), weights.of(at));
    let best =
        admitted().filter(|at| has_room(*at)).max_by(|one, other| score(*one).total_cmp(&score(*other)));
    // Somebody has room: the most of all together are more than the calls. But they are counted while others come and go.
    best.or_else(|| admitted().min_by_key(|at| busy(*at)))
}

/// Of endpoints with these scores each is the highest as often as it weighs.
fn score(hash: u64, weight: f64) -> f64 {
    // With a bit more there is no room for the half: the highest would be rounded to 1, whose score is the lowest.
    let unit = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -weight / unit.ln()
}

/// The finaliser of splitmix64: hashes of near names and keys are near, and what is made of them is not.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn names(count: usize) -> Vec<u64> {
        (0..count).map(|at| hash(format!("10.0.0.{at}:80").as_bytes())).collect()
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000).map(|at| hash(format!("user-{at}").as_bytes()))
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // From the test suite of FNV.
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_mixes_is_the_published_finaliser() {
        // The first numbers of splitmix64 from the seed 0.
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(mix(step), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(step.wrapping_mul(2)), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn of_all_hashes_the_highest_has_the_highest_score() {
        let scores = [0, 1 << 40, 1 << 63, u64::MAX - (1 << 12), u64::MAX].map(|hash| score(hash, 1.0));
        assert!(scores.is_sorted_by(|one, other| one < other), "{scores:?}");
    }

    /// As computed elsewhere, from FNV-1a, the finaliser of splitmix64 and the published score: another process, or another version of
    /// this crate, sends a key to the same endpoint.
    #[test]
    fn a_key_goes_where_it_goes_in_every_other_process() {
        for (weights, picked) in [
            (vec![1; 10], "887893904260417058263334321888433545390452926634"),
            (vec![1, 2, 5, 1, 3], "222423204222412021212224321122433244324422421444"),
        ] {
            let names = names(weights.len());
            let table = Weights::new(weights);
            let pick = |key| by_key(key, &table, |at| names[at], |_| true, |_| 0).unwrap().to_string();
            assert_eq!(keys().take(48).map(pick).collect::<String>(), picked);
        }
    }

    #[test]
    fn keys_follow_the_weights() {
        for weights in [vec![1, 1, 1, 1, 1], vec![1, 2, 5]] {
            let (table, names) = (Weights::new(weights.clone()), names(weights.len()));
            let mut seen = vec![0.0; weights.len()];
            for key in keys() {
                seen[by_key(key, &table, |at| names[at], |_| true, |_| 0).unwrap()] += 1.0;
            }
            let sum = f64::from(weights.iter().sum::<u32>());
            for (at, weight) in weights.iter().enumerate() {
                let expected = 20_000.0 * f64::from(*weight) / sum;
                assert!((seen[at] - expected).abs() < 0.06 * expected, "{weights:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn when_one_goes_only_its_own_keys_move_and_they_move_to_all_others() {
        let (table, names) = (Weights::new([1; 5]), names(5));
        let pick =
            |key, admits: &dyn Fn(usize) -> bool| by_key(key, &table, |at| names[at], admits, |_| 0).unwrap();
        let mut moved = [0; 5];
        for key in keys() {
            let (before, after) = (pick(key, &|_| true), pick(key, &|at| at != 2));
            assert!(before == 2 || after == before);
            moved[after] += u32::from(before == 2);
        }
        assert!(moved.iter().enumerate().all(|(at, keys)| (at == 2) == (*keys == 0)), "{moved:?}");
        assert!(moved.iter().max() < Some(&1_200), "a quarter of some 4000 each: {moved:?}");
    }

    #[test]
    fn a_key_stays_as_long_as_its_endpoint_has_no_more_than_a_quarter_above_its_share() {
        // Of 16 calls or 13, this one among them, each may have 4.
        let (table, names) = (Weights::new([2; 5]), names(5));
        for key in keys().take(100) {
            let pick =
                |busy: &dyn Fn(usize) -> u64| by_key(key, &table, |at| names[at], |_| true, busy).unwrap();
            let home = pick(&|_| 0);
            assert_eq!(pick(&|_| 3), home);
            assert_ne!(pick(&|at| if at == home { 4 } else { 2 }), home);
        }
    }

    #[test]
    fn a_key_that_everybody_asks_for_overruns_nobody() {
        let (table, names) = (Weights::new([1; 5]), names(5));
        let busy: Vec<Cell<u64>> = vec![Cell::new(0); 5];
        for calls in 1..=1_000_u64 {
            let at = by_key(7, &table, |at| names[at], |_| true, |at| busy[at].get()).unwrap();
            busy[at].set(busy[at].get() + 1);
            let most = (1.25 * calls as f64 / 5.0).ceil() as u64;
            assert!(busy[at].get() <= most, "{} of {calls}", busy[at].get());
        }
        assert_eq!(by_key(7, &table, |at| names[at], |_| false, |_| 0), None);
    }
}
