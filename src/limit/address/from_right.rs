//! Takes a list in header fields apart, from its end. Nothing here waits, locks or reads a clock.
//!
//! Whoever is asked for an address last stands last, and the client's own words stand before that. What is read from the
//! end never comes to them: whatever a client has written, an open quote included, changes nothing behind it.

use http::header::{GetAll, HeaderValue, ValueIter};

/// Quotes without a counterpart: where the list goes on from there, nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unbalanced;

/// The elements of a list that all lines of a header make together (RFC 9110, section 5.3), from the last one to the
/// first, without the whitespace around them.
///
/// An empty element is an element, though a recipient may leave it out (RFC 9110, section 5.6.1). Each proxy adds one; if
/// one of them added an empty one and it were left out, the count would come to what the client has written.
pub(super) struct FromRight<'a> {
    lines: ValueIter<'a, HeaderValue>,
    /// What is left of a line. Nothing, if it is used up.
    line: Option<&'a [u8]>,
    quotes: bool,
    broken: bool,
}

impl<'a> FromRight<'a> {
    /// With `quotes`, a comma within a quoted string does not end an element.
    pub(super) fn new(lines: &GetAll<'a, HeaderValue>, quotes: bool) -> Self {
        Self { lines: lines.iter(), line: None, quotes, broken: false }
    }
}

impl<'a> Iterator for FromRight<'a> {
    type Item = Result<&'a [u8], Unbalanced>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let line = match self.line.take() {
            Some(line) => line,
            None => self.lines.next_back()?.as_bytes(),
        };
        let split = if self.quotes { split_last(line, b',') } else { Ok(split_last_plain(line, b',')) };
        Some(match split {
            Ok((rest, element)) => {
                self.line = rest;
                Ok(element.trim_ascii())
            }
            Err(unbalanced) => {
                self.broken = true;
                Err(unbalanced)
            }
        })
    }
}

/// What stands before the last separator, if there is one, and what stands after it.
type Split<'a> = (Option<&'a [u8]>, &'a [u8]);

fn at(text: &[u8], separator: Option<usize>) -> Split<'_> {
    match separator {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    }
}

fn split_last_plain(text: &[u8], separator: u8) -> Split<'_> {
    at(text, text.iter().rposition(|byte| *byte == separator))
}

/// Splits at the last separator that does not stand in a quoted string. Each byte is looked at twice at most.
pub(super) fn split_last(text: &[u8], separator: u8) -> Result<Split<'_>, Unbalanced> {
    let mut end = text.len();
    while let Some(found) = text[..end].iter().rposition(|byte| *byte == separator || *byte == b'"') {
        if text[found] == separator {
            return Ok(at(text, Some(found)));
        }
        // The end of a quoted string. One behind a backslash would have to stand within one.
        if is_escaped(text, found) {
            return Err(Unbalanced);
        }
        end = opening(text, found).ok_or(Unbalanced)?;
    }
    Ok(at(text, None))
}

/// Where the quoted string begins whose closing quote this is.
fn opening(text: &[u8], closing: usize) -> Option<usize> {
    let mut end = closing;
    loop {
        let quote = text[..end].iter().rposition(|byte| *byte == b'"')?;
        if !is_escaped(text, quote) {
            return Some(quote);
        }
        end = quote;
    }
}

/// Whether an odd number of backslashes stands before it. Within a quoted string, where alone it matters, they cannot reach
/// beyond the quote that opens it.
fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn elements(lines: &[&str], quotes: bool) -> Vec<Option<String>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("via", line.parse().unwrap());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        FromRight::new(&headers.get_all("via"), quotes).map(|element| element.ok().map(text)).collect()
    }

    #[test]
    fn all_lines_are_one_list_which_is_read_from_its_end() {
        let some = |all: &[&str]| all.iter().map(|one| Some((*one).to_owned())).collect::<Vec<_>>();
        for quotes in [false, true] {
            assert_eq!(elements(&[], quotes), []);
            assert_eq!(elements(&["a, b ,\tc"], quotes), some(&["c", "b", "a"]));
            assert_eq!(elements(&["a,b", "", "c"], quotes), some(&["c", "", "b", "a"]));
            assert_eq!(elements(&[",a,,b,"], quotes), some(&["", "b", "", "a", ""]));
        }
        assert_eq!(elements(&["a=\"1,2\", b"], false), some(&["b", "2\"", "a=\"1"]));
        assert_eq!(elements(&["a=\"1,2\", b"], true), some(&["b", "a=\"1,2\""]));
    }

    #[test]
    fn a_quoted_string_holds_commas_and_quotes_behind_a_backslash() {
        for element in [
            r#"a=",""#,
            r#"a="""#,
            r#"a="\\""#,
            r#"a="\",\"""#,
            r#"a="\\\",""#,
            r#"a=",\\";b="\\,""#,
            r#"a=b\\",""#,
        ] {
            let line = format!("first, {element} , last");
            let found = elements(&[&line], true);
            assert_eq!(found, ["last", element, "first"].map(|one| Some(one.to_owned())), "{line}");
        }
    }

    #[test]
    fn behind_a_quote_without_its_counterpart_the_list_ends() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(elements(&["a", "b, c\", d"], true), [some("d"), None]);
        // Two lines are two: a quoted string does not go on in the next one.
        assert_eq!(elements(&["a=\"b", "c\", d"], true), [some("d"), None]);
        // No quoted string can end so.
        assert_eq!(elements(&["\"b\\\", d"], true), [some("d"), None]);
    }

    #[test]
    fn a_long_line_of_quotes_and_backslashes_takes_no_long_time() {
        let line = "\\\"".repeat(100_000);
        assert_eq!(elements(&[&format!("\"{line}"), "a"], true).len(), 2);
        assert_eq!(elements(&[&"\"".repeat(200_000)], true).len(), 1);
        assert_eq!(elements(&[&"\\".repeat(200_000)], true).len(), 1);
    }
}
