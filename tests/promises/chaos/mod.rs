//! The assembled client against the assembled server over a network that breaks, in virtual time: what has to hold whatever happens, holds.
//!
//! A seed is a network, a client, a server and some sixty calls. More of them: `STONEWORK_SEEDS=1000`; one alone, with its trace: `STONEWORK_SEED=7`.

mod asks;
mod callers;
mod clock;
mod shop;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;

use stonework::testing::chaos::Counts;

use self::world::play;

/// The seeds that are played; by hand as many as one likes.
fn seeds(unless_told: u64) -> Range<u64> {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match number("STONEWORK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STONEWORK_SEEDS").unwrap_or(unless_told),
    }
}

#[test]
fn nothing_is_done_twice_mixed_up_late_or_left_behind_whatever_the_network_does() {
    let alone = env::var_os("STONEWORK_SEED").is_some();
    let (mut failed, mut counts, mut endings) = (Vec::new(), [0; 6], BTreeMap::new());
    for seed in seeds(20) {
        let story = play(seed);
        if alone {
            println!("{}", story.trace.join("\n"));
        }
        let Counts { made, refused, hangs, resets, silences, bytes, .. } = story.counts;
        for (sum, count) in counts.iter_mut().zip([made, refused, hangs, resets, silences, bytes]) {
            *sum += count;
        }
        for (how, count) in story.endings {
            *endings.entry(how).or_insert(0) += count;
        }
        if !story.broken.is_empty() {
            failed.push(format!("seed {seed}:\n  {}", story.broken.join("\n  ")));
        }
    }
    assert!(
        failed.is_empty(),
        "\n{}\nOne alone: STONEWORK_SEED=… cargo test --test promises chaos::nothing -- --nocapture\n",
        failed.join("\n")
    );
    println!(
        "connections made, refused, hanging, reset, silent, and bytes: {counts:?}; calls that ended: {endings:?}"
    );
    // Or it was no storm.
    let all = [
        "Done",
        "Left",
        "Failed(NotSent)",
        "Failed(Unknown)",
        "Failed(Answered)",
        "Status(500)",
        "Status(503)",
    ];
    let missing: Vec<_> = all.iter().filter(|how| !endings.contains_key(**how)).collect();
    assert!(
        alone || (counts.iter().all(|count| *count > 0) && missing.is_empty()),
        "{counts:?}, never {missing:?}"
    );
}

#[test]
fn the_same_seed_is_the_same_story_to_the_last_byte() {
    for seed in seeds(20) {
        let (one, other) = (play(seed), play(seed));
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert!(differs.is_none(), "seed {seed}: {differs:#?}");
        assert_eq!(one.trace.len(), other.trace.len(), "seed {seed}");
    }
}
