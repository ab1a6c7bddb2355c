//! Responses that servers have encoded, as the client hands them out.

use std::error::Error as _;
use std::time::Duration;

use async_compression::Level;
use async_compression::tokio::bufread::{
    BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use async_compression::tokio::write;
use async_compression::zstd::CParameter;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use stonework::base::body::BodyTooLarge;
use stonework::base::{Backoff, Delivery, Kind};
use stonework::client::{Client, ClientSettings, NotDecoded, Response};
use stonework::retry::{ResumeSettings, RetrySettings};
use stonework::testing::{Latch, Reaction, Reply, ScriptedServer, respond};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::soon;

/// What a server says that it has done.
#[derive(Clone, Copy, Debug)]
enum Done {
    Brotli,
    Deflate,
    Gzip,
    Raw,
    Zstd,
}

impl Done {
    const ALL: [Self; 5] = [Self::Brotli, Self::Deflate, Self::Gzip, Self::Raw, Self::Zstd];

    const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Deflate | Self::Raw => "deflate",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    async fn to(self, plain: impl AsRef<[u8]>) -> Bytes {
        let plain = plain.as_ref();
        let mut encoded = Vec::new();
        let read = match self {
            Self::Brotli => BrotliEncoder::new(plain).read_to_end(&mut encoded).await,
            Self::Deflate => ZlibEncoder::new(plain).read_to_end(&mut encoded).await,
            Self::Gzip => GzipEncoder::new(plain).read_to_end(&mut encoded).await,
            Self::Raw => DeflateEncoder::new(plain).read_to_end(&mut encoded).await,
            Self::Zstd => ZstdEncoder::new(plain).read_to_end(&mut encoded).await,
        };
        read.expect("memory can be read");
        encoded.into()
    }
}

fn settings() -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
    ClientSettings::new().decompression().retry(RetrySettings::new().backoff(backoff))
}

fn with(settings: ClientSettings) -> Client {
    Client::builder().settings(settings).build().expect("valid settings")
}

async fn serves(reply: Reply) -> ScriptedServer {
    let reaction = reply.keep_alive();
    ScriptedServer::start(move |_| reaction.clone()).await
}

async fn get(server: &ScriptedServer) -> Response {
    with(settings()).get(server.uri("/")).send().await.expect("an answer")
}

fn text() -> String {
    (0..20_000).map(|number| number.to_string()).collect()
}

// ───────────────────────────────────────────────────────────────────────────── what is decoded

#[tokio::test]
async fn every_coding_that_is_asked_for_is_decoded_and_no_field_speaks_of_it_any_more() {
    for done in Done::ALL {
        let encoded = done.to(text()).await;
        let server = serves(respond(200).header("content-encoding", done.name()).body(encoded)).await;
        let answer = get(&server).await;
        assert!(!answer.headers().contains_key(CONTENT_ENCODING), "{done:?}");
        assert!(!answer.headers().contains_key(CONTENT_LENGTH), "{done:?}");
        assert_eq!(answer.text().await.unwrap(), text(), "{done:?}");
        let accepted = server.seen()[0].header("accept-encoding").unwrap().to_owned();
        assert!(accepted.split(", ").any(|name| name == done.name()), "{accepted}");
        assert_eq!(
            with(settings()).get(server.uri("/")).send().await.unwrap().bytes().await.unwrap(),
            text()
        );
    }
}

#[tokio::test]
async fn what_was_encoded_several_times_is_decoded_as_often() {
    for (first, second, third) in [
        (Done::Gzip, Done::Brotli, Done::Zstd),
        (Done::Zstd, Done::Raw, Done::Gzip),
        (Done::Raw, Done::Deflate, Done::Brotli),
    ] {
        let encoded = third.to(second.to(first.to(text()).await).await).await;
        let names = format!("{}, {}", first.name(), second.name());
        let reply = respond(200).header("content-encoding", &names).header("content-encoding", third.name());
        let server = serves(reply.body(encoded)).await;
        assert_eq!(get(&server).await.text().await.unwrap(), text(), "{names}");
    }
}

#[tokio::test]
async fn several_members_and_frames_are_one_body_and_nothing_is_nothing() {
    for done in [Done::Gzip, Done::Zstd] {
        let both = [done.to("one").await, done.to("two").await].concat();
        let server = serves(respond(200).header("content-encoding", done.name()).body(both)).await;
        assert_eq!(get(&server).await.text().await.unwrap(), "onetwo");
    }
    for done in Done::ALL {
        for (body, what) in [(done.to("").await, "encoded"), (Bytes::new(), "left out")] {
            let reply = respond(200).header("content-encoding", done.name()).body(body).trailer("x-end", "1");
            let server = serves(reply).await;
            let body = get(&server).await.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-end"], "1", "{done:?}: {what}");
            assert_eq!(body.to_bytes(), "", "{done:?}: {what}");
        }
    }
}

