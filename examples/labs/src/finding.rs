use std::fmt;
use std::fmt::Write as _;

use crate::{Chart, Mean, Verdict};

/// With so many seeds or more, a mean decides. With fewer, what comes out on the wrong side of a bar is missed only if the whole of its
/// interval is there.
pub const ENOUGH: u64 = 20;

/// An experiment that was published, to be done again with the layers.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// By which it goes in tables, and on the command line.
    pub letter: char,
    /// In the name of its plot.
    pub name: &'static str,
    pub title: &'static str,
    /// Who published what: whole sentences.
    pub published: &'static str,
    pub examine: fn(seeds: u64) -> Finding,
}

/// What came of an experiment.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// Its tables, as a laboratory prints them.
    pub tables: String,
    /// What the layers do there, and how far: whole sentences.
    pub words: String,
    pub rows: Vec<Row>,
    pub charts: Vec<Chart>,
}

/// A figure, and the bar that it is held to.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    /// The same where it was published, or by a model of that.
    pub published: String,
    pub ours: Figure,
    pub bar: Bar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Held,
    Missed,
    /// Too few seeds to tell.
    Open,
}

/// A value, or those of all runs.
#[derive(Clone, Debug)]
pub struct Figure {
    value: f64,
    /// As far as it may be from what more seeds would show; or as far as the runs are apart.
    from: f64,
    to: f64,
    kind: Kind,
    digits: usize,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mean,
    Every,
    Together,
}

/// What a figure must be. It counts in the unit of the figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    Between(f64, f64),
}

impl Finding {
    /// A line of a table.
    pub fn say(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.tables, "{line}");
    }

    pub fn hold(&mut self, what: impl Into<String>, published: impl Into<String>, ours: Figure, bar: Bar) {
        self.rows.push(Row { what: what.into(), published: published.into(), ours, bar });
    }

    /// Print its tables, and claim what it is held to.
    pub fn tell(&self, experiment: &Experiment, seeds: u64, verdict: &mut Verdict) {
        println!("\n{}. {}\n\n{}", experiment.letter, experiment.title, self.tables);
        for row in &self.rows {
            let told = format!("{}: {}; to be {}", row.what, row.ours, row.bar_text());
            match row.judge(seeds) {
                Judgement::Open => println!("  open:   {told}, of which {seeds} seeds cannot tell"),
                judged => verdict.claim(judged == Judgement::Held, told),
            }
        }
    }
}

impl Row {
    #[must_use]
    pub fn judge(&self, seeds: u64) -> Judgement {
        let Figure { value, from, to, kind, .. } = self.ours;
        let is_met = match kind {
            Kind::Every => self.bar.is_met(from, from) && self.bar.is_met(to, to),
            Kind::Mean | Kind::Together => self.bar.is_met(value, value),
        };
        let is_unclear = seeds < ENOUGH && kind != Kind::Every && self.bar.is_met(from, to);
        match (is_met, is_unclear) {
            (true, _) => Judgement::Held,
            (false, true) => Judgement::Open,
            (false, false) => Judgement::Missed,
        }
    }

    #[must_use]
    pub fn bar_text(&self) -> String {
        let unit = self.ours.unit;
        // Without the dust of arithmetic.
        let shown = |bar: f64| (bar * 1e4).round() / 1e4;
        match self.bar {
            Bar::AtMost(most) => format!("at most {}{unit}", shown(most)),
            Bar::AtLeast(least) => format!("at least {}{unit}", shown(least)),
            Bar::Between(least, most) if least.to_bits() == most.to_bits() => format!("{least}{unit}"),
            Bar::Between(least, most) => format!("{} to {}{unit}", shown(least), shown(most)),
        }
    }
}

impl Bar {
    /// Whether something from one to the other does. What is not a number never does.
    fn is_met(self, from: f64, to: f64) -> bool {
        match self {
            Self::AtMost(most) => from <= most,
            Self::AtLeast(least) => to >= least,
            Self::Between(least, most) => to >= least && from <= most,
        }
    }
}

