//! What limits cost: a decision, a layer over a call that is let in, and what is remembered of many keys.

pub(crate) mod decisions;
pub(crate) mod layers;
pub(crate) mod memory;
mod queue;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use stonework::limit::Quota;

/// One in an hour, and none saved up.
const SELDOM: Duration = Duration::from_secs(60 * 60);

/// An address that nobody else has: the numbers of SplitMix64.
pub(crate) fn address(number: u64) -> IpAddr {
    let mix = |salt: u64| {
        let mut bits = (2 * number + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    IpAddr::V6(Ipv6Addr::from_bits(u128::from(mix(0)) << 64 | u128::from(mix(1))))
}

/// A quota that is never used up here: one each nanosecond, and four seconds' worth of them at once. Or one that is used up with the
/// first call.
pub(crate) fn ours(admits: bool) -> Quota {
    if admits { Quota::new(u32::MAX, Duration::from_nanos(u32::MAX.into())) } else { Quota::new(1, SELDOM) }
}

/// The same.
pub(crate) fn governors(admits: bool) -> governor::Quota {
    if admits {
        let each = governor::Quota::with_period(Duration::from_nanos(1)).expect("a time");
        each.allow_burst(NonZeroU32::MAX)
    } else {
        governor::Quota::with_period(SELDOM).expect("a time")
    }
}
