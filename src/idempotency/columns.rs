//! An entry as the columns of a table or the fields of a hash. Nothing here waits, locks or reads a clock.

use bytes::Bytes;

use super::{Entry, Final, Fingerprint, InvalidEntry, Owner, State};

/// See [`Entry`]. Databases know no numbers without a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns<'a> {
    pub(super) fingerprint: &'a [u8],
    pub(super) owner: Vec<u8>,
    pub(super) fence: i64,
    pub(super) state: &'static str,
    /// Of one that is running, else 0.
    pub(super) lease_until: i64,
    pub(super) forget_at: i64,
    pub(super) record: Option<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let mut lease_until = 0;
        let mut record = None;
        let state = match &entry.state {
            State::Running { lease_until: until } => {
                lease_until = signed(*until);
                "running"
            }
            State::Released => "released",
            State::Ended(Final::Record(bytes)) => {
                record = Some(&bytes[..]);
                "record"
            }
            State::Ended(Final::TooLarge) => "too large",
            State::Ended(Final::Indeterminate) => "indeterminate",
        };
        Self {
            fingerprint: entry.fingerprint.as_bytes(),
            owner: entry.owner.to_bytes().to_vec(),
            fence: signed(entry.fence),
            state,
            lease_until,
            forget_at: signed(entry.forget_at),
            record,
        }
    }
}

/// What was read of a table, where a record is copied only if it is wanted.
pub(super) struct Read<'a> {
    pub(super) fingerprint: &'a [u8],
    pub(super) owner: &'a [u8],
    pub(super) fence: i64,
    pub(super) state: &'a str,
    pub(super) lease_until: i64,
    pub(super) forget_at: i64,
    pub(super) record: Option<&'a [u8]>,
}

impl Read<'_> {
    pub(super) fn entry(&self) -> Result<Entry, InvalidEntry> {
        let state = match (self.state, self.record) {
            ("running", None) => State::Running { lease_until: unsigned(self.lease_until)? },
            ("released", None) => State::Released,
            ("record", Some(record)) => State::Ended(Final::Record(Bytes::copy_from_slice(record))),
            ("too large", None) => State::Ended(Final::TooLarge),
            ("indeterminate", None) => State::Ended(Final::Indeterminate),
            _ => return Err(InvalidEntry),
        };
        Ok(Entry {
            fingerprint: Fingerprint::from_bytes(self.fingerprint.try_into().map_err(|_| InvalidEntry)?),
            owner: Owner::from_bytes(self.owner.try_into().map_err(|_| InvalidEntry)?),
            fence: unsigned(self.fence)?,
            state,
            forget_at: unsigned(self.forget_at)?,
        })
    }
}

/// What does not fit is as good as never.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, InvalidEntry> {
    u64::try_from(number).map_err(|_| InvalidEntry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(columns: &'a Columns<'_>) -> Read<'a> {
        Read {
            fingerprint: columns.fingerprint,
            owner: &columns.owner,
            fence: columns.fence,
            state: columns.state,
            lease_until: columns.lease_until,
            forget_at: columns.forget_at,
            record: columns.record,
        }
    }

    fn entry(state: State) -> Entry {
        let (fingerprint, owner) = (Fingerprint::from_bytes([1; 32]), Owner::from_bytes([2; 16]));
        Entry { fingerprint, owner, fence: 3, state, forget_at: 4 }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for state in [
            State::Running { lease_until: 5 },
            State::Released,
            State::Ended(Final::Record(Bytes::from_static(b"\0done\xff"))),
            State::Ended(Final::TooLarge),
            State::Ended(Final::Indeterminate),
        ] {
            let entry = entry(state);
            assert_eq!(read(&Columns::of(&entry)).entry(), Ok(entry));
        }
        let forever = Entry { forget_at: u64::MAX, ..entry(State::Released) };
        assert_eq!(read(&Columns::of(&forever)).entry().unwrap().forget_at, i64::MAX as u64);
    }

    #[test]
    fn what_nobody_here_has_written_is_not_guessed_at() {
        let entry = entry(State::Ended(Final::Record(Bytes::new())));
        let good = Columns::of(&entry);
        let right = || read(&good);
        assert!(right().entry().is_ok());
        for wrong in [
            Read { state: "half done", ..right() },
            Read { state: "running", ..right() },
            Read { record: None, ..right() },
            Read { fingerprint: &[1; 31], ..right() },
            Read { owner: &[], ..right() },
            Read { fence: -1, ..right() },
            Read { forget_at: -1, ..right() },
        ] {
            assert_eq!(wrong.entry(), Err(InvalidEntry));
        }
    }
}
