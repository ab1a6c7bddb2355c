//! What pages say of defaults, compilers, other crates' versions and tests, compared with where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::defaults;
use crate::rules::Complaints;
use crate::source::{Source, files, read, root};

// ───────────────────────────────────────────────────────────────────────────── the pages

/// Those that say by themselves for whom they are: the first thing that one sees of a project.
const FOR_EVERYBODY: &[&str] = &["README.md", "CHANGELOG.md"];

/// All pages that are shipped, and those of packages beside, by their paths from the crate's own folder.
fn all_pages() -> Vec<Source> {
    let top = root();
    let own = std::fs::read_dir(&top).expect("the crate's own folder");
    let own = own.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut own: Vec<String> = own.filter(|name| name.ends_with(".md")).collect();
    own.sort();
    let mut pages: Vec<Source> = own.iter().map(|name| Source::new(name, &read(name))).collect();
    for folder in ["docs", "examples", "benches"] {
        pages.extend(
            files(folder, "md")
                .into_iter()
                .map(|page| Source::new(&format!("{folder}/{}", page.path), &page.text)),
        );
    }
    pages
}

fn says_for_whom(page: &Source) -> Complaints {
    let says = page.text.lines().take(8).any(|line| line.starts_with("*Audience: "));
    if says { Complaints::new() } else { vec![format!("{}: says not for whom it is", page.path)] }
}

#[test]
fn every_page_says_for_whom_it_is_and_those_beside_the_manifest_are_in_the_index() {
    let pages = all_pages();
    let others = pages.iter().filter(|page| !FOR_EVERYBODY.contains(&page.path.as_str()));
    let mut bad: Complaints = others.flat_map(says_for_whom).collect();
    let index = read("docs/README.md");
    for page in pages.iter().filter(|page| !page.path.contains('/')) {
        if !index.contains(&format!("(../{})", page.path)) {
            bad.push(format!("docs/README.md: does not lead to {}", page.path));
        }
    }
    crate::assert_none(&bad);
    assert_eq!(says_for_whom(&Source::new("a.md", "# A\n\nFor whoever.\n")).len(), 1);
}

#[test]
fn a_page_beside_the_manifest_has_snippets_only_if_they_are_compiled() {
    let library = read("src/lib.rs");
    for page in all_pages().iter().filter(|page| !page.path.contains('/') && page.text.contains("```rust")) {
        let compiled = format!("include_str!(\"../{}\")", page.path);
        assert!(library.contains(&compiled), "{}: its snippets are not compiled", page.path);
    }
}

// ───────────────────────────────────────────────────────────────────────────── links to headings

/// The name by which a heading can be led to, as code hosts make it.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().chars();
    let kept = letters.filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Links that lead to a heading, from page to page, lead to one that there is.
fn lost_headings(page: &Source, text_of: impl Fn(&str) -> Option<String>) -> Complaints {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut bad = Complaints::new();
    for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let Some((file, heading)) = target.split_once('#') else { continue };
        if target.starts_with("https://") || heading.is_empty() {
            continue;
        }
        let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in file.split('/').filter(|part| !part.is_empty()) {
            if part == ".." { _ = path.pop() } else { path.push(part) }
        }
        let text = if file.is_empty() { Some(page.text.clone()) } else { text_of(&path.join("/")) };
        let text = text.unwrap_or_default();
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        if !headings.any(|line| anchor(line) == heading) {
            bad.push(format!("{}: `{target}` leads to no heading", page.path));
        }
    }
    bad
}

#[test]
fn a_link_to_a_heading_leads_to_one_that_there_is() {
    let text_of = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    crate::assert_none(&all_pages().iter().flat_map(|page| lost_headings(page, text_of)).collect());
    let page =
        Source::new("docs/a.md", "# A page\n[1](#a-page) [2](b.md#b--c) [3](#b) [4](b.md#d) [5](../c.md#e)");
    let other = |path: &str| (path == "docs/b.md").then(|| "## B — `c`".to_owned());
    assert_eq!(lost_headings(&page, other).len(), 3);
}

// ───────────────────────────────────────────────────────────────────────────── numbers

/// Sentences that name a default: the page, the words with `{}` in the place of the value, the setting.
const SAID: &[(&str, &str, &str)] = &[
    ("README.md", "{} for a call and", "client `deadline`"),
    ("README.md", "and {} for an attempt,", "client `attempt_timeout`"),
    ("README.md", "for an attempt, {} attempts,", "retry `attempts`"),
    ("README.md", "A body beyond {} is streamed", "retry `replay_cap`"),
    ("docs/client.md", "It gives up after {}, and", "client `deadline`"),
    ("docs/client.md", "at most {} connections to a host", "client `max_connections_per_host`"),
    ("docs/client.md", "reads at most {} into memory", "client `max_response_body`"),
    ("docs/client.md", "may be silent for {} at a time", "body `idle`"),
    ("docs/client.md", "or a stream of up to {}.", "retry `replay_cap`"),
    ("docs/server.md", "{} for a head,", "server `header_read_timeout`"),
    ("docs/server.md", "{} between two requests,", "server `keep_alive_timeout`"),
    ("docs/server.md", "{} of silence in a body", "server `request_body`"),
    ("docs/server.md", "{} connections, 4096", "server `max_connections`"),
    ("docs/server.md", "connections, {} of them from one address", "server `max_connections_per_address`"),
    ("docs/server.md", "{} requests in flight", "server `concurrency`"),
    ("docs/server.md", "holds its place no longer than {} (", "server `handshake_timeout`"),
    ("docs/journey.md", "how long may it all take? {} ", "client `deadline`"),
    ("docs/journey.md", "once more? {} attempts", "retry `attempts`"),
    ("docs/journey.md", "how long may this attempt take? {} ", "client `attempt_timeout`"),
    ("docs/journey.md", "half of at least {} calls", "breaker `min_calls`"),
    ("docs/journey.md", "whose turn is it? {} to a host", "client `max_connections_per_host`"),
    ("docs/journey.md", "whose turn is it? 100 to a host; {} ", "client `pool_timeout`"),
];

