//! What has been read of a response, and when that is enough. Nothing here waits, locks or reads a clock.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http_body::Frame;

/// A later frame smaller than this is gathered with its neighbours. Otherwise a body sent a byte at a time would cost many
/// times the cap: each frame has its own handle and may keep a whole read buffer alive.
const SMALL: usize = 4096;
/// How much one gathering holds.
const GATHERED: usize = 16 * 1024;
/// What a line of trailers costs beside its name and value (as HPACK counts it, RFC 7541 section 4.1).
const LINE: usize = 32;

/// The frames read so far: no more than the cap, and the one that passed it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Apart from the others, so that a body of one frame allocates nothing.
    first: Option<Frame<Bytes>>,
    more: VecDeque<Piece>,
    /// Bytes of data.
    data: u64,
    /// What is charged: the data, and what trailers cost.
    charged: usize,
}

#[derive(Debug)]
enum Piece {
    Whole(Frame<Bytes>),
    Gathered(BytesMut),
}

/// Whether there is more to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    More,
    /// This frame passed the cap: the rest is not for here.
    Enough,
}

impl Gathered {
    pub(super) fn push(&mut self, frame: Frame<Bytes>, cap: usize) -> Next {
        let size = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len(),
            (_, Some(trailers)) => {
                let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    name.as_str().len() + value.len() + LINE
                };
                trailers.iter().map(line).sum::<usize>().max(LINE)
            }
            // A kind of frame that is not known here, and whose size is not either.
            _ => usize::MAX,
        };
        // Empty frames say nothing. Keeping them would let a body of no bytes fill the memory.
        if size == 0 {
            return Next::More;
        }
        if let Some(data) = frame.data_ref() {
            self.data = self.data.saturating_add(data.len() as u64);
        }
        self.charged = self.charged.saturating_add(size);
        self.keep(frame);
        if self.charged > cap { Next::Enough } else { Next::More }
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(frame);
            return;
        }
        let piece = match frame.into_data() {
            Ok(data) if data.len() < SMALL => {
                if let Some(Piece::Gathered(last)) = self.more.back_mut() {
                    if last.len() + data.len() <= GATHERED {
                        last.extend_from_slice(&data);
                        return;
                    }
                }
                Piece::Gathered(BytesMut::from(&data[..]))
            }
            Ok(data) => Piece::Whole(Frame::data(data)),
            Err(frame) => Piece::Whole(frame),
        };
        self.more.push_back(piece);
    }

    /// The next frame, in the order in which they came.
    pub(super) fn pop(&mut self) -> Option<Frame<Bytes>> {
        let frame = self.first.take().or_else(|| match self.more.pop_front()? {
            Piece::Whole(frame) => Some(frame),
            Piece::Gathered(data) => Some(Frame::data(data.freeze())),
        })?;
        self.data = self.data.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        Some(frame)
    }

    /// How many bytes of data are to be had.
    pub(super) fn data(&self) -> u64 {
        self.data
    }

    /// Whether all there is is data in one piece, or nothing.
    pub(super) fn is_single(&self) -> bool {
        self.more.is_empty() && self.first.as_ref().is_none_or(Frame::is_data)
    }

    /// The first piece of data.
    pub(super) fn into_first(self) -> Bytes {
        self.first.and_then(|frame| frame.into_data().ok()).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn data(size: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![7; size]))
    }

    #[test]
    fn a_body_of_exactly_the_cap_is_not_enough_and_one_byte_more_is() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.push(data(4), 10), Next::More);
        assert_eq!(gathered.push(data(6), 10), Next::More);
        assert_eq!(gathered.push(data(1), 10), Next::Enough);
        assert_eq!(gathered.data(), 11, "what passed the cap is not lost");
    }

    #[test]
    fn trailers_count_and_empty_frames_are_left_out() {
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let mut gathered = Gathered::default();
        for _ in 0..1000 {
            assert_eq!(gathered.push(data(0), 44), Next::More);
        }
        assert!(gathered.is_empty());
        assert_eq!(gathered.push(Frame::trailers(trailers.clone()), 44), Next::More);
        assert_eq!(gathered.push(Frame::trailers(trailers), 44), Next::Enough);
        assert!(gathered.pop().is_some_and(|frame| frame.is_trailers()));
    }

    #[test]
    fn a_line_of_trailers_costs_its_name_its_value_and_32_bytes() {
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        for (cap, next) in [(44, Next::More), (43, Next::Enough)] {
            assert_eq!(Gathered::default().push(Frame::trailers(trailers.clone()), cap), next, "{cap}");
        }
    }

    #[test]
    fn small_frames_are_gathered_until_16_kibibytes_are_full() {
        let mut gathered = Gathered::default();
        for (frames, pieces) in [(1, 0), (2, 1), (8, 1), (1, 2)] {
            (0..frames).for_each(|_| assert_eq!(gathered.push(data(1_600), 1 << 20), Next::More));
            assert_eq!(gathered.more.len(), pieces);
        }
    }

    #[test]
    fn a_response_that_comes_a_byte_at_a_time_is_gathered() {
        let mut gathered = Gathered::default();
        for _ in 0..64 * 1024 {
            assert_eq!(gathered.push(data(1), 64 * 1024), Next::More);
        }
        assert!(gathered.more.len() < 10, "{} pieces", gathered.more.len());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order_however_it_is_cut(sizes in prop::collection::vec(0..9000_usize, 0..40)) {
            let mut gathered = Gathered::default();
            let mut sent = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let frame = vec![at as u8; *size];
                sent.extend_from_slice(&frame);
                let next = gathered.push(Frame::data(frame.into()), 50_000);
                prop_assert_eq!(next == Next::Enough, *size > 0 && sent.len() > 50_000);
            }
            prop_assert_eq!(gathered.data(), sent.len() as u64);
            let mut received = Vec::new();
            while let Some(frame) = gathered.pop() {
                received.extend_from_slice(frame.data_ref().unwrap());
                prop_assert_eq!(gathered.data() as usize, sent.len() - received.len());
            }
            prop_assert_eq!(received, sent);
            prop_assert!(gathered.is_empty());
        }
    }
}
