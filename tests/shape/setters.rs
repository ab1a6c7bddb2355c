//! What sets a default says which it is, as the page of defaults has it: nobody has to look for that page, or for the source.

use crate::defaults;
use crate::rules::Complaints;
use crate::source::read;

/// Where the setters of a settings type stand: as the page of defaults calls it, and the file below `src`.
const SETTERS: &[(&str, &str)] = &[
    ("adaptive", "limit/adaptive/settings.rs"),
    ("backoff", "base/backoff.rs"),
    ("balancer", "balance/settings.rs"),
    ("body", "timeout/body/settings.rs"),
    ("breaker", "breaker/settings.rs"),
    ("budget", "base/budget.rs"),
    ("client", "client/settings.rs"),
    ("coalesce", "coalesce/settings.rs"),
    ("discovery", "connect/discovery/settings.rs"),
    ("events", "sse/settings.rs"),
    ("fallback", "fallback/settings.rs"),
    ("health", "health/settings.rs"),
    ("hedge", "hedge/settings.rs"),
    ("idempotency", "idempotency/settings.rs"),
    ("introspection", "jwt/introspect_settings.rs"),
    ("issuer", "jwt/issuer/settings.rs"),
    ("jwt", "jwt/settings.rs"),
    ("oauth", "oauth/settings.rs"),
    ("outliers", "balance/outlier_settings.rs"),
    ("pool", "pool/settings.rs"),
    ("prober", "health/prober/settings.rs"),
    ("remote keys", "jwt/remote/settings.rs"),
    ("resume", "retry/resume/settings.rs"),
    ("retry", "retry/settings.rs"),
    ("retry costs", "retry/settings.rs"),
    ("server", "server/settings.rs"),
    ("shared limit", "limit/shared/settings.rs"),
    ("tcp", "connect/settings.rs"),
    ("throttle", "limit/throttle/settings.rs"),
    ("upstream", "client/upstreams/settings.rs"),
];

/// Settings whose setter has another name or stands elsewhere, or says its default in words of its own: the setting, the file, the setter or
/// the type, the words.
const OTHERWISE: &[(&str, &str, &str, &str)] = &[
    ("backoff `base`", "base/backoff.rs", "Backoff", ""),
    ("backoff `cap`", "base/backoff.rs", "Backoff", ""),
    ("breaker `slow_call`", "breaker/settings.rs", "slow_calls", ""),
    // Both are given at once; in a file one may be left out.
    ("breaker `slow_rate`", "breaker/settings.rs", "slow_calls", "Default: off"),
    ("client `bearer`", "client/auth.rs", "bearer", "Default: not said"),
    ("client `deadline_header`", "client/told.rs", "deadline_header", "[`TIMEOUT_MS`]"),
    ("client `http`", "client/settings.rs", "http1_only", "Default: HTTP/2 where a host over TLS chooses it"),
    ("client `propagation`", "client/told.rs", "propagation", ""),
    ("client `server_quotas`", "client/restraint.rs", "server_quotas", ""),
    ("client `throttle`", "client/restraint.rs", "throttle", ""),
    ("client `upstreams`", "client/upstreams/settings.rs", "upstream", ""),
    ("coalesce `ignored_headers`", "coalesce/settings.rs", "ignored_headers", "in place of the default ones"),
    ("fallback `on`", "fallback/settings.rs", "on", "see [`new`](Self::new)"),
    ("hedge `attempt_header`", "hedge/settings.rs", "attempt_header", "[`ATTEMPT`]"),
    ("hedge budget `floor_per_second`", "hedge/settings.rs", "budget", "5 %, plus a reserve of 10"),
    ("hedge budget `ratio`", "hedge/settings.rs", "budget", ""),
    ("hedge budget `reserve`", "hedge/settings.rs", "budget", ""),
    ("jwt `required_claims`", "jwt/settings.rs", "require", ""),
    ("retry `attempt_header`", "retry/settings.rs", "attempt_header", "[`ATTEMPT`]"),
    ("server `deadline_header`", "server/settings.rs", "deadline_header", "[`TIMEOUT_MS`]"),
    ("server `idempotency`", "server/brought.rs", "idempotency", "Default: not said"),
    ("server `introspect`", "server/brought.rs", "introspect", "Default: not said"),
    ("server `jwt`", "server/brought.rs", "jwt", "Default: not said"),
    ("tcp `local_v4`", "connect/settings.rs", "local_v4", "the system chooses"),
    ("tcp `local_v6`", "connect/settings.rs", "local_v6", "the system chooses"),
];

/// Layers whose setter is written by a macro, which is told the documentation where it is used.
const MADE_BY_A_MACRO: &[&str] = &["receive deadline", "send deadline"];

/// The documentation of a public method, or type, as one line.
fn documentation(source: &str, method: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let is_it = |line: &str| {
        let rest = line.trim_start().strip_prefix("pub ").map(|rest| rest.trim_start_matches("const "));
        let name = rest.and_then(|rest| rest.strip_prefix("fn ").or_else(|| rest.strip_prefix("struct ")));
        let name = name.and_then(|rest| rest.split(['(', '<', ' ']).next());
        name.is_some_and(|name| name == method)
    };
    let at = lines.iter().position(|line| is_it(line))?;
    let above = lines[..at].iter().rev().map(|line| line.trim_start());
    let above = above.skip_while(|line| !line.starts_with("///")).take_while(|line| line.starts_with("///"));
    let mut text: Vec<&str> = above.map(|line| line.trim_start_matches('/').trim()).collect();
    text.reverse();
    Some(text.join(" "))
}

