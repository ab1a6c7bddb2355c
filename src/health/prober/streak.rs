//! Decides when an endpoint is well. Nothing here waits, locks or reads a clock.

use crate::base::Fitness;

/// What the results of its probes say about one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streak {
    fitness: Fitness,
    /// Results in a row that speak against that.
    against: u32,
}

/// How many results in a row it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    /// Of those that pass, for one that is not well.
    pub(super) rise: u32,
    /// Of those that fail, for one that is.
    pub(super) fall: u32,
}

impl Streak {
    pub(super) const fn fitness(self) -> Fitness {
        self.fitness
    }

    pub(super) const fn is_known(self) -> bool {
        !matches!(self.fitness, Fitness::Unknown)
    }

    /// A probe has ended. What it was before, if that has changed it.
    ///
    /// The first result decides alone: there is nothing that it could be held against, and to wait for more would leave an
    /// endpoint unknown for longer.
    pub(super) fn record(&mut self, passed: bool, needed: Needed) -> Option<Fitness> {
        let found = if passed { Fitness::Fit } else { Fitness::Unfit };
        if self.fitness == found {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let enough = match self.fitness {
            Fitness::Unknown => 1,
            Fitness::Fit => needed.fall,
            Fitness::Unfit => needed.rise,
        };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        Some(std::mem::replace(&mut self.fitness, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Needed = Needed { rise: 2, fall: 3 };

    /// What is known after each of these results: `+` passed, `-` failed.
    fn after(results: &str) -> String {
        let mut streak = Streak::default();
        let known = results.chars().map(|result| {
            let before = streak.fitness();
            let was = streak.record(result == '+', NEEDED);
            assert_eq!(
                was,
                (before != streak.fitness()).then_some(before),
                "a change is told, and nothing else"
            );
            match streak.fitness() {
                Fitness::Fit => 'F',
                Fitness::Unfit => 'U',
                Fitness::Unknown => '?',
            }
        });
        known.collect()
    }

    #[test]
    fn the_first_result_decides_and_then_so_many_in_a_row() {
        for (results, known) in [
            ("", ""),
            ("+", "F"),
            ("-", "U"),
            ("+---", "FFFU"),
            ("-++", "UUF"),
            ("+--+--+---", "FFFFFFFFFU"),
            ("-+-+-+-++", "UUUUUUUUF"),
            ("+-+-+-+-+-", "FFFFFFFFFF"),
            ("+---++---", "FFFUUFFFU"),
        ] {
            assert_eq!(after(results), known, "{results}");
        }
    }

    #[test]
    fn with_thresholds_of_one_each_result_counts() {
        let mut streak = Streak::default();
        let once = Needed { rise: 1, fall: 1 };
        for passed in [true, false, true, false] {
            assert!(streak.record(passed, once).is_some());
        }
    }
}
