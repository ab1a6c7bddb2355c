//! In which order are the addresses of a host tried? (RFC 8305, "Happy Eyeballs".) Nothing here waits, locks or reads a clock.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

/// Each address once, the families in turn, beginning with that of the first one (RFC 8305, section 4).
///
/// Within a family the order is that of the resolver, which knows what is near (RFC 6724), but begins elsewhere at every turn: so
/// successive turns begin with each address of a family as often as with any other.
pub(super) fn order(found: &[IpAddr], turn: u64) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    // An IPv4 address that is written as an IPv6 one is that IPv4 address.
    let once = found.iter().map(IpAddr::to_canonical).filter(|ip| seen.insert(*ip));
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = once.partition(IpAddr::is_ipv4);
    rotate(&mut v4, turn);
    rotate(&mut v6, turn);
    let v4_first = found.first().is_some_and(|ip| ip.to_canonical().is_ipv4());
    let (first, second) = if v4_first { (v4, v6) } else { (v6, v4) };
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
}

fn rotate(family: &mut [IpAddr], turn: u64) {
    if !family.is_empty() {
        family.rotate_left((turn % family.len() as u64) as usize);
    }
}

/// How much a failure tells about the host: the larger the more. That nothing listens is news; that this machine has no IPv6 is not.
pub(super) fn tells(error: &io::Error) -> u8 {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => 5,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => 4,
        ErrorKind::TimedOut => 3,
        ErrorKind::HostUnreachable => 2,
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable | ErrorKind::Unsupported => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(found: &str, turn: u64) -> String {
        let found: Vec<IpAddr> = found.split(' ').map(|ip| ip.parse().unwrap()).collect();
        order(&found, turn).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_take_turns_beginning_with_that_of_the_first() {
        for (found, expected) in [
            ("::1 ::2 1.1.1.1 1.1.1.2", "::1 1.1.1.1 ::2 1.1.1.2"),
            ("1.1.1.1 ::1 ::2", "1.1.1.1 ::1 ::2"),
            ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
            ("1.1.1.1 1.1.1.1 ::ffff:1.1.1.1 ::1", "1.1.1.1 ::1"),
            ("::ffff:1.1.1.1 ::1", "1.1.1.1 ::1"),
        ] {
            assert_eq!(ordered(found, 0), expected, "{found}");
        }
        assert!(order(&[], 7).is_empty());
    }

    #[test]
    fn every_turn_begins_with_the_next_address_of_each_family() {
        let firsts: Vec<String> =
            (0..4).map(|turn| ordered("::1 ::2 1.1.1.1 1.1.1.2 1.1.1.3", turn)).collect();
        let expected = [
            "::1 1.1.1.1 ::2 1.1.1.2 1.1.1.3",
            "::2 1.1.1.2 ::1 1.1.1.3 1.1.1.1",
            "::1 1.1.1.3 ::2 1.1.1.1 1.1.1.2",
            "::2 1.1.1.1 ::1 1.1.1.2 1.1.1.3",
        ];
        assert_eq!(firsts, expected);
        assert_eq!(ordered("::1 ::2", u64::MAX), "::2 ::1");
    }

    proptest::proptest! {
        #[test]
        fn whatever_was_found_is_tried_once_and_no_family_waits_for_the_other(
            found in proptest::collection::vec((proptest::bool::ANY, 0_u8..20), 0..12),
            turn: u64,
        ) {
            let found: Vec<IpAddr> = found
                .into_iter()
                .map(|(v4, last)| if v4 { [10, 0, 0, last].into() } else { [0, 0, 0, 0, 0, 0, 1, last.into()].into() })
                .collect();
            let once: HashSet<IpAddr> = found.iter().copied().collect();
            let ordered = order(&found, turn);
            assert_eq!(ordered.len(), once.len());
            assert_eq!(ordered.iter().copied().collect::<HashSet<_>>(), once);

            assert_eq!(ordered.first().map(IpAddr::is_ipv4), found.first().map(IpAddr::is_ipv4));
            // As long as there are any of both, they alternate.
            let both = 2 * once.iter().filter(|ip| ip.is_ipv4()).count().min(once.iter().filter(|ip| ip.is_ipv6()).count());
            assert!(ordered.iter().take(both).zip(ordered.iter().take(both).skip(1)).all(|(a, b)| a.is_ipv4() != b.is_ipv4()));

            for v4 in [true, false] {
                let of = |ips: &[IpAddr]| ips.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect::<Vec<_>>();
                let (mut seen, mut family) = (HashSet::new(), of(&found));
                family.retain(|ip| seen.insert(*ip));
                // The same circle, begun elsewhere.
                if !family.is_empty() {
                    let begin = (turn % family.len() as u64) as usize;
                    family.rotate_left(begin);
                }
                assert_eq!(of(&ordered), family);
            }
        }
    }

    #[test]
    fn a_refusal_tells_more_than_that_there_is_no_way() {
        use io::ErrorKind::{
            AddrNotAvailable, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            NetworkUnreachable, Other, TimedOut,
        };
        let rank = |kind: io::ErrorKind| tells(&kind.into());
        let down = [ConnectionRefused, ConnectionReset, TimedOut, HostUnreachable, Other, NetworkUnreachable]
            .map(rank);
        assert!(down.is_sorted_by(|more, less| more > less), "{down:?}");
        assert_eq!(rank(ConnectionAborted), rank(ConnectionReset));
        assert_eq!(rank(AddrNotAvailable), rank(NetworkUnreachable));
    }
}
