//! Which endpoints are probed, whose turn it is, and what is known of each. Nothing here waits, locks or reads a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::pace::Pace;
use super::streak::{Needed, Streak};
use super::{ProbedEndpoint, ProberSettings};
use crate::base::{EndpointId, Fitness, Rng};
use crate::health::Verdict;

/// All endpoints, and what has to be told of them.
#[derive(Debug)]
pub(super) struct Roster {
    needed: Needed,
    most: usize,
    pace: Pace,
    entries: BTreeMap<EndpointId, Entry>,
    /// Those that were never probed: they go first.
    new: VecDeque<EndpointId>,
    /// The others; the one that was probed the longest time ago is the first.
    turns: VecDeque<EndpointId>,
    /// The last number that was given to an endpoint.
    last: u64,
    news: Vec<News>,
    /// Somebody is telling the news just now.
    telling: bool,
    /// Nobody probes any more.
    over: bool,
}

/// One endpoint.
#[derive(Debug)]
struct Entry {
    /// One that was removed and is added again is another one, and is told apart by this.
    number: u64,
    streak: Streak,
    is_running: bool,
    probes: u64,
    failures: u64,
    at: Option<Instant>,
    output: Option<Arc<str>>,
}

/// A probe of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) endpoint: EndpointId,
    pub(super) number: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Start(Turn),
    /// Nothing before that.
    At(Instant),
    /// Nothing, until a probe ends or endpoints are added.
    Rest,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    pub(super) endpoint: EndpointId,
    pub(super) from: Fitness,
    pub(super) to: Fitness,
    /// What the probe said that has changed it.
    pub(super) output: Option<Arc<str>>,
}

/// Whether there is a result of every endpoint, and everybody was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum First {
    Known,
    Waits,
    /// It will never be known.
    Never,
}

impl Roster {
    pub(super) fn new(settings: ProberSettings, now: Instant) -> Self {
        Self {
            needed: Needed { rise: settings.rise, fall: settings.fall },
            most: settings.max_at_once,
            pace: Pace::new(settings.interval, now),
            entries: BTreeMap::new(),
            new: VecDeque::new(),
            turns: VecDeque::new(),
            last: 0,
            news: Vec::new(),
            telling: false,
            over: false,
        }
    }

    /// These are the endpoints from now on.
    pub(super) fn set(&mut self, endpoints: BTreeSet<EndpointId>, now: Instant, rng: &Rng) {
        let gone: Vec<_> = self.entries.keys().filter(|old| !endpoints.contains(*old)).cloned().collect();
        for endpoint in gone {
            if let Some(entry) = self.entries.remove(&endpoint) {
                self.forget(endpoint, &entry);
            }
        }
        let entries = &self.entries;
        self.new.retain(|endpoint| entries.contains_key(endpoint));
        self.turns.retain(|endpoint| entries.contains_key(endpoint));
        let mut added: Vec<_> = endpoints.into_iter().filter(|new| !entries.contains_key(new)).collect();
        if added.is_empty() {
            return;
        }
        for endpoint in &added {
            self.last += 1;
            self.entries.insert(endpoint.clone(), Entry::new(self.last));
        }
        // In an order of its own, so that a fleet does not ask the same endpoints in the same order.
        for at in (1..added.len()).rev() {
            added.swap(at, rng.below(at as u64 + 1) as usize);
        }
        // Those who come while others wait do not hold these up.
        if self.new.is_empty() {
            self.pace.added(self.entries.len(), now, rng);
        }
        self.new.extend(added);
    }

    /// What is to be done, while so many probes are running.
    pub(super) fn step(&mut self, running: usize, now: Instant, rng: &Rng) -> Step {
        if running >= self.most {
            return Step::Rest;
        }
        let first = !self.new.is_empty();
        // One whose probe still runs is passed over.
        let is_idle =
            |endpoint: &EndpointId| self.entries.get(endpoint).is_some_and(|entry| !entry.is_running);
        let place = if first { Some(0) } else { self.turns.iter().position(is_idle) };
        let Some(place) = place else { return Step::Rest };
        let due = self.pace.due(self.entries.len(), first);
        if now < due {
            return Step::At(due);
        }
        let taken = if first { self.new.pop_front() } else { self.turns.remove(place) };
        let Some(endpoint) = taken else { return Step::Rest };
        self.turns.push_back(endpoint.clone());
        let Some(entry) = self.entries.get_mut(&endpoint) else { return Step::Rest };
        entry.is_running = true;
        self.pace.started(due, first, now, rng);
        Step::Start(Turn { endpoint, number: entry.number })
    }

