//! What will happen to a connection, drawn when it is made.

use super::{Direction, Faults};
use crate::base::{Ratio, Rng};

/// So that the draws for one purpose are not those for another.
const PLANS: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a connection comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    Made,
    Refused,
    Hangs,
}

/// What becomes of a direction after so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) after: u64,
    pub(super) silent: bool,
}

/// All of it. It depends on the seed and the number of the connection alone, and not on what others do meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) dial: Dial,
    pub(super) cut: Option<(Direction, Cut)>,
    /// For what is drawn as it goes: the way there, each direction.
    pub(super) dice: [Rng; 3],
}

impl Plan {
    pub(super) fn of(seed: u64, number: u64, faults: &Faults) -> Self {
        // Not that of the seed itself, also for the first: others draw from that in the same world.
        let rng = Rng::seeded(seed ^ number.wrapping_add(1).wrapping_mul(PLANS));
        // Each is drawn whatever came of the others, so that a seed's connections stay what they are when one share is changed.
        let [refused, hangs, reset, silent] =
            [faults.refusals, faults.hangs, faults.resets, faults.silences].map(|share| happens(share, &rng));
        let direction = if rng.below(2) == 0 { Direction::Up } else { Direction::Down };
        let after = rng.below(faults.within.saturating_add(1));
        let dice = [(); 3].map(|()| Rng::seeded(rng.next_u64()));
        let dial = match (refused, hangs) {
            (true, _) => Dial::Refused,
            (_, true) => Dial::Hangs,
            _ => Dial::Made,
        };
        let cut = (reset || silent).then_some((direction, Cut { after, silent: !reset }));
        Self { dial, cut, dice }
    }
}

fn happens(share: Ratio, rng: &Rng) -> bool {
    rng.unit() < share.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_fares_as_its_seed_and_number_say_and_the_shares_are_kept() {
        let faults = Faults::default();
        let plans: Vec<_> = (0..10_000).map(|number| Plan::of(7, number, &faults)).collect();
        let again = Plan::of(7, 123, &faults);
        assert_eq!((again.dial, again.cut), (plans[123].dial, plans[123].cut));
        let share = |of: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| of(plan)).count();
        assert!((400..600).contains(&share(&|plan| plan.dial == Dial::Refused)));
        assert!((140..260).contains(&share(&|plan| plan.dial == Dial::Hangs)));
        assert!((900..1100).contains(&share(&|plan| plan.cut.is_some_and(|(_, cut)| !cut.silent))));
        assert!((350..550).contains(&share(&|plan| plan.cut.is_some_and(|(_, cut)| cut.silent))));
        let up = share(&|plan| plan.cut.is_some_and(|(direction, _)| direction == Direction::Up));
        assert!((600..850).contains(&up), "{up}");
        let without = Plan::of(7, 123, &Faults::default().refusals(Ratio::percent(0)));
        assert_eq!(without.cut, again.cut);
        let [plan, other] = [&plans[0].dice[0], &Rng::seeded(7)];
        assert_ne!(plan.next_u64(), other.next_u64());
        let perfect = (0..1_000).map(|number| Plan::of(7, number, &Faults::none()));
        assert!(perfect.into_iter().all(|plan| plan.dial == Dial::Made && plan.cut.is_none()));
    }
}