#[tokio::test]
async fn a_body_is_handed_out_piece_by_piece_and_its_trailers_after_it() {
    let mut encoder = write::GzipEncoder::new(Vec::new());
    encoder.write_all(b"first").await.unwrap();
    encoder.flush().await.unwrap();
    let first = encoder.get_ref().len();
    encoder.write_all(b"second").await.unwrap();
    encoder.shutdown().await.unwrap();
    let (first, second) = encoder.get_ref().split_at(first);
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n";
    let latch = Latch::new();
    let reaction = Reaction::new()
        .send([head.as_bytes(), &chunk(first)].concat())
        .wait(&latch)
        .send([&chunk(second)[..], b"0\r\nx-end: 1\r\n\r\n"].concat());
    let server = ScriptedServer::start(move |_| reaction.clone()).await;

    let mut body = get(&server).await.into_body();
    assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
    latch.open();
    let rest = soon(body.collect()).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["x-end"], "1");
    assert_eq!(rest.to_bytes(), "second");
}

// ───────────────────────────────────────────────────────────────────────────── what is not

#[tokio::test]
async fn nothing_is_asked_for_or_decoded_where_it_is_off_as_it_is_by_default() {
    let encoded = Done::Gzip.to("plain").await;
    let server = serves(respond(200).header("content-encoding", "gzip").body(encoded.clone())).await;
    for settings in [ClientSettings::new(), settings().without_decompression()] {
        let client = with(settings);
        assert!(!client.explain().contains("decompression"));
        let answer = client.get(server.uri("/")).send().await.unwrap();
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(answer.bytes().await.unwrap(), encoded);
    }
    assert!(server.seen().iter().all(|seen| seen.header("accept-encoding").is_none()));
    assert!(with(settings()).explain().starts_with("decompression: zstd, br, gzip, deflate\n"));
}

#[tokio::test]
async fn whoever_says_what_is_accepted_or_asks_for_a_part_gets_what_the_server_sends() {
    let encoded = Done::Gzip.to("plain").await;
    let server = serves(respond(200).header("content-encoding", "gzip").body(encoded.clone())).await;
    for (name, value) in [("accept-encoding", "gzip"), ("range", "bytes=0-")] {
        let request = with(settings()).get(server.uri("/")).header(name, value);
        assert_eq!(request.send().await.unwrap().bytes().await.unwrap(), encoded, "{name}");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.header("accept-encoding"), (name == "accept-encoding").then_some("gzip"));
    }
}

#[tokio::test]
async fn what_has_no_body_or_an_unknown_coding_keeps_its_fields() {
    let whole = || respond(200).header("content-encoding", "gzip").header("content-length", "1000");
    let server = serves(whole()).await;
    let head = with(settings()).head(server.uri("/")).send().await.unwrap();
    assert_eq!(
        (&head.headers()[CONTENT_ENCODING], &head.headers()[CONTENT_LENGTH]),
        (&"gzip".parse().unwrap(), &"1000".parse().unwrap())
    );
    assert_eq!(server.seen()[0].header("accept-encoding"), None);
    for (status, coding, body) in [
        (204, "gzip", ""),
        (304, "gzip", ""),
        (206, "gzip", "part"),
        (200, "aes128gcm", "x"),
        (200, "aes128gcm, gzip", "x"),
    ] {
        let server = serves(respond(status).header("content-encoding", coding).body(body)).await;
        let answer = get(&server).await;
        assert_eq!(answer.headers()[CONTENT_ENCODING], coding, "{status}");
        assert_eq!(answer.text().await.unwrap(), body, "{status} {coding}");
    }
}

// ───────────────────────────────────────────────────────────────────────────── what peers can do with it

#[tokio::test]
async fn ten_megabytes_that_would_become_ten_gigabytes_are_stopped_at_the_limit() {
    let member = Done::Gzip.to(vec![0; 16 << 20]).await;
    let bomb = Bytes::from(member.repeat(640));
    assert!((9 << 20..12 << 20).contains(&bomb.len()), "{}", bomb.len());
    let inner = Done::Gzip.to(vec![0; 64 << 20]).await;
    let twice = Done::Brotli.to(inner).await;
    for (coding, body) in [("gzip", bomb), ("gzip, br", twice)] {
        let server = serves(respond(200).header("content-encoding", coding).body(body)).await;
        let error = soon(get(&server).await.bytes()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered), "{coding}");
        assert_eq!(error.cause::<BodyTooLarge>().unwrap().limit, 10 << 20, "{coding}");
    }
}

