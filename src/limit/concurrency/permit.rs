use std::fmt;
use std::sync::Arc;

use super::core::Core;
use crate::base::body::{BodyEnd, Guard};

/// Leave to be in flight, from [`ConcurrencyLimiter::try_acquire`](super::ConcurrencyLimiter::try_acquire). It ends when this is
/// dropped, on any thread, also by a panic; whoever has waited longest is next.
#[must_use = "dropped at once it allows nothing"]
pub struct Permit {
    core: Arc<Core>,
}

impl Permit {
    #[inline]
    pub(super) const fn entered(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.core.leave();
    }
}

/// Kept until the body has ended.
impl Guard for Permit {
    fn settle(self, _: BodyEnd) {}
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
