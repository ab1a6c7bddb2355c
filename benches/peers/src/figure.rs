//! One line of what was measured, whichever group it comes from, and the targets that it is held to.

use std::fmt;

/// What one row costs in one case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) group: &'static str,
    /// What is called, which rows that are to be compared have in common: a request, a version of HTTP.
    pub(crate) of: &'static str,
    pub(crate) row: &'static str,
    pub(crate) case: &'static str,
    pub(crate) cost: Quantity,
    pub(crate) times: Vec<Times>,
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: Option<f64>,
    /// What else was seen on the way, by its name.
    pub(crate) besides: Vec<(&'static str, Quantity)>,
    pub(crate) targets: Vec<Target>,
}

impl Figure {
    /// With a cost, and nothing else yet.
    pub(crate) fn new([group, of, row, case]: [&'static str; 4], cost: Quantity) -> Self {
        let (times, besides, targets) = (Vec::new(), Vec::new(), Vec::new());
        Self { group, of, row, case, cost, times, instructions: None, allocations: None, besides, targets }
    }

    /// Sentences about the targets that are missed.
    pub(crate) fn missed(&self) -> impl Iterator<Item = String> {
        let Self { group, of, row, case, .. } = self;
        let named = [group, of, row, case].into_iter().filter(|name| !name.is_empty());
        let named = named.copied().collect::<Vec<_>>().join(", ");
        self.targets
            .iter()
            .filter(|target| !target.is_met())
            .map(move |target| format!("{named}: {} where the target is {}", target.found(), target.bound()))
    }
}

/// A cost by that of a peer in the same run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    pub(crate) peer: &'static str,
    pub(crate) times: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantity {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    /// Of something that is counted.
    Count,
    Megabytes,
    Micros,
    /// Millions in a second.
    Millions,
    Nanos,
    /// Part of something, or how many times as much.
    Ratio,
    /// Processor time of 100 000 requests.
    Seconds,
}

impl Unit {
    pub(crate) fn of(self, value: f64) -> Quantity {
        Quantity { value, unit: self }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::Count | Self::Ratio => "",
            Self::Megabytes => "MB",
            Self::Micros => "µs",
            Self::Millions => "M/s",
            Self::Nanos => "ns",
            Self::Seconds => "s",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.unit {
            // No -0.
            Unit::Nanos | Unit::Bytes => write!(f, "{:.0}", value.round() + 0.0)?,
            Unit::Count if value.fract() == 0.0 => write!(f, "{value:.0}")?,
            Unit::Count | Unit::Megabytes => write!(f, "{value:.1}")?,
            Unit::Millions | Unit::Micros if value >= 100.0 => write!(f, "{value:.0}")?,
            Unit::Millions | Unit::Micros | Unit::Ratio => write!(f, "{value:.2}")?,
            Unit::Seconds => write!(f, "{value:.3}")?,
        }
        match self.unit.name() {
            "" => Ok(()),
            name => write!(f, " {name}"),
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── targets

/// What a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    /// What is looked at, where it is not the cost; it is said behind its number.
    pub(crate) what: &'static str,
    pub(crate) found: Quantity,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

impl Target {
    pub(crate) fn is_met(&self) -> bool {
        let found = self.found.value;
        // What is no number meets nothing.
        match self.bound {
            Bound::AtLeast(least) => found >= least,
            Bound::AtMost(most) => found <= most,
            Bound::Exactly(number) => found == number,
        }
    }
}

impl Target {
    /// What it is held to, in words.
    pub(crate) fn bound(&self) -> String {
        let Self { what, found, bound } = self;
        words([&bound.to_string(), found.unit.name(), what])
    }

    /// What was found, in words.
    pub(crate) fn found(&self) -> String {
        words([&self.found.to_string(), self.what])
    }
}

fn words<const N: usize>(words: [&str; N]) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = |number: f64| (number * 100.0).round() / 100.0;
        match self {
            Self::AtLeast(least) => write!(f, "at least {}", rounded(*least)),
            Self::AtMost(most) => write!(f, "at most {}", rounded(*most)),
            Self::Exactly(number) => write!(f, "{number}"),
        }
    }
}

/// How many of all targets are met, and how many there are.
pub(crate) fn met(figures: &[Figure]) -> (usize, usize) {
    let targets = || figures.iter().flat_map(|figure| &figure.targets);
    (targets().filter(|target| target.is_met()).count(), targets().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(bound: Bound, found: f64) -> Target {
        Target { what: "", found: Unit::Nanos.of(found), bound }
    }

    #[test]
    fn a_target_is_met_up_to_its_bound_and_never_by_what_is_no_number() {
        for (bound, met, missed) in [
            (Bound::AtMost(45.0), 45.0, 45.1),
            (Bound::AtLeast(0.8), 0.8, 0.79),
            (Bound::Exactly(0.0), 0.0, 0.001),
        ] {
            assert!(target(bound, met).is_met(), "{bound}");
            assert!(!target(bound, missed).is_met(), "{bound}");
            assert!(!target(bound, f64::NAN).is_met(), "{bound}");
        }
    }

    #[test]
    fn a_miss_says_where_it_is_what_was_found_and_what_was_wanted() {
        let mut figure = Figure::new(["breaker", "", "ours", "ready"], Unit::Nanos.of(87.2));
        figure.targets = vec![
            target(Bound::AtMost(45.0), 87.2),
            Target { what: "scaling", found: Unit::Ratio.of(0.5), bound: Bound::AtLeast(0.8) },
            Target { what: "allocations", found: Unit::Count.of(0.0), bound: Bound::Exactly(0.0) },
        ];
        let missed: Vec<String> = figure.missed().collect();
        assert_eq!(
            missed,
            [
                "breaker, ours, ready: 87 ns where the target is at most 45 ns",
                "breaker, ours, ready: 0.50 scaling where the target is at least 0.8 scaling",
            ]
        );
        assert_eq!(met(&[figure]), (1, 3));
    }

    #[test]
    fn quantities_have_the_places_that_mean_something() {
        let shown = [
            Unit::Nanos.of(-0.2),
            Unit::Seconds.of(0.5654),
            Unit::Micros.of(5.617),
            Unit::Micros.of(608.4),
            Unit::Count.of(7.0),
            Unit::Count.of(43.94),
            Unit::Bytes.of(1600.0),
        ];
        let shown = shown.map(|quantity| quantity.to_string());
        assert_eq!(shown, ["0 ns", "0.565 s", "5.62 µs", "608 µs", "7", "43.9", "1600 B"]);
    }
}
