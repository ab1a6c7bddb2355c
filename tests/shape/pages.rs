//! What pages name is there, and examples have one shape.

use std::collections::BTreeSet;

use crate::rules::Complaints;
use crate::source::{Quotes, Source, line, without_comments};

/// The name by which cargo knows the program of an example, by its path below the folder of examples. None if it is no program's.
pub(crate) fn program(file: &Source) -> Option<&str> {
    if !file.text.lines().any(|line| line.starts_with("fn main(") || line.starts_with("async fn main(")) {
        return None;
    }
    let path = file.path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/main").unwrap_or(path);
    // A package with one program has its name.
    path.strip_suffix("/src").unwrap_or(path).rsplit('/').next()
}

/// Its first comment says what every example's does, and its last line is the kit's.
pub(crate) fn one_shape(file: &Source, name: &str) -> Complaints {
    let lines: Vec<&str> = file.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
    let comment = words.join(" ");
    let mut bad = Complaints::new();
    for words in ["*The problem:*", "*What to look at:*", "second", "exit code 0 if every claim held"] {
        if !comment.contains(words) {
            bad.push(format!("{}: its first comment does not say `{words}`", file.path));
        }
    }
    let command = |line: &str| line.trim_start().starts_with("cargo run ") && line.contains(name);
    if !lines.iter().copied().any(command) {
        bad.push(format!("{}: its first comment does not say how `{name}` is run", file.path));
    }
    if !file.text.contains("fn main() -> ExitCode") {
        bad.push(format!("{}: its `main` does not return an exit code", file.path));
    }
    bad
}

/// No example says by itself what the kit says for all.
pub(crate) fn own_verdict(file: &Source) -> Complaints {
    let text = without_comments(&file.text, Quotes::Keep);
    ["\"verdict:", "\\nverdict:", "BROKEN", "struct Verdict"]
        .iter()
        .filter(|words| text.contains(**words))
        .map(|words| format!("{}: `{words}` is for the kit to say", file.path))
        .collect()
}

/// What stands in backticks and ends like a file of ours is there, below `folder`.
pub(crate) fn names_files(page: &Source, exists: impl Fn(&str) -> bool) -> Complaints {
    let file = |word: &&str| word.ends_with(".rs") && !word.contains(['*', '{', ' ']);
    let words = page.text.split('`').skip(1).step_by(2).filter(file);
    words
        .filter(|path| !exists(path))
        .map(|path| format!("{}: names `{path}`, which is not there", page.path))
        .collect()
}

/// Links lead to what is there, seen from the folder of the page.
pub(crate) fn links(page: &Source, exists: impl Fn(&str) -> bool) -> Complaints {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut bad = Complaints::new();
    for (at, _) in page.text.match_indices("](") {
        let to = page.text[at + 2..].split([')', '#']).next().unwrap_or_default();
        if to.is_empty() || to.starts_with("https://") {
            continue;
        }
        let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in to.split('/') {
            match part {
                ".." => _ = path.pop(),
                part => path.push(part),
            }
        }
        if !exists(&path.join("/")) {
            bad.push(format!("{}:{}: leads to `{to}`, which is not there", page.path, line(&page.text, at)));
        }
    }
    bad
}

/// Commands name programs and packages that there are.
pub(crate) fn commands(
    page: &Source,
    programs: &BTreeSet<String>,
    packages: &BTreeSet<String>,
) -> Complaints {
    let mut bad = Complaints::new();
    for (option, known) in
        [("--example", programs), ("--bin", programs), ("--package", packages), ("-p", packages)]
    {
        for line in page.text.lines().filter(|line| line.contains("cargo ")) {
            let mut words = line.split([' ', '`', '"']);
            while words.by_ref().any(|word| word == option) {
                let word = words.next().unwrap_or_default();
                let name = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
                // Where it stands for any, it is written large.
                if !known.contains(name) && name.contains(|letter: char| letter.is_ascii_lowercase()) {
                    bad.push(format!("{}: `{option} {name}` names nothing that there is", page.path));
                }
            }
        }
    }
    bad
}

/// What the table of the front page names as `module::Item` is exported by that module, and each module is named.
pub(crate) fn map(page: &Source, modules: &[(String, String)]) -> Complaints {
    let rows = page.text.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let named: Vec<(&str, &str)> = words.filter_map(|word| word.split_once("::")).collect();
    let mut bad = Complaints::new();
    for (module, rest) in &named {
        let item = rest.split("::").next().unwrap_or_default();
        // Others' crates are named, too.
        let Some((_, exports)) = modules.iter().find(|(name, _)| name == module) else { continue };
        if crate::source::places(exports, item).is_empty() {
            bad.push(format!("{}: `{module}` has no `{item}`", page.path));
        }
    }
    for (module, _) in modules {
        if !named.iter().any(|(name, _)| name == module) {
            bad.push(format!("{}: the table does not name what `{module}` has", page.path));
        }
    }
    bad
}

