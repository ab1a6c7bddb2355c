//! Which of several counters a thread writes to, so that two cores do not write to the same cache line.

#[cfg(not(stonework_loom))]
use std::cell::Cell;
use std::sync::OnceLock;
#[cfg(not(stonework_loom))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

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
        (2 * cores).next_power_of_two().min(MOST_LANES)
    })
}

/// The counter of this thread, out of `lanes` of them, which is a power of two. Threads take turns, so those of a runtime
/// get one each.
#[cfg(not(stonework_loom))]
#[inline]
pub(crate) fn lane(lanes: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const NONE: usize = usize::MAX;
    thread_local! {
        static LANE: Cell<usize> = const { Cell::new(NONE) };
    }
    let mut lane = LANE.get();
    if lane == NONE {
        lane = NEXT.fetch_add(1, Relaxed) & (MOST_LANES - 1);
        LANE.set(lane);
    }
    lane & (lanes - 1)
}

/// The same where threads are loom's, which all run on one of the system's: by their own numbers, which every run gives anew.
#[cfg(stonework_loom)]
pub(crate) fn lane(lanes: usize) -> usize {
    let id = format!("{:?}", loom::thread::current().id());
    let number =
        id.bytes().filter(u8::is_ascii_digit).fold(0, |sum, digit| 10 * sum + usize::from(digit - b'0'));
    number & (lanes - 1)
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
}
