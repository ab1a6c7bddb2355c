//! What a stream of bytes says, after WHATWG HTML, section 9.2.6.

use std::time::Duration;

use bytes::{Buf, Bytes};

use super::EventTooLarge;

const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// An event that a server sent, as an [`EventParser`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    name: String,
    data: String,
    id: String,
}

impl ServerEvent {
    /// What the server calls this kind of event; `"message"` if it does not say.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.name.is_empty() { "message" } else { &self.name }
    }

    /// What it says: its lines of data, with `\n` between them.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// The same, without a copy.
    #[must_use]
    pub fn into_data(self) -> String {
        self.data
    }

    /// Where in the stream one is after this event: its id, or that of the last event which had one. Empty if none had.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Reads events from bytes, however those are cut into pieces. It never waits, and holds what belongs to one event.
///
/// ```
/// use bytes::Bytes;
/// use stonework::sse::EventParser;
///
/// let mut parser = EventParser::new(1024);
/// let mut piece = Bytes::from("event: add\ndata: 73857293\n\ndata: not who");
/// let event = parser.read(&mut piece)?.expect("a whole one");
/// assert_eq!((event.name(), event.data()), ("add", "73857293"));
/// assert_eq!(parser.read(&mut piece)?, None);
/// assert!(piece.is_empty());
/// # Ok::<(), stonework::sse::EventTooLarge>(())
/// ```
#[derive(Clone, Debug)]
pub struct EventParser {
    most: usize,
    line: Vec<u8>,
    name: String,
    data: String,
    id: String,
    last_id: String,
    retry: Option<Duration>,
    is_first_line: bool,
    after_cr: bool,
}

impl EventParser {
    /// At the beginning of a stream, of which no event has more than `max_event` bytes.
    #[must_use]
    pub const fn new(max_event: usize) -> Self {
        Self {
            most: max_event,
            line: Vec::new(),
            name: String::new(),
            data: String::new(),
            id: String::new(),
            last_id: String::new(),
            retry: None,
            is_first_line: true,
            after_cr: false,
        }
    }

    /// Another stream begins, which goes on where this one broke off: what was not whole is forgotten, the
    /// [last id](Self::last_event_id) and the [time](Self::retry) are not. An event with no id is then still behind the last one that had one.
    pub fn begin_again(&mut self) {
        self.line = Vec::new();
        self.name.clear();
        self.data.clear();
        self.id.clone_from(&self.last_id);
        self.is_first_line = true;
        self.after_cr = false;
    }

    /// Take bytes from the front, up to the end of the next event, and give that. `None`: all bytes are taken, and it was not among them.
    ///
    /// # Errors
    ///
    /// There would be more to hold than one event may have. The bytes are left, and so is the error, until the parser
    /// [begins again](Self::begin_again).
    pub fn read(&mut self, bytes: &mut Bytes) -> Result<Option<ServerEvent>, EventTooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes.advance(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let held = self.line.len() + self.name.len() + self.data.len() + self.id.len();
            if held.saturating_add(piece.len()) > self.most {
                return Err(EventTooLarge::new(self.most));
            }
            self.line.extend_from_slice(piece);
            let Some(end) = end else {
                bytes.clear();
                return Ok(None);
            };
            self.after_cr = bytes[end] == b'\r';
            bytes.advance(end + 1);
            if let Some(event) = self.end_of_line() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The id of the last event that was whole and had one: what a stream that goes on behind it is asked for with. Empty if there is none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// How long to wait before asking again, as the server said last.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// As if an event with this id had been the last one.
    pub(super) fn go_on_after(&mut self, id: String) {
        self.last_id = id;
        self.id.clone_from(&self.last_id);
    }

    fn end_of_line(&mut self) -> Option<ServerEvent> {
        let mut line = std::mem::take(&mut self.line);
        let mark = std::mem::take(&mut self.is_first_line) && line.starts_with(BYTE_ORDER_MARK);
        let text = if mark { &line[BYTE_ORDER_MARK.len()..] } else { &line[..] };
        let event = if text.is_empty() {
            self.end_of_event()
        } else {
            self.field(text);
            None
        };
        // Its memory serves for the next one.
        line.clear();
        self.line = line;
        event
    }

    fn field(&mut self, line: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.name = text(value),
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"id" if !value.contains(&0) => self.id = text(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let add =
                    |all: u64, digit: &u8| all.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                self.retry = Some(Duration::from_millis(value.iter().fold(0, add)));
            }
            // A comment, whose name is empty, among them.
            _ => {}
        }
    }

    /// An id counts from here on, and not from its line: what breaks off before was not received.
    fn end_of_event(&mut self) -> Option<ServerEvent> {
        self.last_id.clone_from(&self.id);
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(ServerEvent { name, data, id: self.id.clone() })
    }
}

/// What is no UTF-8 is replaced. No ending of a line is ever a part of what is.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_made_of_digits_and_anything_else_is_no_time() {
        for (value, expected) in [
            ("0", Some(0)),
            ("1500", Some(1_500)),
            ("", None),
            ("1.5", None),
            ("-1", None),
            (" 7", None),
            ("99999999999999999999999", Some(u64::MAX)),
        ] {
            let mut parser = EventParser::new(100);
            let mut bytes = Bytes::from(format!("retry: {value}\n"));
            assert_eq!(parser.read(&mut bytes), Ok(None));
            assert_eq!(parser.retry(), expected.map(Duration::from_millis), "{value:?}");
        }
    }

    #[test]
    fn an_event_may_have_as_many_bytes_as_are_allowed_and_none_more() {
        for (most, is_read) in [(9, true), (8, false)] {
            let mut parser = EventParser::new(most);
            let read = parser.read(&mut Bytes::from_static(b"data: abc\n\n"));
            assert_eq!(read.is_ok_and(|event| event.is_some()), is_read, "{most}");
        }
    }
}