    /// Whether this probe is still wanted.
    pub(super) fn wants(&self, turn: &Turn) -> bool {
        self.entries.get(&turn.endpoint).is_some_and(|entry| entry.number == turn.number)
    }

    /// A probe has ended. It is of no account if its endpoint was removed meanwhile.
    pub(super) fn record(&mut self, turn: &Turn, verdict: Verdict, now: Instant) {
        let entry = self.entries.get_mut(&turn.endpoint).filter(|entry| entry.number == turn.number);
        let Some(entry) = entry else { return };
        let (state, output) = verdict.into_parts();
        entry.is_running = false;
        entry.probes = entry.probes.saturating_add(1);
        entry.failures = entry.failures.saturating_add(u64::from(!state.is_good()));
        entry.at = Some(now);
        entry.output.clone_from(&output);
        if let Some(from) = entry.streak.record(state.is_good(), self.needed) {
            let (endpoint, to) = (turn.endpoint.clone(), entry.streak.fitness());
            self.news.push(News { endpoint, from, to, output });
        }
    }

    /// Nobody probes any more: nothing is known from now on.
    pub(super) fn end(&mut self) {
        self.over = true;
        for (endpoint, entry) in std::mem::take(&mut self.entries) {
            self.forget(endpoint, &entry);
        }
        self.new.clear();
        self.turns.clear();
    }

    /// What was known of one that is no longer probed says nothing any more.
    fn forget(&mut self, endpoint: EndpointId, entry: &Entry) {
        if entry.streak.is_known() {
            let from = entry.streak.fitness();
            self.news.push(News { endpoint, from, to: Fitness::Unknown, output: None });
        }
    }

    /// What has to be told, until [`told`](Self::told).
    pub(super) fn take_news(&mut self) -> Vec<News> {
        self.telling = !self.news.is_empty();
        std::mem::take(&mut self.news)
    }

    pub(super) fn told(&mut self) {
        self.telling = false;
    }

    pub(super) fn first(&self) -> First {
        let all_known = self.entries.values().all(|entry| entry.streak.is_known());
        if self.over {
            First::Never
        } else if all_known && self.news.is_empty() && !self.telling {
            First::Known
        } else {
            First::Waits
        }
    }

    pub(super) fn fitness(&self, endpoint: &EndpointId) -> Fitness {
        self.entries.get(endpoint).map_or(Fitness::Unknown, |entry| entry.streak.fitness())
    }

