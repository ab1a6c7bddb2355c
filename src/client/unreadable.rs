//! What stands at the end of the chain when a response arrived and was of no use. Nothing here shows a body.

use std::fmt;

use http::StatusCode;

/// The server answered with a status of 4xx or 5xx, and an error was asked for: see
/// [`error_for_status`](super::Response::error_for_status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    code: StatusCode,
}

impl Status {
    pub(super) const fn new(code: StatusCode) -> Self {
        Self { code }
    }

    /// The status.
    #[must_use]
    pub const fn code(&self) -> StatusCode {
        self.code
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.code)
    }
}

impl std::error::Error for Status {}

/// A body is not UTF-8: see [`text`](super::Response::text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText {
    valid_up_to: usize,
}

impl NotText {
    pub(super) const fn new(valid_up_to: usize) -> Self {
        Self { valid_up_to }
    }

    /// How many bytes are text.
    #[must_use]
    pub const fn valid_up_to(&self) -> usize {
        self.valid_up_to
    }
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is not UTF-8 after byte {}", self.valid_up_to)
    }
}

impl std::error::Error for NotText {}

/// A body is not the JSON that was asked for: see [`json`](super::Response::json).
///
/// It says where and what the type asks for, and not what stands there. To see that in development, read
/// [`bytes`](super::Response::bytes) and parse them yourself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson {
    line: usize,
    column: usize,
    syntax: bool,
    asked: Option<Box<str>>,
}

impl NotJson {
    pub(super) fn of(error: &serde_json::Error) -> Self {
        let syntax = !error.is_data();
        let (line, column, message) = (error.line(), error.column(), error.to_string());
        // Where it stands is said apart.
        let place = if line > 0 { format!(" at line {line} column {column}") } else { String::new() };
        let message = message.strip_suffix(&*place).filter(|_| !syntax);
        Self { line, column, syntax, asked: message.and_then(asked).map(Box::from) }
    }

    /// The line, counted from 1; 0 if nobody knows, as in a type that is read twice (`tag`, `untagged`).
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1 in bytes; 0 if only the line is known.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }

    /// Whether the body is no JSON at all; otherwise it is JSON of another shape.
    #[must_use]
    pub const fn is_syntax(&self) -> bool {
        self.syntax
    }

    /// What the type that was to be read asks for and did not get, if that can be told from what stands there: ``missing field `id` `` or
    /// `expected u32`.
    #[must_use]
    pub fn asked(&self) -> Option<&str> {
        self.asked.as_deref()
    }
}

/// The part of what serde says that is of the type: what stands in the body is somebody's data.
fn asked(message: &str) -> Option<&str> {
    // Each has what was expected at its end. An unknown field or variant has not always, and its name may be anything.
    const FOUND: [&str; 3] = ["invalid type: ", "invalid value: ", "invalid length "];
    const EXPECTED: &str = ", expected ";
    if message.starts_with("missing field `") {
        return Some(message);
    }
    // What was found comes first, and may say anything.
    let at = message.rfind(EXPECTED).filter(|_| FOUND.iter().any(|found| message.starts_with(found)))?;
    Some(&message[at + ", ".len()..])
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.syntax { "is not JSON" } else { "is JSON of another shape" };
        write!(f, "the body {what}")?;
        if self.line > 0 {
            write!(f, ", at line {}, column {}", self.line, self.column)?;
        }
        self.asked.iter().try_for_each(|asked| write!(f, ": {asked}"))
    }
}

impl std::error::Error for NotJson {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an order")]
    #[expect(dead_code, reason = "it is only read")]
    struct Order {
        id: u32,
        state: Option<State>,
        pair: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Open,
        Closed,
    }

    #[test]
    fn nothing_that_stands_there_is_taken_for_what_the_type_asks_for() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        #[expect(dead_code, reason = "it is only read")]
        struct Outer {
            #[serde(flatten)]
            inner: Inner,
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is only read")]
        struct Inner {
            n: u8,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        struct Empty {}
        #[derive(Debug, Deserialize)]
        #[serde(tag = "kind", expecting = "a table")]
        #[expect(dead_code, reason = "it is only read")]
        enum Tagged {
            A { id: u8 },
        }
        let of = |read: Result<(), serde_json::Error>| NotJson::of(&read.unwrap_err());
        for body in [r#"{"n":1,"a, expected secret\n":1}"#, r#"{"n":1,"a, expected `secret":1}"#] {
            let outer = of(serde_json::from_str::<Outer>(body).map(drop));
            assert_eq!(outer.asked(), None, "{body}");
            let empty = of(serde_json::from_str::<Empty>(body).map(drop));
            assert_eq!(empty.asked(), None, "{body}");
        }
        let body = r#"{"kind":"A","id":"bad, expected secret at line 1 column 5"}"#;
        let tagged = of(serde_json::from_str::<Tagged>(body).map(drop));
        assert_eq!((tagged.line(), tagged.asked()), (0, Some("expected u8")));
        assert_eq!(tagged.to_string(), "the body is JSON of another shape: expected u8");
    }

    #[test]
    fn what_the_type_asks_for_is_told_and_what_stands_there_is_not() {
        let at = |json: &str| NotJson::of(&serde_json::from_str::<Order>(json).unwrap_err());
        for (json, asked) in [
            ("{}", Some("missing field `id`")),
            (r#"{"id": "secret"}"#, Some("expected u32")),
            (r#"{"id": ", expected secret at line 7"}"#, Some("expected u32")),
            (r#"{"id": -7}"#, Some("expected u32")),
            (r#"{"id": 7, "state": "secret"}"#, None),
            (r#"{"id": 7, "pair": [7]}"#, Some("expected a tuple of size 2")),
            (r#"{"secret": 7}"#, None),
            (r#"{"id": 7, "id": 7}"#, None),
            (r#"{"id" "secret"}"#, None),
        ] {
            let error = at(json);
            assert_eq!(
                (error.asked(), error.line(), error.is_syntax()),
                (asked, 1, json.contains("\" \"")),
                "{json}"
            );
            assert!(!format!("{error} {error:?}").contains("secret"), "{json}");
        }
        assert_eq!(
            at("{}").to_string(),
            "the body is JSON of another shape, at line 1, column 2: missing field `id`"
        );
    }

    #[test]
    fn what_is_said_has_the_status_and_the_place() {
        assert_eq!(Status::new(StatusCode::NOT_FOUND).to_string(), "the server answered 404 Not Found");
        assert_eq!(NotText::new(4).to_string(), "the body is not UTF-8 after byte 4");
    }
}
