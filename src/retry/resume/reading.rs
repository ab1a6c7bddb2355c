//! How far the reader has come, and whether to go on asking. Nothing here waits, locks or reads a clock.

/// What was delivered of a body, over all the answers that it came in.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Bytes handed to the reader.
    pub(super) delivered: u64,
    /// How many there are in all.
    pub(super) length: u64,
    /// Up to where the answer in progress goes.
    until: u64,
    /// Further requests since a byte last arrived.
    fruitless: u32,
    /// Further requests in all.
    resumes: u32,
}

/// What a frame of data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Expected,
    /// It goes beyond the end of what the answer promised.
    Beyond,
}

impl Reading {
    pub(super) const fn new(length: u64) -> Self {
        Self { delivered: 0, length, until: length, fruitless: 0, resumes: 0 }
    }

    pub(super) fn arrived(&mut self, bytes: u64) -> Arrived {
        if bytes > self.until - self.delivered {
            return Arrived::Beyond;
        }
        if bytes > 0 {
            self.fruitless = 0;
        }
        self.delivered += bytes;
        Arrived::Expected
    }

    pub(super) const fn left(&self) -> u64 {
        self.length - self.delivered
    }

    /// Whether this is still the answer that the caller was given the head of.
    pub(super) const fn is_first(&self) -> bool {
        self.resumes == 0
    }

    /// Whether another request may be made.
    pub(super) const fn may_resume(&self, in_a_row: u32, in_all: u32) -> bool {
        self.fruitless < in_a_row && self.resumes < in_all
    }

    /// How many requests in a row were of no use.
    pub(super) const fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// Another request is made.
    pub(super) fn resume(&mut self) {
        self.fruitless = self.fruitless.saturating_add(1);
        self.resumes = self.resumes.saturating_add(1);
    }

    /// Its answer goes on, up to this offset.
    pub(super) fn go_on(&mut self, until: u64) {
        self.until = until.clamp(self.delivered, self.length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn progress_is_a_byte_and_starts_the_count_anew() {
        let mut reading = Reading::new(100);
        assert_eq!(reading.arrived(10), Arrived::Expected);
        for _ in 0..3 {
            assert!(reading.may_resume(3, 10));
            reading.resume();
            assert_eq!(reading.arrived(0), Arrived::Expected, "an empty frame is none");
        }
        assert!(!reading.may_resume(3, 10));
        assert_eq!(reading.arrived(1), Arrived::Expected);
        assert!(reading.may_resume(3, 10));
        assert!(!reading.may_resume(3, 3), "all of them count");
    }

    #[test]
    fn more_than_the_answer_promised_is_seen() {
        let mut reading = Reading::new(100);
        assert_eq!(reading.arrived(40), Arrived::Expected);
        reading.resume();
        reading.go_on(60);
        assert_eq!(reading.arrived(21), Arrived::Beyond);
        assert_eq!(reading.arrived(20), Arrived::Expected);
        assert_eq!((reading.left(), reading.arrived(1)), (40, Arrived::Beyond));
    }

    proptest! {
        #[test]
        fn no_more_is_delivered_than_there_is_and_no_more_asked_than_allowed(
            length in 1..u64::MAX,
            steps in prop::collection::vec((any::<u64>(), any::<u64>()), 0..40),
        ) {
            let mut reading = Reading::new(length);
            let mut asked = 0;
            for (bytes, until) in steps {
                let _ = reading.arrived(bytes);
                prop_assert!(reading.delivered <= length);
                if reading.may_resume(3, 10) {
                    reading.resume();
                    reading.go_on(until);
                    asked += 1;
                }
            }
            prop_assert!(asked <= 10);
        }
    }
}
