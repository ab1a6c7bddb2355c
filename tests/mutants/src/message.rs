//! What the compiler says, and which mutants it says it of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::paste::Pasted;

pub(crate) struct Said {
    pub(crate) succeeded: bool,
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) errors: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Line {
    reason: String,
    message: Option<Diagnostic>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<Span>,
    children: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

#[derive(Debug, Deserialize)]
struct Expansion {
    span: Span,
}

pub(crate) fn read(output: &str, succeeded: bool) -> Said {
    let mut said = Said { succeeded, programs: Vec::new(), errors: Vec::new() };
    for line in output.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        match (line.reason.as_str(), line.message, line.executable) {
            ("compiler-message", Some(error), _) if error.level == "error" && !error.spans.is_empty() => {
                said.errors.push(error)
            }
            ("compiler-artifact", _, Some(path)) => said.programs.push(path),
            _ => {}
        }
    }
    // The order is that in which they were ready.
    said.programs.sort();
    said
}

impl Said {
    pub(crate) fn rendered(&self) -> String {
        self.errors.iter().filter_map(|error| error.rendered.as_deref()).take(5).collect()
    }
}

/// An error is the fault of the mutant in whose text it is; else of one in whose text the compiler points to a reason; else
/// of the closest ones around it.
pub(crate) fn refused(errors: &[Diagnostic], files: &BTreeMap<String, Pasted>) -> BTreeSet<usize> {
    let mut refused = BTreeSet::new();
    for error in errors {
        let (primary, other): (Vec<&Span>, Vec<&Span>) =
            error.all_spans().into_iter().partition(|span| span.is_primary);
        let own = |spans: &[&Span]| -> BTreeSet<usize> {
            spans.iter().flat_map(|span| within(span, files, |file| &file.own)).collect()
        };
        let mut here = own(&primary);
        if here.is_empty() {
            here = own(&other);
        }
        if here.is_empty() {
            here = primary.iter().flat_map(|span| closest(span, files)).collect();
        }
        refused.extend(here);
    }
    refused
}

impl Diagnostic {
    fn all_spans(&self) -> Vec<&Span> {
        let mut all: Vec<&Span> = self.spans.iter().map(Span::outermost).collect();
        all.extend(self.children.iter().flat_map(|child| child.spans.iter().map(Span::outermost)));
        all
    }
}

impl Span {
    /// Where a macro was called, in whose text it is.
    fn outermost(&self) -> &Self {
        self.expansion.as_ref().map_or(self, |expansion| expansion.span.outermost())
    }
}

type Places = Vec<(std::ops::Range<usize>, usize)>;

fn within(span: &Span, files: &BTreeMap<String, Pasted>, places: impl Fn(&Pasted) -> &Places) -> Vec<usize> {
    let Some(file) = files.get(&span.file_name) else { return Vec::new() };
    let inside =
        places(file).iter().filter(|(place, _)| place.start <= span.byte_start && span.byte_end <= place.end);
    inside.map(|(_, number)| *number).collect()
}

/// Those that are put around it, of which the shortest; or, where there are none, all that are inside of it.
fn closest(span: &Span, files: &BTreeMap<String, Pasted>) -> Vec<usize> {
    let Some(file) = files.get(&span.file_name) else { return Vec::new() };
    let around =
        file.around.iter().filter(|(place, _)| place.start <= span.byte_start && span.byte_end <= place.end);
    let shortest = around.clone().map(|(place, _)| place.len()).min();
    let closest: Vec<usize> =
        around.filter(|(place, _)| Some(place.len()) == shortest).map(|(_, number)| *number).collect();
    if !closest.is_empty() {
        return closest;
    }
    let inside =
        file.own.iter().filter(|(place, _)| span.byte_start <= place.start && place.end <= span.byte_end);
    inside.map(|(_, number)| *number).collect()
}