#[tokio::test]
async fn of_a_bomb_that_is_streamed_no_more_is_decoded_than_is_read() {
    let encoded = Done::Zstd.to(vec![0; 64 << 20]).await;
    let server = serves(respond(200).header("content-encoding", "zstd").body(encoded)).await;
    let mut body = get(&server).await.into_body();
    for _ in 0..100 {
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(piece.len() <= 64 * 1024, "{}", piece.len());
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_an_error_of_its_own_which_shows_nothing_of_it() {
    let mut tested = 0;
    for done in Done::ALL {
        let whole = done.to("s3cret ".repeat(1_000)).await;
        let cut = whole.slice(..whole.len() - 5);
        let behind = [&whole[..], b"s3cret"].concat().into();
        for (what, body) in [("cut", cut), ("more", behind), ("plain", Bytes::from("\u{7}s3cret s3cret"))] {
            let server = serves(respond(200).header("content-encoding", done.name()).body(body)).await;
            let error = soon(get(&server).await.bytes()).await.expect_err(what);
            assert_eq!(
                (error.kind(), error.delivery()),
                (Kind::Body, Delivery::Answered),
                "{done:?}, {what}"
            );
            assert!(error.cause::<NotDecoded>().is_some(), "{done:?}, {what}: {error:?}");
            let shown = format!("{error} {error:?} {:?}", error.source());
            assert!(!shown.contains("s3cret"), "{shown}");
            tested += 1;
        }
    }
    assert_eq!(tested, 15);
}

#[tokio::test]
async fn a_window_that_takes_more_memory_than_the_standard_allows_is_refused() {
    let plain = text();
    let mut encoded = Vec::new();
    let wide = &[CParameter::window_log(27)];
    let mut encoder = ZstdEncoder::with_quality_and_params(plain.as_bytes(), Level::Default, wide);
    encoder.read_to_end(&mut encoded).await.unwrap();
    let server = serves(respond(200).header("content-encoding", "zstd").body(encoded)).await;
    assert!(get(&server).await.bytes().await.unwrap_err().cause::<NotDecoded>().is_some());
}

// ───────────────────────────────────────────────────────────────────────────── with the other layers

#[tokio::test]
async fn a_body_that_breaks_off_on_the_way_fails_as_it_would_undecoded() {
    let encoded = Done::Gzip.to(text()).await;
    let reaction = respond(200).header("content-encoding", "gzip").body(encoded).half();
    let server = ScriptedServer::start(move |_| reaction.clone()).await;
    let error = get(&server).await.bytes().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered));
    assert!(error.cause::<NotDecoded>().is_none(), "{error:?}");
}

#[tokio::test]
async fn a_download_that_breaks_off_is_resumed_in_the_encoding_in_which_it_began() {
    let encoded = Done::Brotli.to(text()).await;
    let server = {
        let encoded = encoded.clone();
        ScriptedServer::start(move |seen| {
            let tagged = |status| respond(status).header("etag", "\"br\"").header("content-encoding", "br");
            assert_eq!(seen.header("accept-encoding"), Some("zstd, br, gzip, deflate"));
            match seen.header("range") {
                None => tagged(200).body(encoded.clone()).half(),
                Some(range) => {
                    let from: usize =
                        range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                    let part = format!("bytes {from}-{}/{}", encoded.len() - 1, encoded.len());
                    tagged(206).header("content-range", &part).body(encoded.slice(from..)).keep_alive()
                }
            }
        })
        .await
    };
    let client = with(settings().resume(ResumeSettings::new()));
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), text());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_is_collected_within_the_attempt_is_limited_as_sent_and_then_as_decoded() {
    let encoded = Done::Gzip.to(text()).await;
    let half = respond(200).header("content-encoding", "gzip").body(encoded.clone()).half();
    let whole = respond(200).header("content-encoding", "gzip").body(encoded.clone()).keep_alive();
    let server =
        ScriptedServer::start(move |seen| if seen.number == 1 { half.clone() } else { whole.clone() }).await;
    let client = with(settings());
    let answer = client.get(server.uri("/")).collect_within(encoded.len()).send().await.unwrap();
    assert_eq!(answer.attempts(), 2, "it was read within the attempt");
    assert_eq!(answer.text().await.unwrap(), text());
}

#[tokio::test]
async fn what_is_decoded_can_come_from_where_a_redirect_led() {
    let encoded = Done::Gzip.to("plain").await;
    let server = ScriptedServer::start(move |seen| match seen.target.as_str() {
        "/" => respond(302).header("location", "/there").keep_alive(),
        _ => respond(200).header("content-encoding", "gzip").body(encoded.clone()).keep_alive(),
    })
    .await;
    assert_eq!(get(&server).await.text().await.unwrap(), "plain");
    assert!(server.seen().iter().all(|seen| seen.header("accept-encoding").is_some()));
}