impl Figure {
    /// The mean of all seeds, shown with so many digits. The unit has a space before it, if it wants one.
    #[must_use]
    pub fn mean(mean: Mean, digits: usize, unit: &'static str) -> Self {
        Self { kind: Kind::Mean, ..Self::together(mean.mean, mean.within, digits, unit) }
    }

    /// The runs one by one: a bar holds for each.
    #[must_use]
    pub fn every(mean: Mean, digits: usize, unit: &'static str) -> Self {
        let Mean { mean: value, least: from, most: to, .. } = mean;
        Self { value, from, to, kind: Kind::Every, digits, unit }
    }

    /// Of all runs together, as a count of what happened, or a quantile.
    #[must_use]
    pub fn together(value: f64, within: f64, digits: usize, unit: &'static str) -> Self {
        Self { value, from: value - within, to: value + within, kind: Kind::Together, digits, unit }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, from, to, kind, digits, unit } = self;
        let shown = |value: &f64| format!("{value:.digits$}");
        match kind {
            Kind::Every if shown(from) == shown(to) => write!(f, "{}{unit} in every run", shown(to)),
            Kind::Every => write!(f, "{} to {}{unit} in all runs", shown(from), shown(to)),
            Kind::Together if from.to_bits() == to.to_bits() => write!(f, "{}{unit}", shown(value)),
            Kind::Mean | Kind::Together => {
                write!(f, "{} ± {}{unit}", shown(value), shown(&((to - from) / 2.0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ours: Figure, bar: Bar, seeds: u64) -> Judgement {
        Row { what: String::new(), published: String::new(), ours, bar }.judge(seeds)
    }

    #[test]
    fn a_mean_beyond_its_bar_is_missed_and_few_seeds_leave_open_what_they_cannot_tell() {
        use Judgement::{Held, Missed, Open};
        for (value, bar, many, few) in [
            (1.0, Bar::AtMost(1.0), Held, Held),
            (1.5, Bar::AtMost(1.0), Missed, Open),
            (3.5, Bar::AtMost(1.0), Missed, Missed),
            (0.5, Bar::AtLeast(1.0), Missed, Open),
            (-1.5, Bar::AtLeast(1.0), Missed, Missed),
            (1.5, Bar::Between(1.0, 2.0), Held, Held),
            (0.5, Bar::Between(1.0, 2.0), Missed, Open),
            (9.5, Bar::Between(1.0, 2.0), Missed, Missed),
            (f64::NAN, Bar::Between(1.0, 2.0), Missed, Missed),
        ] {
            let ours = || Figure::together(value, 1.0, 1, " %");
            assert_eq!(judged(ours(), bar, ENOUGH), many, "{value} {bar:?}");
            assert_eq!(judged(ours(), bar, ENOUGH - 1), few, "{value} {bar:?}");
        }
    }

    #[test]
    fn a_bar_for_every_run_is_missed_by_one_however_few_there_are() {
        let runs = Figure::every(Mean::of(&[1.0, 2.0, 3.0]), 0, "");
        for (bar, expected) in [
            (Bar::AtMost(3.0), Judgement::Held),
            (Bar::AtMost(2.5), Judgement::Missed),
            (Bar::AtLeast(1.5), Judgement::Missed),
            (Bar::Between(1.0, 3.0), Judgement::Held),
        ] {
            assert_eq!(judged(runs.clone(), bar, 3), expected, "{bar:?}");
        }
    }

    #[test]
    fn a_figure_says_how_sure_it_is() {
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(Figure::mean(mean, 1, " ms").to_string(), "2.5 ± 2.0 ms");
        assert_eq!(Figure::every(mean, 1, " %").to_string(), "1.0 to 4.0 % in all runs");
        assert_eq!(Figure::every(Mean::of(&[1.0, 1.0]), 0, "").to_string(), "1 in every run");
        assert_eq!(Figure::together(1.0, 0.5, 1, " %").to_string(), "1.0 ± 0.5 %");
        assert_eq!(Figure::together(1.0, 0.0, 0, "").to_string(), "1");
    }
}