/// How many versions, cases and modules a page that compares has named, and which of them are not there: the versions in the lock file,
/// the cases among those of the peers, the modules where one moves in.
pub(crate) fn compared(
    page: &Source,
    lock: &str,
    cases: &str,
    is_module: impl Fn(&str) -> bool,
) -> (usize, Complaints) {
    let (mut named, mut bad) = (0, Complaints::new());
    let mut must = |holds: bool, what: String| {
        named += 1;
        if !holds {
            bad.push(format!("{}: {what}", page.path));
        }
    };
    // In the paragraph that begins them, each stands behind the name of its crate; a family goes by any of its members.
    let versions = page.text.split("The versions:").nth(1).and_then(|rest| rest.split("\n\n").next());
    for entry in versions.unwrap_or_default().trim_end_matches('.').split(',') {
        let words: Vec<&str> = entry.split_whitespace().collect();
        let [.., name, version] = words[..] else { continue };
        // "the crates of a family 1.0.0"
        let begins = format!("name = \"{name}{}", if words.len() > 2 { "" } else { "\"" });
        let is_built = lock.split("\n\n").any(|package| {
            package.contains(&begins) && package.contains(&format!("\nversion = \"{version}\""))
        });
        must(is_built, format!("{name} is not built in version {version}"));
    }
    for row in page.text.lines().filter(|line| line.starts_with('|')) {
        let shown = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        // `F` and `M` stand before the names that they are for.
        let mut kind = ' ';
        for (at, part) in shown.split('`').enumerate() {
            match (at % 2, part.trim_start_matches([',', ';']).trim()) {
                (0, "") => {}
                (0, letter) => kind = letter.chars().next_back().unwrap_or(' '),
                (_, name) if kind == 'F' => {
                    must(cases.contains(&format!("name: \"{name}\",")), format!("no case is called {name}"));
                }
                (_, name) if kind == 'M' => must(is_module(name), format!("no module is called {name}")),
                _ => {}
            }
        }
    }
    (named, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! Why?\n//!\n//! *The problem:* p.\n//! *What to look at:* l.\n//!\n//!     cargo run --example outage\n//!\n\
                        //! It takes a second, and ends with exit code 0 if every\n//! claim held.\nfn main() -> ExitCode {}\n";

    #[test]
    fn an_example_of_another_shape_is_seen() {
        let bad = |text: &str| one_shape(&Source::new("outage.rs", text), "outage").len();
        assert_eq!(bad(GOOD), 0);
        for part in [
            "*The problem:*",
            "*What to look at:*",
            "second",
            "claim held",
            "--example outage",
            "-> ExitCode",
        ] {
            assert_eq!(bad(&GOOD.replace(part, "")), 1, "{part}");
        }
        let own = |text: &str| own_verdict(&Source::new("outage.rs", text)).len();
        assert_eq!(own("struct Verdict; f(\"verdict: good\", \"\\nverdict: bad\", \"BROKEN\")"), 4);
        assert_eq!(own("// \"verdict: BROKEN\"\nfn f(verdict: Verdict) {}"), 0);
    }

    #[test]
    fn a_program_goes_by_its_path() {
        let name = |path: &str| program(&Source::new(path, GOOD)).map(str::to_owned);
        for path in [
            "outage.rs",
            "outage/main.rs",
            "p/src/bin/outage.rs",
            "p/src/bin/outage/main.rs",
            "outage/src/main.rs",
        ] {
            assert_eq!(name(path).as_deref(), Some("outage"), "{path}");
        }
        assert_eq!(program(&Source::new("kit/mod.rs", "//! fn main() {}\n")), None);
    }

    #[test]
    fn what_a_page_names_and_is_not_there_is_seen() {
        let there = |path: &str| ["a.rs", "docs/a.md", "README.md"].contains(&path);
        assert_eq!(names_files(&page("`a.rs` `b.rs` `c` `*.rs`"), there).len(), 1);
        assert_eq!(
            links(&page("[a](a.md) [b](../README.md#b) [c](https://c.example) [d](#d)"), there).len(),
            0
        );
        assert_eq!(links(&page("[a](b.md) [b](README.md)"), there).len(), 2);
        let known = BTreeSet::from(["outage".to_owned(), "peers".to_owned()]);
        let bad = |text: &str| commands(&page(text), &known, &known).len();
        assert_eq!(
            bad("`cargo run --example outage` or `cargo run -p peers --bin NAME`, with --example what"),
            1
        );
        assert_eq!(bad("cargo run --example what\ncargo test --package others\nmkdir -p there"), 2);
    }

    #[test]
    fn a_comparison_that_names_what_is_not_built_or_run_is_seen() {
        let lock = "[[package]]\nname = \"tower\"\nversion = \"0.5.3\"\n\n[[package]]\nname = \"all-of-it\"\nversion = \"1.0.0\"\n\n";
        let look = |text: &str| {
            let (named, bad) = compared(&page(text), lock, "name: \"window\",", |name| name == "from_it");
            (named, bad.len())
        };
        assert_eq!(look("The versions: tower 0.5.3, those\nof all 1.0.0.\n\nand 0.4.0"), (2, 0));
        assert_eq!(look("The versions: tower 0.5.4, all 1.0.0.\n"), (2, 2));
        assert_eq!(look("| a | b | F `window`, M `from_it` |\n| `c` | d | P, the rest |"), (2, 0));
        assert_eq!(look("| a | b | F `window`, `wedge`; M `from_that` |\n| c | d | `a_test` |"), (3, 2));
    }

    fn page(text: &str) -> Source {
        Source::new("docs/page.md", text)
    }

    #[test]
    fn a_map_that_names_what_is_not_exported_or_leaves_a_module_out_is_seen() {
        let modules = [("retry".to_owned(), "pub use self::layer::RetryLayer;".to_owned())];
        let bad = |text: &str| map(&Source::new("README.md", text), &modules).len();
        assert_eq!(bad("| p | `retry::RetryLayer`, `backoff::Backoff` | `retry` |"), 0);
        assert_eq!(bad("| p | `retry::RetryLayers` |"), 1);
        assert_eq!(bad("`retry::RetryLayer`"), 1);
    }
}
