use std::fmt;
use std::sync::Arc;

use super::InvalidQuota;

/// The longest name of a limit, in bytes.
const LONGEST: usize = 64;

/// What a limit is called in fields and refusals: visible ASCII without quotes and backslashes, so that it means the same wherever
/// it is written.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::limit) struct Policy {
    /// Nothing for the default, so that telling it counts no reference.
    name: Option<Arc<str>>,
}

impl Policy {
    pub(in crate::limit) const DEFAULT: &str = "default";

    pub(in crate::limit) fn named(name: &str) -> Result<Self, InvalidQuota> {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(plain) {
            return Err(InvalidQuota::Name);
        }
        Ok(Self { name: (name != Self::DEFAULT).then(|| name.into()) })
    }

    pub(in crate::limit) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(Self::DEFAULT)
    }

    pub(in crate::limit) fn shared_name(&self) -> Option<Arc<str>> {
        self.name.clone()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}
