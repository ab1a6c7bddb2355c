//! Decides whether several quotas all have enough. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use super::{Refill, Shortage, Taken};
use crate::limit::rate::Denied;

/// Takes `cost` of each, or of none. `cells` are theirs, in the same order; see `rate/pace.rs` for what a cell is.
pub(super) fn take(quotas: &[Refill], cells: &mut [u64], now: u64, cost: u32) -> Taken {
    let mut short: Option<(usize, Denied)> = None;
    let mut after = Vec::with_capacity(cells.len());
    for (place, (quota, cell)) in quotas.iter().zip(&*cells).enumerate() {
        match quota.pace().take(*cell, now, cost, 0) {
            Ok(cell) => after.push(cell),
            Err(denied) => {
                let worse = |(_, before): &(usize, Denied)| denied > *before;
                if short.as_ref().is_none_or(worse) {
                    short = Some((place, denied));
                }
            }
        }
    }
    if let Some((place, denied)) = short {
        let left = quotas[place].pace().left(cells[place], now);
        return Taken::Nothing(Shortage::new(place, left, wait(denied)));
    }
    cells.copy_from_slice(&after);
    let standing = |(quota, cell): (&Refill, &u64)| quota.standing(cell.saturating_sub(now));
    Taken::All(quotas.iter().zip(&*cells).map(standing).collect())
}

fn wait(denied: Denied) -> Option<Duration> {
    match denied {
        Denied::Never => None,
        Denied::In(nanos) => Some(Duration::from_nanos(nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Quota, Standing};

    const SECOND: u64 = 1_000_000_000;

    fn refills(quotas: &[Quota]) -> Vec<Refill> {
        quotas.iter().map(|quota| Refill::of(quota).unwrap()).collect()
    }

    #[test]
    fn all_of_them_or_none() {
        let quotas = refills(&[Quota::per_second(10), Quota::per_minute(2)]);
        let mut cells = [0, 0];
        let Taken::All(standing) = take(&quotas, &mut cells, SECOND, 2) else { panic!("there is enough") };
        assert_eq!(standing[0], Standing::new(8, Duration::from_millis(200)));
        assert_eq!(standing[1], Standing::new(0, Duration::from_secs(60)));
        let before = cells;
        let short = take(&quotas, &mut cells, SECOND, 1);
        assert_eq!(short, Taken::Nothing(Shortage::new(1, 0, Some(Duration::from_secs(30)))));
        assert_eq!(cells, before);
    }

    #[test]
    fn the_longest_wait_is_named_and_never_is_the_longest() {
        let quotas = refills(&[Quota::per_second(1), Quota::per_hour(1), Quota::per_minute(1)]);
        let mut cells = [0; 3];
        assert!(matches!(take(&quotas, &mut cells, 0, 1), Taken::All(_)));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(take(&quotas, &mut cells, 0, 1), Taken::Nothing(Shortage::new(1, 0, hour)));
        let mut cells = [SECOND; 2];
        let alike = refills(&[Quota::per_second(1); 2]);
        let second = Some(Duration::from_secs(1));
        let first = Taken::Nothing(Shortage::new(0, 0, second));
        assert_eq!(take(&alike, &mut cells, 0, 1), first, "the first of those that are alike");
        let quotas = refills(&[Quota::per_hour(2), Quota::per_second(1)]);
        let mut cells = [3600 * SECOND, 0];
        assert_eq!(take(&quotas, &mut cells, 0, 2), Taken::Nothing(Shortage::new(1, 1, None)));
    }
}
