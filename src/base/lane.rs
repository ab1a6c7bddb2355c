//! Which of several counters a thread writes to, so that two cores do not write to the same cache line.

#[cfg(not(stonework_loom))]
use std::cell::Cell;
use std::sync::OnceLock;
#[cfg(not(stonework_loom))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

#[cfg(stonework_loom)]
use self::turn_in_loom as turn;

/// More than this many counters would cost more to sum up than they save.
pub(crate) const MOST_LANES: usize = 16;

/// How many counters to have: a power of two, and twice as many as there are cores, since threads come and go and the turns
/// that they take leave gaps. While loom explores interleavings there are two, whatever the machine: each one more is a
/// branch in every sum, and two show what many would.
pub(crate) fn lanes() -> usize {
    if cfg!(stonework_loom) {
        return 2;
    }
    static LANES: OnceLock<usize> = OnceLock::new();
    *LANES.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        lanes_of(cores)
    })
}

fn lanes_of(cores: usize) -> usize {
    (2 * cores).next_power_of_two().min(MOST_LANES)
}

/// The counter of this thread, out of `lanes` of them, which is a power of two.
#[inline]
pub(crate) fn lane(lanes: usize) -> usize {
    turn() & (lanes - 1)
}

/// The number of this thread. Threads take turns, so those of a runtime get a counter each.
#[cfg(not(stonework_loom))]
#[inline]
fn turn() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const NONE: usize = usize::MAX;
    thread_local! {
        static TURN: Cell<usize> = const { Cell::new(NONE) };
    }
    let mut turn = TURN.get();
    if turn == NONE {
        turn = NEXT.fetch_add(1, Relaxed);
        TURN.set(turn);
    }
    turn
}

/// The same where threads are loom's, which all run on one of the system's: by their own numbers, which every run gives anew.
#[cfg(stonework_loom)]
fn turn_in_loom() -> usize {
    let id = format!("{:?}", loom::thread::current().id());
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_lane_and_those_that_begin_one_after_the_other_differ() {
        assert!(lanes().is_power_of_two() && lanes() <= MOST_LANES);
        assert_eq!(lane(MOST_LANES), lane(MOST_LANES));
        assert_eq!(lane(1), 0);
        let lanes: std::collections::BTreeSet<_> =
            (0..MOST_LANES).map(|_| thread::spawn(|| lane(MOST_LANES)).join().expect("no panic")).collect();
        // Other tests start threads at the same time, which take some of the turns.
        assert!(lanes.len() > MOST_LANES / 4, "{lanes:?}");
    }

    #[test]
    fn there_are_twice_as_many_lanes_as_cores_or_a_few_more_up_to_a_limit() {
        for (cores, lanes) in [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (8, 16), (9, 16), (64, 16)] {
            assert_eq!(lanes_of(cores), lanes, "{cores}");
        }
        assert!(lanes() >= 2, "also with one core");
    }

    #[test]
    fn every_thread_has_a_lane_out_of_as_many_as_there_are() {
        for _ in 0..2 * MOST_LANES {
            let found = thread::spawn(|| [1, 2, 4, 8, 16].map(lane)).join().expect("no panic");
            let last = found[4];
            assert_eq!(found, [0, last % 2, last % 4, last % 8, last]);
            assert!(last < MOST_LANES);
        }
    }
}
