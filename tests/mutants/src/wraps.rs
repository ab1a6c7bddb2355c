//! Where the switches of a file's mutants stand: what goes before and what behind which piece of its text.

use std::collections::HashMap;
use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::mutant::{Genre, Mutant, Place};

/// Text around a piece of a file. What stands between the two is run unless a switch is on.
#[derive(Debug)]
pub(crate) struct Wrap {
    /// The bytes that are run as they were; of a function all that it does.
    pub(crate) around: Range<usize>,
    pub(crate) before: Vec<Part>,
    pub(crate) behind: &'static str,
}

/// The text that a mutant brings is kept apart: what the compiler says of it is said of that mutant.
#[derive(Debug)]
pub(crate) enum Part {
    Plain(String),
    Of(usize, String),
}

/// Those of one file, with their numbers. A mutant without a wrap is one whose place was not found.
pub(crate) fn wraps(text: &str, mutants: &[(usize, &Mutant)]) -> syn::Result<Vec<Wrap>> {
    let mut by_place: HashMap<Place, Vec<(usize, &Mutant)>> = HashMap::new();
    for (number, mutant) in mutants {
        by_place.entry(mutant.span.start).or_default().push((*number, mutant));
    }
    let file = syn::parse_file(text)?;
    let mut finder = Finder { lines: Lines::new(text), text, by_place, found: Vec::new() };
    finder.functions();
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'a> {
    lines: Lines,
    text: &'a str,
    by_place: HashMap<Place, Vec<(usize, &'a Mutant)>>,
    found: Vec<Wrap>,
}

impl<'a> Finder<'a> {
    /// What is put before all that a function does needs no syntax: it is the span that is named.
    fn functions(&mut self) {
        for (number, mutant) in self.by_place.values().flatten() {
            if mutant.genre == Genre::FnValue {
                let around = self.lines.byte(mutant.span.start)..self.lines.byte(mutant.span.end);
                let before = vec![Part::Of(
                    *number,
                    format!("if {} {{ return {}; }} ", on(*number), mutant.replacement),
                )];
                self.found.push(Wrap { around, before, behind: "" });
            }
        }
    }

    fn at(&self, node: &impl Spanned, genre: Genre) -> Vec<(usize, &'a Mutant)> {
        let here = self.by_place.get(&place(node.span().start()));
        here.into_iter().flatten().filter(|(_, mutant)| mutant.genre == genre).copied().collect()
    }

    fn range(&self, node: &impl Spanned) -> Range<usize> {
        let span = node.span();
        self.lines.byte(place(span.start()))..self.lines.byte(place(span.end()))
    }

    /// `(if on(1) { this } else if on(2) { that } else { as it was })`
    fn choice(&mut self, around: Range<usize>, instead: Vec<(usize, String)>) {
        let mut before = vec![Part::Plain("(".to_owned())];
        for (number, text) in instead {
            before.push(Part::Of(number, format!("if {} {{ {text} }} else ", on(number))));
        }
        before.push(Part::Plain("{ ".to_owned()));
        self.found.push(Wrap { around, before, behind: " })" });
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let here = self.at(&node.op, Genre::BinaryOperator);
        if !here.is_empty() && !has_let(&node.left) && !has_let(&node.right) {
            let (left, right) = (&self.text[self.range(&node.left)], &self.text[self.range(&node.right)]);
            let instead = here
                .iter()
                .map(|(number, mutant)| (*number, format!("{left} {} {right}", mutant.replacement)));
            self.choice(self.range(node), instead.collect());
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let here = self.at(&node.op, Genre::UnaryOperator);
        if !here.is_empty() {
            let without = self.text[self.range(&node.expr)].to_owned();
            self.choice(
                self.range(node),
                here.iter().map(|(number, _)| (*number, without.clone())).collect(),
            );
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let gone: String = self
            .at(node, Genre::MatchArm)
            .iter()
            .map(|(number, _)| format!("!{} && ", on(*number)))
            .collect();
        let numbers: Vec<usize> = self.at(node, Genre::MatchArm).iter().map(|(number, _)| *number).collect();
        let part = |text: String| {
            numbers.first().map_or(Part::Plain(text.clone()), |number| Part::Of(*number, text))
        };
        if let Some((_, guard)) = &node.guard {
            let around = self.range(guard);
            let mut before = vec![part(format!("{gone}("))];
            let mut others = self.at(guard, Genre::MatchArmGuard);
            // What is always true goes first: `&&` binds closer.
            others.sort_by_key(|(_, mutant)| mutant.replacement != "true");
            for (number, mutant) in others {
                let other = if mutant.replacement == "true" {
                    format!("{} || ", on(number))
                } else {
                    format!("!{} && ", on(number))
                };
                before.push(Part::Of(number, other));
            }
            before.push(Part::Plain("(".to_owned()));
            if before.len() > 2 || !numbers.is_empty() {
                self.found.push(Wrap { around, before, behind: "))" });
            }
        } else if !numbers.is_empty() {
            let end = self.range(&node.pat).end;
            self.found.push(Wrap {
                around: end..end,
                before: vec![part(format!(" if {gone}true"))],
                behind: "",
            });
        }
        visit::visit_arm(self, node);
    }

    /// Where the arms that are left do not suffice, the compiler speaks of the whole.
    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let arms = node.arms.iter().flat_map(|arm| self.at(arm, Genre::MatchArm));
        let before: Vec<Part> = arms.map(|(number, _)| Part::Of(number, String::new())).collect();
        if !before.is_empty() {
            self.found.push(Wrap { around: self.range(node), before, behind: "" });
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        for field in &node.fields {
            let here = self.at(field, Genre::StructField);
            let (Some(rest), false) = (&node.rest, here.is_empty()) else { continue };
            let (rest, member) = (&self.text[self.range(&**rest)], &self.text[self.range(&field.member)]);
            let instead: Vec<_> =
                here.iter().map(|(number, _)| (*number, format!("({rest}).{member}"))).collect();
            let around = self.range(&field.expr);
            if field.colon_token.is_some() {
                self.choice(around, instead);
            } else {
                let (number, text) = instead[0].clone();
                let before =
                    vec![Part::Of(number, format!("{member}: if {} {{ {text} }} else {{ ", on(number)))];
                self.found.push(Wrap { around, before, behind: " }" });
            }
        }
        visit::visit_expr_struct(self, node);
    }
}

fn on(number: usize) -> String {
    format!("crate::mutant::on({number})")
}

/// `a && let Some(b) = c` is no expression that could stand elsewhere.
fn has_let(side: &syn::Expr) -> bool {
    match side {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        _ => false,
    }
}

fn place(at: LineColumn) -> Place {
    Place { line: at.line, column: at.column + 1 }
}

/// The bytes at which lines begin, and what they hold: columns count characters.
struct Lines(Vec<(usize, String)>);

impl Lines {
    fn new(text: &str) -> Self {
        let mut begin = 0;
        Self(
            text.split_inclusive('\n')
                .map(|line| {
                    let at = begin;
                    begin += line.len();
                    (at, line.to_owned())
                })
                .collect(),
        )
    }

    fn byte(&self, place: Place) -> usize {
        let (begin, line) = &self.0[place.line - 1];
        begin + line.char_indices().nth(place.column - 1).map_or(line.len(), |(at, _)| at)
    }
}
