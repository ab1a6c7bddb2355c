//! What came of it: the books of the shop and of its callers, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stonework::base::{CircuitState, Skip};
use tokio::time::Instant;

use crate::api::{Arrival, Mood};
use crate::callers::{self, Told, Wish};
use crate::error::{Advice, ShopError, What};
use crate::kit::Verdict;
use crate::timeline::Timeline;
use crate::{FLOOR, RATIO, RESERVE};

/// What a timer may be late by, on a machine that has other things to do.
const LATE: Duration = Duration::from_millis(200);

pub(crate) struct Day {
    pub(crate) start: Instant,
    pub(crate) took: Duration,
    /// How the shop was, from when on.
    pub(crate) moods: Vec<(Instant, Mood)>,
    pub(crate) told: Vec<Told>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) timeline: Timeline,
}

impl Day {
    pub(crate) fn judge(&self, verdict: &mut Verdict) {
        callers::table(&self.told);
        println!("\nwhat was done, and how often\n");
        self.orders(verdict);
        println!("\nhow long it took\n");
        self.waiting(verdict);
        println!("\nhow often it was asked\n");
        self.load(verdict);
        self.circuit(verdict);
        println!("\nwhat the callers were told\n");
        self.words(verdict);
    }

    /// Each call that failed.
    fn errors(&self) -> impl Iterator<Item = (&Told, &ShopError)> {
        self.told.iter().filter_map(|told| Some((told, told.answer.as_ref().err()?)))
    }

    /// What has arrived of each call.
    fn calls(&self) -> BTreeMap<&str, Vec<&Arrival>> {
        let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for arrival in &self.arrivals {
            calls.entry(arrival.id.as_str()).or_default().push(arrival);
        }
        calls
    }

    fn orders(&self, verdict: &mut Verdict) {
        let calls = self.calls();
        let orders = || calls.values().filter(|arrivals| arrivals[0].customer.is_some());
        let unkeyed = || orders().filter(|arrivals| arrivals[0].key.is_none());
        let unheard =
            self.errors().filter(|(told, error)| told.wish == Wish::Unkeyed && error.perhaps_done()).count();
        verdict.claim(
            unkeyed().all(|arrivals| arrivals.len() == 1) && unheard > 0,
            format!("{} orders without a key arrive, each once, also where nobody heard what became of it: {unheard}", unkeyed().count()),
        );
        let again = || orders().filter(|arrivals| arrivals.len() > 1);
        let same = |arrivals: &&Vec<&Arrival>| {
            arrivals.iter().all(|arrival| arrival.key.is_some() && arrival.key == arrivals[0].key)
        };
        verdict.claim(
            again().all(|arrivals| same(&arrivals)) && again().count() > 0,
            format!(
                "{} arrive more than once: all of them have a key, and the same each time",
                again().count()
            ),
        );

        // As the shop does it: once for each key, and for each order that has none.
        let mut made: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
        for arrival in self.arrivals.iter().filter(|arrival| arrival.is_done()) {
            let Some(customer) = &arrival.customer else { continue };
            let (keys, unkeyed) = made.entry(customer).or_default();
            match &arrival.key {
                Some(key) => drop(keys.insert(key)),
                None => *unkeyed += 1,
            }
        }
        let most = made.values().map(|(keys, unkeyed)| keys.len() + unkeyed).max();
        verdict.claim(most == Some(1), format!("so none of {} customers has bread twice", made.len()));

        let done =
            |id: &str| calls.get(id).is_some_and(|arrivals| arrivals.iter().any(|arrival| arrival.is_done()));
        let not_done = || {
            self.errors()
                .filter(|(_, error)| !error.perhaps_done() && !matches!(error.what(), What::Refused(_)))
        };
        verdict.claim(
            not_done().count() > 0 && not_done().all(|(_, error)| !done(error.request_id())),
            format!("whoever is told that it was not done can rely on it: {} calls", not_done().count()),
        );
    }

    fn waiting(&self, verdict: &mut Verdict) {
        let over = |told: &Told| told.took.saturating_sub(told.wish.limit());
        let worst = self.told.iter().map(over).max().unwrap_or_default();
        let ends_it = |told: &&Told| told.took >= told.wish.limit();
        let by_deadline = self.told.iter().filter(ends_it).count();
        verdict.claim(
            worst < LATE && by_deadline > 0,
            format!("nobody waits longer than the deadline of the call, which ends {by_deadline}; at worst by {worst:.0?}"),
        );

        let calls = self.calls();
        let pairs = || calls.values().flat_map(|arrivals| arrivals.windows(2)).map(|pair| (pair[0], pair[1]));
        let after = |mood: Mood| pairs().filter(move |(first, _)| first.mood == mood);
        let early =
            |(first, second): &(&Arrival, &Arrival)| Some(second.at - first.at) < first.mood.comes_back_in();
        let found_well = after(Mood::Busy).filter(|(_, second)| second.mood == Mood::Well).count();
        verdict.claim(
            found_well > 0 && !after(Mood::Busy).any(|pair| early(&pair)),
            format!(
                "who is asked to come back in a second does not come sooner: {} do, and {found_well} find it well",
                after(Mood::Busy).count()
            ),
        );
        let half_a_minute = Mood::Closed.comes_back_in();
        let sent_away = self
            .errors()
            .filter(|(_, error)| half_a_minute.is_some_and(|time| error.advice() == Advice::Later(time)))
            .count();
        verdict.claim(
            after(Mood::Closed).count() == 0 && sent_away > 0,
            format!("who is asked to come back in half a minute is told so at once: {sent_away} were"),
        );
        let by_circuit =
            || self.errors().filter(|(_, error)| *error.what() == What::Away && !error.perhaps_done());
        let slowest = by_circuit().map(|(told, _)| told.took).max().unwrap_or_default();
        verdict.claim(
            by_circuit().count() > 0 && slowest < LATE,
            format!(
                "while the circuit is open nobody waits at all: {} calls, at most {slowest:.0?}",
                by_circuit().count()
            ),
        );
    }

