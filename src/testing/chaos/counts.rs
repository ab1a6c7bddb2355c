use super::What;

/// What a [`Wire`](super::Wire) has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that somebody wanted.
    pub dialed: u64,
    /// Of these, how many were made.
    pub made: u64,
    /// How many were refused.
    pub refused: u64,
    /// Of how many nothing was heard.
    pub hangs: u64,
    /// Of those that were made, how many were reset by the wire.
    pub resets: u64,
    /// How many fell silent in one direction.
    pub silences: u64,
    /// How many still have an end that somebody holds.
    pub open: u64,
    /// Bytes that were read at the other end.
    pub bytes: u64,
}

impl Counts {
    pub(super) fn count(&mut self, what: What) {
        let counter = match what {
            What::Made => {
                self.open += 1;
                &mut self.made
            }
            What::Refused => &mut self.refused,
            What::Hangs => &mut self.hangs,
            What::Reset(..) => &mut self.resets,
            What::Silenced(..) => &mut self.silences,
            What::Gone => {
                self.open -= 1;
                return;
            }
        };
        *counter += 1;
    }
}
