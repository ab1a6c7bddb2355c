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
/// It says where, and not what stands there. To see that in development, read [`bytes`](super::Response::bytes) and
/// parse them yourself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    line: usize,
    column: usize,
    syntax: bool,
}

impl NotJson {
    pub(super) fn of(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column(), syntax: !error.is_data() }
    }

    /// The line, counted from 1.
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
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.syntax { "is not JSON" } else { "is JSON of another shape" };
        write!(f, "the body {what}, at line {}, column {}", self.line, self.column)
    }
}

impl std::error::Error for NotJson {}
