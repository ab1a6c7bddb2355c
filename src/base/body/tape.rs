//! What has been read of a recorded body. Pure: no lock, no waker, no source.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// How many frames are kept as they came, whatever their size.
const KEPT_AS_THEY_CAME: usize = 16;
/// From then on a frame smaller than this is gathered with its neighbours. Otherwise a body sent a byte at a time would
/// cost many times its limit: each frame has its own handle and may keep a whole read buffer alive.
const SMALL: usize = 512;
/// How much one gathering holds.
const GATHERED: usize = 4096;
/// What a line of trailers costs beside its name and value (as HPACK counts it, RFC 7541 section 4.1).
const LINE: usize = 32;

/// The frames read so far, never more than `cap` bytes of them.
pub(super) struct Tape {
    pieces: Vec<Piece>,
    kept: usize,
    cap: usize,
}

enum Piece {
    Whole(Bytes),
    Gathered(BytesMut),
    Trailers(HeaderMap),
}

/// How far one reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    piece: usize,
    offset: usize,
    /// Bytes of data passed.
    pub(super) read: u64,
}

/// The body has grown over the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Tape {
    pub(super) fn new(cap: usize) -> Self {
        Self { pieces: Vec::new(), kept: 0, cap }
    }

    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    pub(super) fn grow(&mut self, cap: usize) {
        self.cap = self.cap.max(cap);
    }

    /// Keeps a frame that `reader`, who stands at the end, has read, and moves the reader past it.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>, reader: &mut Cursor) -> Result<(), Full> {
        if let Some(data) = frame.data_ref() {
            // Empty frames say nothing. Keeping them would let a body of no bytes fill the memory.
            if data.is_empty() {
                return Ok(());
            }
            self.charge(data.len())?;
            self.push_data(data);
            reader.read += data.len() as u64;
        } else if let Some(trailers) = frame.trailers_ref() {
            let lines = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE);
            self.charge(lines.sum::<usize>().max(LINE))?;
            self.pieces.push(Piece::Trailers(trailers.clone()));
        } else {
            // A kind of frame that is not known here cannot be copied, so the body cannot be sent twice.
            return Err(Full);
        }
        reader.piece = self.pieces.len() - 1;
        reader.offset = self.pieces.last().map_or(0, Piece::len);
        Ok(())
    }

    /// The next frame for `reader`, or none if it has seen all that was kept.
    pub(super) fn next(&self, reader: &mut Cursor) -> Option<Frame<Bytes>> {
        while let Some(piece) = self.pieces.get(reader.piece) {
            if reader.offset < piece.len() {
                let frame = match piece {
                    Piece::Whole(data) => Frame::data(data.slice(reader.offset..)),
                    Piece::Gathered(data) => Frame::data(Bytes::copy_from_slice(&data[reader.offset..])),
                    Piece::Trailers(trailers) => Frame::trailers(trailers.clone()),
                };
                reader.offset = piece.len();
                reader.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                return Some(frame);
            }
            // The last piece may still grow, so a reader stays on it.
            if reader.piece + 1 == self.pieces.len() {
                return None;
            }
            reader.piece += 1;
            reader.offset = 0;
        }
        None
    }

    /// Whether `reader` has seen all that was kept.
    pub(super) fn is_at_end(&self, reader: &Cursor) -> bool {
        match self.pieces.last() {
            None => true,
            Some(last) => reader.piece + 1 == self.pieces.len() && reader.offset >= last.len(),
        }
    }

    fn charge(&mut self, size: usize) -> Result<(), Full> {
        match self.kept.checked_add(size) {
            Some(kept) if kept <= self.cap => {
                self.kept = kept;
                Ok(())
            }
            _ => Err(Full),
        }
    }

    fn push_data(&mut self, data: &Bytes) {
        if data.len() >= SMALL || self.pieces.len() < KEPT_AS_THEY_CAME {
            self.pieces.push(Piece::Whole(data.clone()));
            return;
        }
        if let Some(Piece::Gathered(last)) = self.pieces.last_mut() {
            if last.len() + data.len() <= GATHERED {
                last.extend_from_slice(data);
                return;
            }
        }
        let mut gathered = BytesMut::with_capacity(GATHERED);
        gathered.extend_from_slice(data);
        self.pieces.push(Piece::Gathered(gathered));
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Whole(data) => data.len(),
            Self::Gathered(data) => data.len(),
            Self::Trailers(_) => 1,
        }
    }
}

