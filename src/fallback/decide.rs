//! Decides whether a failed call falls back. Nothing here waits, locks or reads a clock.

use crate::base::{Delivery, Safety};

/// What is known of a call that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Its error is of a kind that was stated.
    pub(super) stated: bool,
    /// The deadline has passed.
    pub(super) late: bool,
    pub(super) delivery: Delivery,
}

/// What is known of the request, before it is first sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) safety: Safety,
    /// The caller said: once, whatever happens.
    pub(super) single: bool,
}

/// Whether a value may stand in. It takes no time, so the deadline does not matter.
pub(super) const fn may_stand_in(facts: &Facts) -> bool {
    facts.stated
}

/// Whether another service may get the request.
pub(super) fn may_be_sent(facts: &Facts, asked: Asked) -> bool {
    let unprocessed = matches!(facts.delivery, Delivery::NotSent | Delivery::Refused);
    let harmless = asked.safety != Safety::Unsafe && !asked.single;
    facts.stated && !facts.late && (unprocessed || harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERIES: [Delivery; 4] =
        [Delivery::NotSent, Delivery::Refused, Delivery::Unknown, Delivery::Answered];
    const SAFETIES: [Safety; 3] = [Safety::Idempotent, Safety::Keyed, Safety::Unsafe];

    #[test]
    fn the_table_of_the_front_page_holds_in_every_cell() {
        for delivery in DELIVERIES {
            let unprocessed = matches!(delivery, Delivery::NotSent | Delivery::Refused);
            for safety in SAFETIES {
                for single in [false, true] {
                    let facts = Facts { stated: true, late: false, delivery };
                    let expected = unprocessed || (safety != Safety::Unsafe && !single);
                    let asked = Asked { safety, single };
                    assert_eq!(may_be_sent(&facts, asked), expected, "{delivery:?}, {asked:?}");
                }
            }
        }
    }

    #[test]
    fn a_value_stands_in_however_far_the_request_got_and_however_late() {
        for delivery in DELIVERIES {
            for late in [false, true] {
                assert!(may_stand_in(&Facts { stated: true, late, delivery }));
                assert!(!may_stand_in(&Facts { stated: false, late, delivery }));
            }
        }
    }

    #[test]
    fn nothing_is_sent_on_that_was_not_stated_or_is_late() {
        for (stated, late) in [(false, false), (true, true), (false, true)] {
            let facts = Facts { stated, late, delivery: Delivery::NotSent };
            assert!(!may_be_sent(&facts, Asked { safety: Safety::Idempotent, single: false }));
        }
    }
}