/// With one space where there is any, and none of the signs that stand at the beginning of a line of a picture.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !matches!(*word, "│" | "├─"));
    words.collect::<Vec<_>>().join(" ")
}

/// 16384 is also written as 16 384.
fn ways_to_write(value: &str) -> Vec<String> {
    let mut ways = vec![value.to_owned()];
    if value.len() == 5 && value.chars().all(|digit| digit.is_ascii_digit()) {
        ways.push(format!("{} {}", &value[..2], &value[2..]));
    }
    ways
}

fn not_said(page: &str, words: &str, value: &str) -> bool {
    let page = one_line(page);
    ways_to_write(value).iter().all(|value| !page.contains(&words.replace("{}", value)))
}

#[test]
fn a_default_that_a_page_names_is_the_one_of_the_page_of_defaults() {
    let rows = defaults::rows(&read("docs/design/defaults.md"), "## Settings");
    let mut bad = Complaints::new();
    for (page, words, setting) in SAID {
        let row = rows.iter().find(|row| row[0] == *setting);
        let value = &row.unwrap_or_else(|| panic!("there is no setting {setting}"))[1];
        if not_said(&read(page), words, value) {
            bad.push(format!(
                "{page}: does not say `{}`, or this table says it otherwise",
                words.replace("{}", value)
            ));
        }
    }
    crate::assert_none(&bad);
    assert!(not_said("after\n9 s", "after {}", "10 s"));
    assert!(!not_said("│ at most\n16 384 of them", "at most {} of", "16384"));
}

/// `Rust 1.88`, wherever it stands.
fn compilers(text: &str) -> BTreeSet<String> {
    let digits = |rest: &str| -> String {
        rest.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect()
    };
    let found = text.split("Rust ").skip(1).map(|rest| digits(rest).trim_end_matches('.').to_owned());
    found.filter(|version| version.contains('.')).collect()
}

#[test]
fn the_compilers_that_the_front_page_names_are_those_that_are_promised_and_tried() {
    let manifest = read("Cargo.toml");
    let newest = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let newest = newest.expect("the manifest says it").trim_matches('"').to_owned();
    let named = compilers(&read("README.md"));
    assert!(named.contains(&newest), "the README does not name Rust {newest}, but {named:?}");
    if crate::is_checkout() {
        let script = read(".ci/run");
        for other in named.iter().filter(|version| **version != newest) {
            assert!(script.contains(&format!("rustc-{other}")), "no stage tries Rust {other}");
        }
    }
    assert_eq!(compilers("Rust 1.88 (or Rust 1.85.), and Rust itself").len(), 2);
}

/// A crate and its version, as in `tower 0.5.3`, of a crate that is in the lock file in other versions.
fn other_versions(page: &Source, locked: &BTreeMap<String, BTreeSet<String>>) -> Complaints {
    let words: Vec<&str> = page.text.split_whitespace().collect();
    let mut bad = Complaints::new();
    for pair in words.windows(2) {
        let name = pair[0].trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let version = pair[1].trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let is_version = version.split('.').count() == 3
            && version
                .split('.')
                .all(|part| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit()));
        let Some(known) = locked.get(name).filter(|_| is_version) else { continue };
        if !known.contains(version) {
            bad.push(format!("{}: names {name} {version}, and here it is {known:?}", page.path));
        }
    }
    bad
}

#[test]
fn a_version_of_another_crate_that_a_page_names_is_the_one_that_is_built_here() {
    if !crate::is_checkout() {
        return;
    }
    let mut locked = BTreeMap::<String, BTreeSet<String>>::new();
    for package in read("Cargo.lock").split("[[package]]").skip(1) {
        let field = |name: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(name));
            value.expect("each package has it").trim_matches('"').to_owned()
        };
        locked.entry(field("name = ")).or_default().insert(field("version = "));
    }
    assert!(locked.contains_key("tower"), "the lock file was not understood");
    let pages = all_pages();
    let pages = pages.iter().filter(|page| page.path != "CHANGELOG.md");
    crate::assert_none(&pages.flat_map(|page| other_versions(page, &locked)).collect());
    let page = Source::new("a.md", "`tower` 0.0.1, (tower 9.9.9) and tower 1.0; stranger 1.2.3");
    assert_eq!(other_versions(&page, &locked).len(), 2);
}
