use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::head::{Framing, header_line, text};

const LONGEST_LINE: usize = 8 * 1024;
const MOST_TRAILERS: usize = 100;

/// Takes a request body apart as its bytes come. It does no reading itself.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    trailers: HeaderMap,
}

/// What comes next on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes, and then the end.
    Length(u64),
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The empty line behind a chunk.
    ChunkEnd,
    /// Trailer lines up to an empty one.
    Trailers,
    Done,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Chunked => State::Size,
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
        };
        Self { state, trailers: HeaderMap::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// The next piece, of at most `most` bytes of data.
    pub(super) fn next(&mut self, input: &mut BytesMut, most: u64) -> Result<Piece, String> {
        loop {
            match self.state {
                State::Done => return Ok(Piece::End),
                State::Length(left) => {
                    let data = take(input, left.min(most));
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(if data.is_empty() { Piece::More } else { Piece::Data(data) });
                }
                State::Chunk(left) => {
                    let data = take(input, left.min(most));
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(if data.is_empty() { Piece::More } else { Piece::Data(data) });
                }
                State::Size => {
                    let Some(line) = take_line(input)? else { return Ok(Piece::More) };
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let size = plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
                    let size = size.ok_or_else(|| format!("not a chunk size: {line:?}"))?;
                    self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::ChunkEnd => match take_line(input)? {
                    None => return Ok(Piece::More),
                    Some(line) if line.is_empty() => self.state = State::Size,
                    Some(line) => return Err(format!("a chunk is longer than its size: {line:?}")),
                },
                State::Trailers => match take_line(input)? {
                    None => return Ok(Piece::More),
                    Some(line) if line.is_empty() => self.state = State::Done,
                    Some(_) if self.trailers.len() >= MOST_TRAILERS => {
                        return Err(format!("more than {MOST_TRAILERS} trailers"));
                    }
                    Some(line) => {
                        let (name, value) = header_line(&line)?;
                        self.trailers.append(name, value);
                    }
                },
            }
        }
    }
}

fn take(input: &mut BytesMut, most: u64) -> Bytes {
    let length = input.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    input.split_to(length).freeze()
}

fn take_line(input: &mut BytesMut) -> Result<Option<String>, String> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return if input.len() > LONGEST_LINE {
            Err(format!("a line of more than {LONGEST_LINE} bytes"))
        } else {
            Ok(None)
        };
    };
    let line = input.split_to(end);
    input.advance(1);
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    Ok(Some(text(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(framing: Framing, wire: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap, usize), String> {
        let (mut decoder, mut input, mut body) = (Decoder::new(framing), BytesMut::new(), Vec::new());
        let mut wire = wire.chunks(step);
        loop {
            match decoder.next(&mut input, u64::MAX)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => return Ok((body, decoder.trailers, input.len())),
                Piece::More => input.extend_from_slice(wire.next().ok_or("cut off")?),
            }
        }
    }

    #[test]
    fn chunks_and_trailers_are_read_however_they_are_cut() {
        let wire = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nx-sum: 7\r\n\r\n";
        for step in 1..=wire.len() {
            let (body, trailers, left) = read_all(Framing::Chunked, wire, step).expect("valid");
            assert_eq!((body.as_slice(), left), (&b"abc0123456789"[..], 0), "in steps of {step}");
            assert_eq!(trailers["x-sum"], "7");
        }
    }

    #[test]
    fn a_length_ends_exactly_where_it_says() {
        assert_eq!(read_all(Framing::Length(3), b"abcGET", 6).expect("valid").2, 3);
        assert_eq!(read_all(Framing::Length(0), b"", 1).expect("valid").0, b"");
        assert_eq!(read_all(Framing::Length(3), b"ab", 1).expect_err("short"), "cut off");
    }

    #[test]
    fn at_most_the_asked_number_of_bytes_is_taken() {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut input = BytesMut::from(&b"5\r\nabcde\r\n"[..]);
        assert_eq!(decoder.next(&mut input, 2), Ok(Piece::Data(Bytes::from_static(b"ab"))));
        assert_eq!(&input[..], b"cde\r\n");
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [&b"x\r\n"[..], b"\r\n", b"+1\r\na\r\n", b"1\r\nabc\r\n", b"fffffffffffffffff\r\n"] {
            assert!(read_all(Framing::Chunked, wire, 64).is_err_and(|error| error != "cut off"), "{wire:?}");
        }
    }
}