/// The frame with its data as `Bytes`, which copies nothing if it is `Bytes` already.
pub(super) fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(size: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![7; size]))
    }

    fn read_all(tape: &Tape) -> (usize, usize) {
        let (mut reader, mut bytes, mut trailers) = (Cursor::default(), 0, 0);
        while let Some(frame) = tape.next(&mut reader) {
            match frame.data_ref() {
                Some(data) => bytes += data.len(),
                None => trailers += 1,
            }
        }
        assert!(tape.is_at_end(&reader));
        (bytes, trailers)
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_kept_and_one_byte_more_is_not() {
        let (mut tape, mut front) = (Tape::new(10), Cursor::default());
        assert_eq!(tape.push(&data(4), &mut front), Ok(()));
        assert_eq!(tape.push(&data(6), &mut front), Ok(()));
        assert_eq!(read_all(&tape), (10, 0));
        assert_eq!(tape.push(&data(1), &mut front), Err(Full));
        assert_eq!(front.read, 10);
    }

    #[test]
    fn trailers_count_against_the_limit() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        // Eleven bytes of a name, one of a value, and 32 for the line.
        let (mut tape, mut front) = (Tape::new(43), Cursor::default());
        assert_eq!(tape.push(&Frame::trailers(trailers.clone()), &mut front), Err(Full));
        tape.grow(44);
        assert_eq!(tape.push(&Frame::trailers(trailers.clone()), &mut front), Ok(()));
        assert_eq!(tape.push(&Frame::trailers(trailers), &mut front), Err(Full));
        assert_eq!(read_all(&tape), (0, 1));
    }

    #[test]
    fn a_body_sent_a_byte_at_a_time_is_gathered() {
        let (mut tape, mut front) = (Tape::new(64 * 1024), Cursor::default());
        for _ in 0..64 * 1024 {
            assert_eq!(tape.push(&data(1), &mut front), Ok(()));
            assert_eq!(tape.push(&data(0), &mut front), Ok(()));
        }
        assert_eq!(read_all(&tape), (64 * 1024, 0));
        assert!(tape.pieces.len() < 40, "{} pieces", tape.pieces.len());
    }

    #[test]
    fn a_reader_in_the_middle_of_a_gathering_sees_what_is_added_to_it() {
        let (mut tape, mut front, mut behind) = (Tape::new(1000), Cursor::default(), Cursor::default());
        for _ in 0..KEPT_AS_THEY_CAME + 2 {
            assert_eq!(tape.push(&data(3), &mut front), Ok(()));
        }
        while tape.next(&mut behind).is_some() {}
        assert_eq!(behind, front);
        assert_eq!(tape.push(&data(5), &mut front), Ok(()));
        assert_eq!(
            tape.next(&mut behind).and_then(|frame| frame.into_data().ok()).map(|data| data.len()),
            Some(5)
        );
        assert_eq!(behind, front);
    }

    #[test]
    fn the_first_frames_and_large_ones_are_kept_as_they_came_and_small_ones_are_gathered() {
        let (mut tape, mut front) = (Tape::new(1 << 20), Cursor::default());
        for (sizes, pieces) in [
            (&[1; 16][..], 16),
            (&[1, 511], 17),
            (&[512], 18),
            (&[511; 8], 19),
            (&[8], 19),
            (&[1], 20),
            (&[4096, 1], 22),
        ] {
            for size in sizes {
                assert_eq!(tape.push(&data(*size), &mut front), Ok(()));
            }
            assert_eq!(tape.pieces.len(), pieces, "after {sizes:?}");
        }
    }
}