    fn load(&self, verdict: &mut Verdict) {
        let calls = self.calls();
        let (retries, asked) = (self.arrivals.len() - calls.len(), self.told.len());
        let granted = f64::from(RESERVE)
            + f64::from(FLOOR) * self.took.as_secs_f64()
            + f64::from(RATIO) / 100.0 * asked as f64;
        let held_back = self.timeline.skipped(Skip::Budget);
        verdict.claim(
            retries as f64 <= granted && retries > 0 && held_back > 0,
            format!("{retries} retries arrive of {asked} calls; the budget allows {granted:.0}, and has held back {held_back}"),
        );
        let unsent =
            || self.errors().filter(|(_, error)| *error.what() == What::Away && !error.perhaps_done());
        verdict.claim(
            unsent().all(|(_, error)| !calls.contains_key(error.request_id())),
            "what the circuit refuses does not arrive",
        );
    }

    fn circuit(&self, verdict: &mut Verdict) {
        let changes = self.timeline.circuit();
        let first = |is: fn(CircuitState) -> bool, from: Instant| {
            changes.iter().find(|(at, state)| *at > from && is(*state)).map(|(at, _)| *at)
        };
        let resets =
            self.moods.iter().find(|(_, mood)| *mood == Mood::Resets).map_or(self.start, |(at, _)| *at);
        let Some(opened) = first(|state| state == CircuitState::Open, self.start) else {
            return verdict.claim(false, "the circuit opens");
        };
        verdict.claim(
            opened >= resets,
            format!(
                "it opens when calls fail, and not while the shop is busy: {:.1?} after the first",
                opened.saturating_duration_since(resets)
            ),
        );

        let is_good = |state| !matches!(state, CircuitState::Open | CircuitState::HalfOpen);
        let better = first(is_good, opened).unwrap_or(opened);
        // What had begun before it opened may still be on its way.
        let meanwhile = opened + LATE..better;
        let arrived = self.arrivals.iter().filter(|arrival| meanwhile.contains(&arrival.at)).count();
        let asked = self.told.iter().filter(|told| meanwhile.contains(&told.begun)).count();
        let probes = self.timeline.probes();
        verdict.claim(
            (1..=probes).contains(&arrived),
            format!(
                "until the shop is better, only probes arrive, one at a time: {arrived} of {asked} calls"
            ),
        );
        let opens = changes.iter().filter(|(_, state)| *state == CircuitState::Open).count();
        let last = changes.last();
        verdict.claim(
            opens > 1 && last.is_some_and(|(_, state)| *state == CircuitState::Closed),
            format!("it opens again when a probe fails, {opens} times in all, and is closed at the end"),
        );
        let since = last.map_or(self.start, |(at, _)| *at);
        let after = || self.told.iter().filter(|told| told.begun > since && told.wish != Wish::Nothing);
        let good = after().filter(|told| matches!(told.answer, Ok(true))).count();
        verdict.claim(
            good == after().count() && good > 0,
            format!("from then on everybody has an answer: {good} of {}", after().count()),
        );
    }

    fn words(&self, verdict: &mut Verdict) {
        let no = || self.errors().filter(|(_, error)| matches!(error.what(), What::Refused(_)));
        let code = What::Refused("no_such_item".to_owned());
        verdict.claim(
            no().count() > 0
                && no().all(|(told, error)| {
                    told.wish == Wish::Nothing && *error.what() == code && error.advice() == Advice::Never
                }),
            format!(
                "what the shop says is said with its own word, and is not asked again: {} times",
                no().count()
            ),
        );
        let wrong = self.told.iter().filter(|told| matches!(told.answer, Ok(false))).count();
        verdict.claim(wrong == 0, "no answer is that of another question");
        let once = || self.errors().filter(|(told, _)| told.wish == Wish::Once);
        verdict.claim(
            once().count() > 0 && once().all(|(_, error)| error.attempts() <= 1),
            format!("who asks for a single attempt has one: {} failed so", once().count()),
        );
        let look = || self.errors().filter(|(_, error)| error.advice() == Advice::LookFirst);
        verdict.claim(
            look().count() > 0
                && look().all(|(told, error)| told.wish == Wish::Unkeyed && error.perhaps_done()),
            format!("who may have ordered without a key is told to look first: {}", look().count()),
        );
        if let Some((told, error)) = look().next() {
            println!("\n  for instance, {:?}: {error} (request {})", told.wish, error.request_id());
        }
    }
}
