//! Whatever a server answers, and wherever it breaks off: no reader ever gets bytes of two versions.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use stonework::base::{BoxError, Error};
use stonework::retry::{Changed, ResumeLayer, ResumeSettings};
use stonework::testing::{Scripted, Step};
use tower::{Layer, ServiceExt};

type Content = Full<Bytes>;
type Frames = futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>>;

/// What the server does with one request. It tells the truth about what it sends, and otherwise does as it likes.
#[derive(Clone, Debug)]
struct Turn {
    /// The resource changes before this request.
    changes: bool,
    kind: Kind,
    /// After how many bytes it breaks off, and whether with an error.
    breaks: Option<(usize, bool)>,
    frame: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    /// As RFC 9110 asks, but no more than so many bytes of a range.
    Proper(usize),
    /// Knows no ranges.
    Whole,
    /// Takes a range for what it is, whatever `If-Range` says, and begins so many bytes away from it.
    Sloppy(isize),
    /// Leaves out the tag.
    Untagged,
    Status(u16),
    Fail,
}

fn turn() -> impl Strategy<Value = Turn> {
    let kind = prop_oneof![
        6 => (1..200_usize).prop_map(Kind::Proper),
        1 => Just(Kind::Whole),
        1 => (-2..3_isize).prop_map(Kind::Sloppy),
        1 => Just(Kind::Untagged),
        1 => prop::sample::select(vec![304_u16, 404, 416, 500, 503]).prop_map(Kind::Status),
        1 => Just(Kind::Fail),
    ];
    let breaks = prop::option::weighted(0.7, (0..100_usize, any::<bool>()));
    (prop::bool::weighted(0.15), kind, breaks, 1..40_usize).prop_map(|(changes, kind, breaks, frame)| Turn {
        changes,
        kind,
        breaks,
        frame,
    })
}

/// The resource in one of its versions: no two have a byte in common.
fn version(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (number * 20 + index % 20) as u8).collect()
}

struct Server {
    turns: std::vec::IntoIter<Turn>,
    version: usize,
    length: usize,
}

impl Server {
    fn answer(&mut self, request: &Request<Content>) -> Step<Response<StreamBody<Frames>>> {
        let Some(turn) = self.turns.next() else { return Step::fail("gone") };
        self.version += usize::from(turn.changes);
        let content = version(self.version, self.length);
        let tag = format!("\"v{}\"", self.version);
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let from: Option<usize> =
            header("range").map(|range| range["bytes=".len()..range.len() - 1].parse().expect("a number"));
        let is_same = header("if-range") == Some(tag.as_str());
        let (status, start, end) = match (&turn.kind, from) {
            (Kind::Fail, _) => return Step::fail("refused"),
            (Kind::Status(status), _) => (*status, 0, content.len().min(5)),
            (Kind::Proper(most), Some(from)) if is_same => (206, from, content.len().min(from + most)),
            (Kind::Sloppy(by), Some(from)) => {
                let start = from.saturating_add_signed(*by).min(content.len() - 1);
                (206, start, content.len())
            }
            (Kind::Untagged, Some(from)) if is_same => (206, from, content.len()),
            _ => (200, 0, content.len()),
        };
        let mut response = Response::builder().status(status);
        if !matches!(turn.kind, Kind::Untagged) {
            response = response.header("etag", tag);
        }
        response = match status {
            206 => response.header("content-range", format!("bytes {start}-{}/{}", end - 1, content.len())),
            _ => response.header("content-length", end - start),
        };
        let sent = &content[start..end];
        let kept = turn.breaks.map_or(sent.len(), |(after, _)| after.min(sent.len()));
        let mut frames: Vec<_> = sent[..kept]
            .chunks(turn.frame)
            .map(|frame| Ok(Frame::data(Bytes::copy_from_slice(frame))))
            .collect();
        if matches!(turn.breaks, Some((_, true))) {
            frames.push(Err("broke off".into()));
        }
        Step::Answer(response.body(StreamBody::new(futures_util::stream::iter(frames))).expect("valid"))
    }
}

proptest! {
    #[test]
    fn a_reader_gets_one_version_from_its_start_and_an_end_only_with_all_of_it(
        turns in prop::collection::vec(turn(), 1..14),
        length in 1..150_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut server = Server { turns: turns.into_iter(), version: 0, length };
            let backend = Scripted::script(move |_, request| server.answer(request));
            let seen = backend.seen();
            let layer = ResumeLayer::from(ResumeSettings::new());
            let Ok(response) = layer.layer(backend).oneshot(Request::get("/").body(Content::default()).unwrap()).await
            else {
                return Ok(());
            };
            let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
            let status = response.status();
            let mut body = response.into_body();
            let mut read = Vec::new();
            let mut error = None;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => read.extend_from_slice(frame.data_ref().unwrap()),
                    Err(broken) => error = Some(Error::wrap(broken)),
                }
            }
            prop_assert!(seen.count() <= 11);
            let Some(tag) = tag else { return Ok(()) };
            let number: usize = tag[2..tag.len() - 1].parse().unwrap();
            let whole = version(number, length);
            prop_assert!(whole.starts_with(&read), "{read:?} is not of {tag}");
            if error.is_none() && status == 200 {
                prop_assert_eq!(read.len(), length, "an end in the middle");
            }
            if error.is_some_and(|error| error.cause::<Changed>().is_some()) {
                prop_assert!(read.len() < length);
            }
            Ok(())
        })?;
    }
}
