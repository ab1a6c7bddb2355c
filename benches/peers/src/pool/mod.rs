//! What pools cost, and whom they serve first.

pub(crate) mod checkout;
pub(crate) mod kit;
pub(crate) mod queue;
