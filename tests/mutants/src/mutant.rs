//! What `cargo mutants` would change, one at a time.

use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// One change of one place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) genre: Genre,
    pub(crate) replacement: String,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// From the first character to the one after the last.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// Both count from one.
#[derive(Clone, Copy, Debug, Deserialize, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// All of the package at `root`, in the order of their places.
pub(crate) fn list(root: &Path) -> io::Result<Vec<Mutant>> {
    let said = Command::new("cargo").args(["mutants", "--list", "--json"]).current_dir(root).output()?;
    if !said.status.success() {
        return Err(io::Error::other(format!(
            "cargo mutants --list: {}",
            String::from_utf8_lossy(&said.stderr)
        )));
    }
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&said.stdout)?;
    mutants.sort_by(|a, b| (&a.file, a.span.start, a.span.end).cmp(&(&b.file, b.span.start, b.span.end)));
    Ok(mutants)
}

impl Mutant {
    /// Its name without line and column, which are others after each edit.
    pub(crate) fn lasting_name(&self) -> String {
        lasting(&self.name)
    }

    /// Why it does no harm that nobody notices it, where that is so for all of its kind.
    pub(crate) fn is_harmless(&self) -> Option<&'static str> {
        if self.name.contains("<impl fmt::Debug for ") {
            return Some("a text for whoever debugs");
        }
        if self.name.contains("::expecting -> fmt::Result") {
            return Some("the text of an error that nobody is shown");
        }
        // `cargo mutants` names the function that an operator stands in.
        (self.genre == Genre::BinaryOperator && !self.name.contains(" in "))
            .then_some("computed while it compiles, where no switch is on: not tried")
    }

    /// `src/retry/hop.rs` is of `retry`.
    pub(crate) fn module(&self) -> &str {
        let path = self.file.strip_prefix("src/").unwrap_or(&self.file);
        path.split(['/', '.']).next().unwrap_or(path)
    }
}

/// `src/a.rs:3:7: what` becomes `src/a.rs: what`.
fn lasting(name: &str) -> String {
    let Some((place, what)) = name.split_once(": ") else { return name.to_owned() };
    format!("{}: {what}", place.split(':').next().unwrap_or(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_constants_are_told_from_what_decides() {
        let harmless = |name: &str, genre| {
            let place = Place { line: 1, column: 1 };
            let span = Span { start: place, end: place };
            let (file, replacement) = (String::new(), String::new());
            Mutant { file, name: name.to_owned(), genre, replacement, span }.is_harmless().is_some()
        };
        assert!(harmless("src/a.rs:3:7: replace * with +", Genre::BinaryOperator));
        assert!(!harmless("src/a.rs:3:7: replace * with + in a", Genre::BinaryOperator));
        let debug =
            "src/a.rs:3:7: replace <impl fmt::Debug for A>::fmt -> fmt::Result with Ok(Default::default())";
        assert!(harmless(debug, Genre::FnValue));
        assert!(!harmless(&debug.replace("Debug", "Display"), Genre::FnValue));
    }

    #[test]
    fn a_name_outlives_an_edit_above_it() {
        assert_eq!(lasting("src/a.rs:3:7: replace a::b with ()"), "src/a.rs: replace a::b with ()");
    }
}
