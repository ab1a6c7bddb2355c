//! Which key signs, and which are published. The clock is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// About thirty years, as tokio's own far future: an instant cannot be much later.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// How keys follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// For how long a key signs. Nothing: until there is another.
    pub(super) rotate_every: Option<Duration>,
    /// For how long it is published before it signs.
    pub(super) publish_ahead: Duration,
    /// For how long it is published after that.
    pub(super) keep: Duration,
}

/// The keys that are published, in the order in which they sign; never none.
#[derive(Debug)]
pub(super) struct Rotation<K> {
    pace: Pace,
    keys: Vec<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    key: K,
    signs_from: Instant,
}

impl<K> Rotation<K> {
    /// The first key signs at once: there is nobody who could know another.
    pub(super) fn new(first: K, pace: Pace, now: Instant) -> Self {
        Self { pace, keys: vec![Held { key: first, signs_from: now }] }
    }

    /// Whether another key should be published now, so that it can sign when the last has signed for long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let Some(every) = self.pace.rotate_every else { return false };
        let last = self.keys.last().map_or(now, |last| last.signs_from);
        now >= later(last, every.saturating_sub(self.pace.publish_ahead))
    }

    /// This one is published from now on, and signs when everybody can know it: not earlier, however late it comes, and not before one that
    /// was added earlier.
    pub(super) fn add(&mut self, key: K, now: Instant) {
        let last = self.keys.last().map_or(now, |last| last.signs_from);
        let signs_from = later(now, self.pace.publish_ahead).max(last);
        self.keys.push(Held { key, signs_from });
    }

    /// Lets go those whose last token has expired.
    pub(super) fn retire(&mut self, now: Instant) {
        let over = |next: &Held<K>| now >= later(next.signs_from, self.pace.keep);
        // One is over when the next has signed for so long.
        let gone = self.keys.iter().skip(1).take_while(|next| over(next)).count();
        drop(self.keys.drain(..gone));
    }

    /// The one that signs now.
    pub(super) fn signer(&self, now: Instant) -> Option<&K> {
        let signs = |held: &&Held<K>| held.signs_from <= now;
        self.keys.iter().rev().find(signs).or(self.keys.first()).map(|held| &held.key)
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &K> {
        self.keys.iter().map(|held| &held.key)
    }
}

fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace {
        rotate_every: Some(Duration::from_secs(100)),
        publish_ahead: Duration::from_secs(20),
        keep: Duration::from_secs(30),
    };

    fn published(rotation: &Rotation<u32>) -> Vec<u32> {
        rotation.published().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_published_before_it_signs_and_until_its_last_token_has_expired() {
        let start = Instant::now();
        let mut rotation = Rotation::new(0, PACE, start);
        let mut made = 0;
        let mut last_signed = vec![start; 100];
        let mut first_published = vec![start; 100];
        for second in 0..2_000 {
            let now = start + second * S;
            if rotation.is_due(now) {
                made += 1;
                rotation.add(made, now);
                first_published[made as usize] = now;
            }
            rotation.retire(now);
            let signer = *rotation.signer(now).unwrap();
            assert_eq!(u64::from(signer), u64::from(second) / 100, "each signs for as long as was said");
            assert!(signer == 0 || now >= first_published[signer as usize] + 20 * S);
            last_signed[signer as usize] = now;
            for old in 0..signer {
                let is_needed = now < last_signed[old as usize] + S + 30 * S;
                assert_eq!(published(&rotation).contains(&old), is_needed, "{old} at {second}");
            }
            assert!(rotation.published().count() <= 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_asked_for_in_time_signs_no_earlier_for_that() {
        let start = Instant::now();
        let mut rotation = Rotation::new(0, PACE, start);
        let late = start + 1_000 * S;
        assert!(!rotation.is_due(start + 79 * S) && rotation.is_due(start + 80 * S) && rotation.is_due(late));
        rotation.add(1, late);
        rotation.retire(late);
        assert!(!rotation.is_due(late));
        assert_eq!(published(&rotation), [0, 1]);
        assert_eq!(rotation.signer(late + 19 * S), Some(&0));
        assert_eq!(rotation.signer(late + 20 * S), Some(&1));
        rotation.retire(late + 49 * S);
        assert_eq!(published(&rotation), [0, 1]);
        rotation.retire(late + 50 * S);
        assert_eq!(published(&rotation), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pace_the_first_key_stays_until_another_is_added() {
        let start = Instant::now();
        let mut rotation = Rotation::new(0, Pace { rotate_every: None, ..PACE }, start);
        assert!(!rotation.is_due(start + FAR));
        rotation.retire(start + FAR);
        assert_eq!(rotation.signer(start + FAR), Some(&0));
        rotation.add(1, start);
        rotation.add(2, start);
        assert_eq!(rotation.signer(start + 20 * S), Some(&2));
    }
}
