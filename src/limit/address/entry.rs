//! Reads the address in one element of a forwarding header. Nothing here waits, locks or reads a clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::from_right::split_last;

/// The address in an element of `X-Forwarded-For`: bare, or with a port; an IPv6 one may stand in brackets, and has to if a
/// port follows.
pub(super) fn plain(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    // There is no bare form with one colon, and none with a port that has more.
    let bare = text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare.or_else(|| node(text, is_port)).map(|ip| ip.to_canonical())
}

/// The address in an element of `Forwarded`, by RFC 7239, section 4. A node that hides its address, or knows none, has none.
pub(super) fn parameter(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (before, pair) = split_last(text, b';').ok()?;
        rest = before;
        let pair = pair.trim_ascii();
        // An empty pair is allowed.
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        let (value, quoted) = unquoted(value)?;
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            // Nobody can tell which one counts. What is not quoted is a token, which has no colons and no brackets.
            if found.is_some() || !(quoted || is_token(value)) {
                return None;
            }
            found = Some(value);
        }
    }
    // An address behind a backslash is not unescaped: no proxy has a reason to write one so.
    let text = std::str::from_utf8(found?).ok()?;
    node(text, |port| is_port(port) || is_hidden_port(port)).map(|ip| ip.to_canonical())
}

/// An address with or without a port; an IPv6 one in brackets.
fn node(text: &str, is_port: impl Fn(&str) -> bool) -> Option<IpAddr> {
    let (ip, port): (IpAddr, _) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (ip.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => match text.split_once(':') {
            Some((ip, port)) => (ip.parse::<Ipv4Addr>().ok()?.into(), Some(port)),
            None => (text.parse::<Ipv4Addr>().ok()?.into(), None),
        },
    };
    port.is_none_or(is_port).then_some(ip)
}

fn is_port(text: &str) -> bool {
    matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A port that a proxy keeps for itself (RFC 7239, section 6.3).
fn is_hidden_port(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(allowed))
}

/// A value without its quotes, and whether it had any. Nothing, if a quote stands elsewhere than around all of it: then what
/// is taken for a value would reach beyond what its author wrote.
fn unquoted(value: &[u8]) -> Option<(&[u8], bool)> {
    match value {
        // The quotes are balanced, so these two belong to each other unless there are others between them.
        [b'"', inner @ .., b'"'] => {
            let mut escaped = false;
            let closes = |byte: &u8| {
                let closes = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                closes
            };
            (!inner.iter().any(closes)).then_some((inner, true))
        }
        _ => (!value.contains(&b'"')).then_some((value, false)),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_read_in_every_form_of_x_forwarded_for() {
        for (element, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("192.0.2.1:0", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:8080", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]:80", "192.0.2.1"),
        ] {
            assert_eq!(plain(element.as_bytes()), ip(expected), "{element}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_x_forwarded_for() {
        for element in [
            "",
            "unknown",
            "_hidden",
            "unix:",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2.1 80",
            "192.0.2.1:",
            "192.0.2.1:+80",
            "192.0.2.1:123456",
            "192.0.2.1:_port",
            "[192.0.2.1]",
            "[192.0.2.1]:80",
            "2001:db8::1%eth0",
            "[2001:db8::1%eth0]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[[2001:db8::1]]",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "192.0.2.1;192.0.2.2",
        ] {
            assert_eq!(plain(element.as_bytes()), None, "{element}");
        }
        assert_eq!(plain(b"192.0.2.\xff"), None);
    }

    #[test]
    fn an_address_is_read_in_every_form_of_forwarded() {
        for (element, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("FOR=\"192.0.2.1\"", "192.0.2.1"),
            ("for=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
            ("by=_a;for=192.0.2.1;proto=https", "192.0.2.1"),
            ("for=192.0.2.1; proto=http ; by=203.0.113.43", "192.0.2.1"),
            (";;for=192.0.2.1;", "192.0.2.1"),
            ("host=\"a;for=192.0.2.9,\\\"\";for=192.0.2.1", "192.0.2.1"),
            // A host with a port has to be quoted and often is not: it takes nothing away from the address.
            ("host=a.test:8080;for=192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(parameter(element.as_bytes()), ip(expected), "{element}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_forwarded() {
        for element in [
            "",
            "192.0.2.1",
            "proto=https",
            "for=",
            "for=\"\"",
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden:80\"",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "=192.0.2.1;for=192.0.2.1",
            "for=192.0.2.1:80",
            "for=[2001:db8::1]",
            "for=\"2001:db8::1\"",
            "for=\"[2001:db8::1%eth0]\"",
            "for=\"192.0.2.1:123456\"",
            "for=\"192.0.2.1:_\"",
            "for=\"192.0.2\\.1\"",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"192.0.2.1\"\"\"",
            "for=\"\"192.0.2.1\"\"",
            "for=192.0.2.1;for=192.0.2.1",
            "for=192.0.2.1;For=_hidden",
            "for=192.0.2.1;proto",
            "for=192.0.2.1;by=a\"b\"",
            "by=\"a\"b\"c\";for=192.0.2.1",
            "by=\"a\\\\\"b\";for=192.0.2.1",
            "by=\"a\"\"b\";for=192.0.2.1",
        ] {
            assert_eq!(parameter(element.as_bytes()), None, "{element}");
        }
        assert_eq!(parameter(b"for=\"192.0.2.\xff\""), None);
    }
}
