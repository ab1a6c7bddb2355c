//! What becomes of the text of a file.

use crate::mutant::{Genre, Mutant, Place, Span};
use crate::paste::paste;
use crate::wraps::wraps;

/// The file with a switch for one mutant, which is in place of the first `old` that it holds.
fn grafted(text: &str, genre: Genre, old: &str, new: &str) -> String {
    let at = text.find(old).expect("it is there");
    let place = |at: usize| Place { line: 1, column: text[..at].chars().count() + 1 };
    let span = Span { start: place(at), end: place(at + old.len()) };
    let mutant =
        Mutant { file: String::new(), name: String::new(), genre, replacement: new.to_owned(), span };
    paste(text, &wraps(text, &[(7, &mutant)]).expect("it is Rust")).text.replace("crate::mutant::on(7)", "ON")
}

#[test]
fn a_function_returns_at_once() {
    let text = grafted("fn two() -> u8 { 1 + 1 }", Genre::FnValue, "1 + 1", "0");
    assert_eq!(text, "fn two() -> u8 { if ON { return 0; } 1 + 1 }");
}

#[test]
fn an_operator_is_another_one() {
    let text = grafted("fn f(a: u8) -> bool { 'ä' == 'ö' || a < 3 }", Genre::BinaryOperator, "<", "<=");
    assert_eq!(text, "fn f(a: u8) -> bool { 'ä' == 'ö' || (if ON { a <= 3 } else { a < 3 }) }");
    let text = grafted("fn f(mut a: u8) { a += 3; }", Genre::BinaryOperator, "+=", "-=");
    assert_eq!(text, "fn f(mut a: u8) { (if ON { a -= 3 } else { a += 3 }); }");
}

#[test]
fn an_operator_beside_a_pattern_is_left_alone() {
    let text = "fn f(a: Option<bool>) -> bool { if a.is_some() && let Some(a) = a { a } else { false } }";
    assert_eq!(grafted(text, Genre::BinaryOperator, "&&", "||"), text);
}

#[test]
fn a_negation_is_gone() {
    assert_eq!(
        grafted("fn f(a: bool) -> bool { !a }", Genre::UnaryOperator, "!", ""),
        "fn f(a: bool) -> bool { (if ON { a } else { !a }) }"
    );
}

#[test]
fn an_arm_is_passed_by() {
    let text = grafted("fn f(a: u8) -> u8 { match a { 1 => 2, _ => 3 } }", Genre::MatchArm, "1 => 2,", "");
    assert_eq!(text, "fn f(a: u8) -> u8 { match a { 1 if !ON && true => 2, _ => 3 } }");
    let text = grafted(
        "fn f(a: u8) -> u8 { match a { n if n > 4 => 2, _ => 3 } }",
        Genre::MatchArm,
        "n if n > 4 => 2,",
        "",
    );
    assert_eq!(text, "fn f(a: u8) -> u8 { match a { n if !ON && ((n > 4)) => 2, _ => 3 } }");
}

#[test]
fn a_guard_is_always_or_never_so() {
    let text = "fn f(a: u8) -> u8 { match a { n if n > 4 => 2, _ => 3 } }";
    let always = grafted(text, Genre::MatchArmGuard, "n > 4", "true");
    assert_eq!(always, "fn f(a: u8) -> u8 { match a { n if (ON || (n > 4)) => 2, _ => 3 } }");
    let never = grafted(text, Genre::MatchArmGuard, "n > 4", "false");
    assert_eq!(never, "fn f(a: u8) -> u8 { match a { n if (!ON && (n > 4)) => 2, _ => 3 } }");
}

#[test]
fn a_field_is_what_it_was_before() {
    let text = grafted("fn f(s: S) -> S { S { a: 1, ..s } }", Genre::StructField, "a: 1", "");
    assert_eq!(text, "fn f(s: S) -> S { S { a: (if ON { (s).a } else { 1 }), ..s } }");
    let text = grafted("fn f(s: S, a: u8) -> S { S { a, ..s } }", Genre::StructField, "a, ..", "");
    assert_eq!(text, "fn f(s: S, a: u8) -> S { S { a: if ON { (s).a } else { a }, ..s } }");
}