    pub(super) fn endpoints(&self, now: Instant) -> Vec<ProbedEndpoint> {
        let probed = |(id, entry): (&EndpointId, &Entry)| ProbedEndpoint {
            id: id.clone(),
            fitness: entry.streak.fitness(),
            running: entry.is_running,
            probes: entry.probes,
            failures: entry.failures,
            age: entry.at.map(|at| now.saturating_duration_since(at)),
            output: entry.output.clone(),
        };
        self.entries.iter().map(probed).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    fn new(number: u64) -> Self {
        Self {
            number,
            streak: Streak::default(),
            is_running: false,
            probes: 0,
            failures: 0,
            at: None,
            output: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ids(names: &[&str]) -> BTreeSet<EndpointId> {
        names.iter().map(|name| EndpointId::from(*name)).collect()
    }

    fn roster(names: &[&str], settings: ProberSettings, now: Instant) -> (Roster, Rng) {
        let (mut roster, rng) = (Roster::new(settings, now), Rng::seeded(1));
        roster.set(ids(names), now, &rng);
        (roster, rng)
    }

    /// The next probe, whenever that is.
    fn next(roster: &mut Roster, running: usize, now: &mut Instant, rng: &Rng) -> Turn {
        loop {
            match roster.step(running, *now, rng) {
                Step::Start(turn) => return turn,
                Step::At(due) => {
                    assert!(due > *now);
                    *now = due;
                }
                Step::Rest => panic!("there is something to do"),
            }
        }
    }

    fn told(roster: &mut Roster) -> Vec<(String, Fitness)> {
        let news = roster.take_news();
        roster.told();
        news.into_iter().map(|news| (news.endpoint.to_string(), news.to)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_turn_and_those_who_are_new_go_first() {
        let mut now = Instant::now();
        let (mut roster, rng) = roster(&["a", "b", "c"], ProberSettings::new(), now);
        let mut round = || {
            let mut all: Vec<_> = (0..3)
                .map(|_| {
                    let turn = next(&mut roster, 0, &mut now, &rng);
                    roster.record(&turn, Verdict::pass(), now);
                    turn.endpoint.to_string()
                })
                .collect();
            let order = all.concat();
            all.sort();
            assert_eq!(all.concat(), "abc");
            order
        };
        let order = round();
        assert_eq!((round(), round()), (order.clone(), order), "the one that has waited the longest");
        roster.set(ids(&["a", "b", "c", "d"]), now, &rng);
        let before = now;
        assert_eq!(next(&mut roster, 0, &mut now, &rng).endpoint.as_str(), "d");
        assert!(now - before <= SECOND * 11 / 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_probe_runs_is_passed_over_and_no_more_run_than_may() {
        let mut now = Instant::now();
        let (mut roster, rng) = roster(&["a", "b"], ProberSettings::new().max_at_once(2), now);
        let slow = next(&mut roster, 0, &mut now, &rng);
        let other = next(&mut roster, 1, &mut now, &rng);
        assert_eq!(roster.step(2, now + 60 * SECOND, &rng), Step::Rest, "no place");
        assert_eq!(roster.step(1, now + 60 * SECOND, &rng), Step::Rest, "both of them run");
        roster.record(&other, Verdict::pass(), now);
        for _ in 0..3 {
            let again = next(&mut roster, 1, &mut now, &rng);
            assert_eq!(again.endpoint, other.endpoint);
            roster.record(&again, Verdict::pass(), now);
        }
        roster.record(&slow, Verdict::pass(), now);
        assert_eq!(next(&mut roster, 0, &mut now, &rng).endpoint, slow.endpoint);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_of_one_that_is_removed_is_known_no_more_and_what_comes_late_is_of_no_account() {
        let mut now = Instant::now();
        let (mut roster, rng) = roster(&["a"], ProberSettings::new(), now);
        assert_eq!(roster.first(), First::Waits);
        let turn = next(&mut roster, 0, &mut now, &rng);
        roster.record(&turn, Verdict::fail("on purpose"), now);
        assert_eq!(roster.first(), First::Waits, "nobody was told");
        assert_eq!(roster.take_news().len(), 1);
        assert_eq!(roster.first(), First::Waits, "somebody is told just now");
        roster.told();
        assert_eq!(roster.first(), First::Known);

        let late = next(&mut roster, 0, &mut now, &rng);
        assert_eq!((roster.len(), roster.wants(&late)), (1, true));
        roster.set(ids(&[]), now, &rng);
        assert_eq!((roster.len(), roster.wants(&late)), (0, false));
        assert_eq!(told(&mut roster), [("a".to_owned(), Fitness::Unknown)]);
        roster.set(ids(&["a"]), now, &rng);
        assert!(!roster.wants(&late), "another one of the same name");
        roster.record(&late, Verdict::pass(), now);
        assert_eq!((told(&mut roster), roster.fitness(&"a".into())), (vec![], Fitness::Unknown));
        let turn = next(&mut roster, 0, &mut now, &rng);
        roster.record(&turn, Verdict::pass(), now);
        assert_eq!(told(&mut roster), [("a".to_owned(), Fitness::Fit)]);

        roster.end();
        assert_eq!(told(&mut roster), [("a".to_owned(), Fitness::Unknown)]);
        assert_eq!(roster.first(), First::Never);
    }

    #[tokio::test(start_paused = true)]
    async fn the_order_is_drawn_and_repeats_with_the_seed() {
        let now = Instant::now();
        let order = |of: u32, seed| {
            let (mut roster, rng) = (Roster::new(ProberSettings::new(), now), Rng::seeded(seed));
            roster.set((0..of).map(|name| EndpointId::from(name.to_string())).collect(), now, &rng);
            let mut at = now;
            (0..of).map(|_| next(&mut roster, 0, &mut at, &rng).endpoint).collect::<Vec<_>>()
        };
        assert_eq!(order(20, 1), order(20, 1));
        assert_ne!(order(20, 1), order(20, 2));
        let orders: BTreeSet<_> = (0..100).map(|seed| order(3, seed)).collect();
        assert_eq!(orders.len(), 6, "each order can be drawn");
    }
}
