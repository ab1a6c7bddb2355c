//! A file with all its switches, which knows where each mutant's own text stands.

use std::ops::Range;

use crate::wraps::{Part, Wrap};

pub(crate) struct Pasted {
    pub(crate) text: String,
    /// The text that a mutant brought.
    pub(crate) own: Vec<(Range<usize>, usize)>,
    /// What it is put around, its own text included.
    pub(crate) around: Vec<(Range<usize>, usize)>,
}

pub(crate) fn paste(text: &str, wraps: &[Wrap]) -> Pasted {
    // What is longer stands outside, also where both begin or end at the same byte; a whole function stands outside what it does.
    let mut order: Vec<usize> = (0..wraps.len()).collect();
    order.sort_by_key(|wrap| {
        let wrap = &wraps[*wrap];
        (wrap.around.start, std::cmp::Reverse(wrap.around.end), !wrap.behind.is_empty())
    });
    let mut pasted =
        Pasted { text: String::with_capacity(text.len() * 2), own: Vec::new(), around: Vec::new() };
    let mut open: Vec<(&Wrap, usize)> = Vec::new();
    let mut copied = 0;
    for wrap in order.iter().map(|wrap| &wraps[*wrap]) {
        close(&mut pasted, &mut open, text, &mut copied, wrap.around.start);
        pasted.text.push_str(&text[copied..wrap.around.start]);
        copied = wrap.around.start;
        open.push((wrap, pasted.text.len()));
        for part in &wrap.before {
            let begin = pasted.text.len();
            match part {
                Part::Plain(text) => pasted.text.push_str(text),
                Part::Of(number, text) => {
                    pasted.text.push_str(text);
                    pasted.own.push((begin..pasted.text.len(), *number));
                }
            }
        }
    }
    close(&mut pasted, &mut open, text, &mut copied, usize::MAX);
    pasted.text.push_str(&text[copied..]);
    pasted
}

/// End all that end at `until` or before.
fn close(pasted: &mut Pasted, open: &mut Vec<(&Wrap, usize)>, text: &str, copied: &mut usize, until: usize) {
    while let Some((wrap, begin)) = open.last() {
        if wrap.around.end > until {
            return;
        }
        pasted.text.push_str(&text[*copied..wrap.around.end]);
        *copied = wrap.around.end;
        pasted.text.push_str(wrap.behind);
        for part in &wrap.before {
            if let Part::Of(number, _) = part {
                pasted.around.push((*begin..pasted.text.len(), *number));
            }
        }
        open.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(around: Range<usize>, before: &str, behind: &'static str) -> Wrap {
        Wrap { around, before: vec![Part::Of(7, before.to_owned())], behind }
    }

    #[test]
    fn what_is_longer_stands_outside() {
        let text = "a && b && c";
        let pasted = paste(text, &[wrap(0..6, "<", ">"), wrap(0..11, "[", "]"), wrap(10..11, "{", "}")]);
        assert_eq!(pasted.text, "[<a && b> && {c}]");
    }

    #[test]
    fn a_mutants_text_is_found_where_it_stands() {
        let pasted = paste("a < b", &[wrap(0..5, "(if on(7) { a > b } else { ", " })")]);
        assert_eq!(pasted.text, "(if on(7) { a > b } else { a < b })");
        assert_eq!(&pasted.text[pasted.own[0].0.clone()], "(if on(7) { a > b } else { ");
        assert_eq!(&pasted.text[pasted.around[0].0.clone()], pasted.text);
    }
}
