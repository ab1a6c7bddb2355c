use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::Builder;

/// Run `work` to its end on a clock that stands still while there is anything to do, and leaps when there is not.
pub fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

/// The same experiment with each of so many seeds, each on a clock of its own, on all cores. Results come in the order of the seeds.
///
/// # Panics
///
/// If an experiment does.
pub fn each_seed<T: Send, F: Future<Output = T>>(seeds: u64, experiment: impl Fn(u64) -> F + Sync) -> Vec<T> {
    let (next, results) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let one_after_another = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let result = virtually(experiment(seed));
            results.lock().expect("nobody panics with it").push((seed, result));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(one_after_another)).collect();
        for thread in threads {
            thread.join().expect("an experiment does not panic");
        }
    });
    let mut results = results.into_inner().expect("nobody panics with it");
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}
