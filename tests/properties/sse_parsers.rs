//! What must hold of a stream of events, whatever its bytes and however they are cut: as in `parsers.rs`.

use bytes::Bytes;
use stonework::sse::EventParser;

/// As much as is held of one event.
const MOST: usize = 64;

/// Name, data and id.
type Told = (String, String, String);

/// Reads the stream in pieces, of which the first bytes say how long they are. Says how many events there were.
pub(crate) fn events(cuts: &[u8], stream: &[u8]) -> usize {
    let (whole, too_large) = read(EventParser::new(MOST), [stream]);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, more) = rest.split_at(usize::from(*cut % 8).min(rest.len()));
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    let (cut, cut_too_large) = read(EventParser::new(MOST), pieces);
    assert_eq!((&whole, too_large), (&cut, cut_too_large), "however it is cut");
    for (name, data, id) in &whole {
        // What is no UTF-8 takes up to three times as much when it is replaced.
        assert!(name.len() + data.len() + id.len() <= 3 * MOST + "message".len());
        assert!(!name.is_empty() && !id.contains(['\0', '\r', '\n']) && !data.contains('\r'));
    }
    let (roomy, never) = read(EventParser::new(usize::MAX), [stream]);
    assert!(!never);
    assert_eq!(roomy, plainly(stream), "as the standard says it");
    assert_eq!(roomy[..whole.len()], whole, "a limit changes nothing but where it ends");
    whole.len()
}

fn read<'a>(mut parser: EventParser, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Told>, bool) {
    let mut told = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match parser.read(&mut piece) {
                Ok(Some(event)) => {
                    assert_eq!(parser.last_event_id(), event.id());
                    told.push((event.name().to_owned(), event.data().to_owned(), event.id().to_owned()));
                }
                Ok(None) => break,
                Err(_) => {
                    assert!(parser.read(&mut piece).is_err(), "it does not go on in the middle");
                    return (told, true);
                }
            }
        }
        assert!(piece.is_empty());
    }
    (told, false)
}

/// The same, over the whole text at once, in the order of the standard's own steps.
fn plainly(stream: &[u8]) -> Vec<Told> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut told, mut name, mut data, mut id) = (Vec::new(), "", String::new(), "");
    // What stands behind the last ending of a line is no line yet.
    let lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in lines.split('\n') {
        if line.is_empty() {
            if let Some(said) = data.strip_suffix('\n') {
                let name = if name.is_empty() { "message" } else { name };
                told.push((name.to_owned(), said.to_owned(), id.to_owned()));
            }
            (name, data) = ("", String::new());
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value,
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value,
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of which streams are made, good and bad ones.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        const PARTS: &[&[u8]] = &[
            b"data: ",
            b"data",
            b"id: ",
            b"event:",
            b"retry: 10",
            b": a comment",
            b"\n",
            b"\n\n",
            b"\r\n",
            b"\r",
            b"a",
            b":",
            b" ",
            b"\0",
            "ä\u{feff}".as_bytes(),
            b"\xff\xe2\x82",
            b"0123456789012345678901234567890123456789",
        ];
        let part = prop::sample::select(PARTS);
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    #[test]
    fn what_is_whole_is_told_and_what_is_too_large_is_not() {
        assert_eq!(events(&[1, 2, 3], b"data: 1\n\ndata: 2\r\rdata: 3\r\n\r\ndata: 4\n"), 3);
        assert_eq!(events(&[], b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n"), 1);
        assert_eq!(
            events(&[7; 9], format!("data: 1\n\ndata: {}\n\ndata: 2\n\n", "x".repeat(MOST)).as_bytes()),
            1
        );
    }

    proptest! {
        #[test]
        fn a_stream_says_the_same_however_it_is_cut(
            cuts in prop::collection::vec(any::<u8>(), 0..40),
            stream in streams(),
        ) {
            events(&cuts, &stream);
        }

        #[test]
        fn any_bytes_are_some_stream(
            cuts in prop::collection::vec(any::<u8>(), 0..40),
            stream in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            events(&cuts, &stream);
        }
    }
}