/// The ways in which a value of the page may be written.
fn ways(value: &str) -> Vec<String> {
    let bare = value.replace('`', "");
    let mut ways = vec![bare.clone()];
    if matches!(value, "off" | "none") {
        ways.extend(
            ["Default: no,", "not at all", "Default: no.", "Default: none", "Default: nobody"]
                .map(str::to_owned),
        );
    }
    if let Some(seconds) = bare.strip_suffix(" s").and_then(|number| number.parse::<u64>().ok()) {
        for (unit, names) in [(60, ["min", "minutes"]), (3600, ["h", "hours"])] {
            if seconds % unit == 0 {
                ways.extend(names.map(|name| format!("{} {name}", seconds / unit)));
            }
        }
    }
    if value.len() > 3 && value.chars().all(|digit| digit.is_ascii_digit()) {
        let (thousands, rest) = value.split_at(value.len() - 3);
        ways.push(format!("{thousands} {rest}"));
    }
    // As a variant: `peak_ewma` is `PeakEwma`.
    let parts = bare.split(['_', '-']).map(|part| {
        let (first, rest) = part.split_at(part.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    });
    ways.push(parts.collect());
    ways
}

/// Each part of a value stands there: `1 s to 60 s, equal jitter` is two times, and how they are spread is said in words.
fn says(documentation: &str, value: &str) -> bool {
    let value = value.strip_suffix(", equal jitter").unwrap_or(value);
    let parts: Vec<&str> = value.split(" to ").flat_map(|part| part.split(", ")).collect();
    let text = documentation.replace('`', "");
    parts.iter().all(|part| ways(part).iter().any(|way| text.contains(way.as_str())))
}

/// Settings whose setter is not there, or does not say the default.
fn silent(rows: &[Vec<String>], source_of: impl Fn(&str) -> String) -> Complaints {
    let mut bad = Complaints::new();
    for row in rows {
        let (setting, value) = (row[0].as_str(), row[1].as_str());
        let Some((owner, field)) = setting.split_once(" `") else { continue };
        let field = field.trim_end_matches('`');
        let otherwise = OTHERWISE.iter().find(|(name, ..)| *name == setting);
        let usual = SETTERS.iter().find(|(name, _)| *name == owner).map(|(_, file)| (*file, field, ""));
        let place = otherwise.map(|(_, file, method, words)| (*file, *method, *words)).or(usual);
        if MADE_BY_A_MACRO.contains(&owner) {
            continue;
        }
        let Some((file, method, words)) = place else {
            bad.push(format!("{setting}: this file does not know whose setting it is"));
            continue;
        };
        let source = source_of(file);
        let text =
            documentation(&source, method).or_else(|| documentation(&source, &format!("without_{method}")));
        match text {
            None => bad.push(format!("{setting}: {file} has no `{method}`")),
            Some(text) if words.is_empty() && !says(&text, value) => {
                bad.push(format!("{setting}: `{method}` in {file} does not say {value}: {text}"));
            }
            Some(text) if !text.contains(words) => {
                bad.push(format!("{setting}: `{method}` in {file} does not say `{words}`"))
            }
            Some(_) => {}
        }
    }
    bad
}

#[test]
fn every_setter_says_its_default_as_the_page_of_defaults_has_it() {
    let rows = defaults::rows(&read("docs/design/defaults.md"), "## Settings");
    crate::assert_none(&silent(&rows, |file| read(&format!("src/{file}"))));
}

#[test]
fn a_setter_that_says_another_default_or_none_is_seen() {
    let source = |doc: &str| {
        format!("impl A {{\n    /// {doc}\n    #[must_use]\n    pub const fn total(mut self) {{}}\n}}\n")
    };
    let bad = |doc: &str, value: &str| {
        let row = vec!["body `total`".to_owned(), value.to_owned()];
        silent(&[row], |_| source(doc)).len()
    };
    for (doc, value) in [
        ("Default: 10 min.", "600 s"),
        ("Default: 24 h.", "86400 s"),
        ("Default: 16 384.", "16384"),
        ("Default: [`Pick::PeakEwma`].", "`peak_ewma`"),
        ("Default: off.", "off"),
        ("From 1 s to 1 min, half of it by chance.", "1 s to 60 s, equal jitter"),
    ] {
        assert_eq!(bad(doc, value), 0, "{doc}");
    }
    for (doc, value) in
        [("Default: 10 min.", "601 s"), ("How long.", "30 s"), ("From 1 s.", "1 s to 60 s, equal jitter")]
    {
        assert_eq!(bad(doc, value), 1, "{doc}");
    }
    for setting in ["body `others`", "somebody `total`"] {
        let row = vec![setting.to_owned(), "1".to_owned()];
        assert_eq!(silent(&[row], |_| source("Default: 1.")).len(), 1, "{setting}");
    }
}
