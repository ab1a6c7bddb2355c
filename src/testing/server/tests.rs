use std::io::ErrorKind;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{
    Digest, Latch, Reaction, Reception, ScriptedServer, SeenBody, close_on_next_head, in_order, respond,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &[u8] =
    b"POST /orders HTTP/1.1\r\nContent-Length: 10\r\nIdempotency-Key: \"k 1\"\r\n\r\n0123456789";

async fn connect(server: &ScriptedServer) -> TcpStream {
    TcpStream::connect(server.addr()).await.expect("the server listens")
}

/// Sends `bytes` and reads until the server closes.
async fn exchange(server: &ScriptedServer, bytes: &[u8]) -> String {
    let mut client = connect(server).await;
    client.write_all(bytes).await.expect("sent");
    read_to_close(&mut client).await.expect("closed in an orderly way")
}

async fn read_to_close(client: &mut TcpStream) -> std::io::Result<String> {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await?;
    Ok(String::from_utf8(text).expect("text"))
}

/// Reads one answer without a body.
async fn read_head(client: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(client.read_u8().await.expect("more of the head")));
    }
    text
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn a_reply_is_sent_as_written_and_the_connection_serves_the_next_request() {
        let server = ScriptedServer::start(in_order([
            respond(503).header("retry-after", "1").keep_alive(),
            respond(200).body("done").close(),
        ]))
        .await;
        let mut client = connect(&server).await;
        client.write_all(POST).await.expect("sent");
        let first = read_head(&mut client).await;
        assert_eq!(first, "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
        client.write_all(GET).await.expect("sent");
        let second = read_to_close(&mut client).await.expect("closed");
        assert_eq!(second, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndone");
        assert_eq!((server.connections(), server.seen()[1].on_connection), (1, 2));
    }

    #[tokio::test]
    async fn requests_sent_together_are_answered_in_order() {
        let server = ScriptedServer::start(|request| {
            let reply = respond(200).body(request.target.clone());
            if request.number == 2 { reply.close() } else { reply.keep_alive() }
        })
        .await;
        let text = exchange(&server, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n").await;
        assert!(text.find("/a").expect("first") < text.find("/b").expect("second"), "{text}");
    }

    #[tokio::test]
    async fn a_body_with_trailers_is_sent_in_chunks() {
        let server = ScriptedServer::start(|_| respond(200).body("abc").trailer("x-sum", "6").close()).await;
        let text = exchange(&server, GET).await;
        assert!(text.contains("transfer-encoding: chunked\r\ntrailer: x-sum\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"), "{text}");
    }

    #[tokio::test]
    async fn no_body_follows_where_none_may() {
        let server = ScriptedServer::start(|request| {
            respond(if request.method == Method::HEAD { 200 } else { 204 }).body("never sent").close()
        })
        .await;
        let head = exchange(&server, b"HEAD / HTTP/1.1\r\n\r\n").await;
        assert!(head.ends_with("content-length: 10\r\n\r\n"), "{head}");
        let no_content = exchange(&server, GET).await;
        assert_eq!(no_content, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    }

    #[tokio::test]
    async fn half_a_response_promises_more_than_it_sends() {
        let server = ScriptedServer::start(|_| Reaction::half_response()).await;
        let text = exchange(&server, GET).await;
        assert!(text.ends_with("content-length: 10\r\n\r\n01234"), "{text}");
    }

    #[tokio::test]
    async fn raw_bytes_go_out_untouched() {
        let server = ScriptedServer::start(|_| Reaction::new().send("HTTP/1.1 2").send("00 O").close()).await;
        assert_eq!(exchange(&server, GET).await, "HTTP/1.1 200 O");
    }
}

mod endings {
    use super::*;

    #[tokio::test]
    async fn the_keep_alive_race_answers_once_and_closes_on_the_next_head() {
        let server = ScriptedServer::start(close_on_next_head()).await;
        let mut client = connect(&server).await;
        client.write_all(GET).await.expect("sent");
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
        client.write_all(GET).await.expect("sent");
        assert_eq!(read_to_close(&mut client).await.expect("closed"), "");
        let mut fresh = connect(&server).await;
        fresh.write_all(GET).await.expect("sent");
        assert!(read_head(&mut fresh).await.starts_with("HTTP/1.1 200 OK"), "a new connection starts anew");
        assert_eq!((server.heads_of(&Method::GET), server.connections()), (3, 2));
    }

    #[tokio::test]
    async fn a_reset_is_seen_as_a_reset() {
        let server = ScriptedServer::start(|_| Reaction::reset_on_head()).await;
        let mut client = connect(&server).await;
        client.write_all(GET).await.expect("sent");
        let error = read_to_close(&mut client).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_close_behind_an_early_answer_does_not_lose_the_answer() {
        let server = ScriptedServer::start(|_| Reaction::read_then(0, respond(503)).close()).await;
        let mut client = connect(&server).await;
        client.write_all(b"PUT / HTTP/1.1\r\ncontent-length: 500000\r\n\r\n").await.expect("sent");
        client.write_all(&vec![b'x'; 500_000]).await.expect("the upload is swallowed");
        let text = read_to_close(&mut client).await.expect("closed in an orderly way");
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
        assert_eq!(server.seen()[0].body.received, 0);
        assert!(!server.seen()[0].body.complete);
    }

    #[tokio::test]
    async fn an_abandoned_upload_ends_in_a_reset() {
        let server = ScriptedServer::start(|_| Reaction::new().read(1).abandon()).await;
        let mut client = connect(&server).await;
        // In one piece, so that more of it is waiting than the server reads at a time.
        client.write_all(&[POST, &vec![b'x'; 300_000]].concat()).await.ok();
        assert!(read_to_close(&mut client).await.is_err());
        assert_eq!(server.seen()[0].body.kept, b"0");
    }

    #[tokio::test]
    async fn a_connection_kept_alive_for_a_while_is_closed_after_it() {
        let server =
            ScriptedServer::start(|_| respond(200).keep_alive().keep_alive_for(Duration::from_millis(1)))
                .await;
        assert!(exchange(&server, GET).await.starts_with("HTTP/1.1 200 OK"));
        server.wait_until("the idle connection is closed", |server| server.open() == 0).await;
    }

    #[tokio::test]
    async fn an_unannounced_close_follows_a_whole_answer() {
        let server = ScriptedServer::start(|_| respond(200).close_unannounced()).await;
        assert_eq!(exchange(&server, GET).await, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }

    #[tokio::test]
    async fn each_connection_is_received_as_the_script_says() {
        let server = ScriptedServer::start_with(
            |connection| match connection {
                1 => Reception::Reset,
                2 => Reception::Close,
                _ => Reception::Serve,
            },
            |_| respond(200).close(),
        )
        .await;
        assert!(read_to_close(&mut connect(&server).await).await.is_err());
        assert_eq!(read_to_close(&mut connect(&server).await).await.expect("closed"), "");
        assert!(exchange(&server, GET).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(server.seen()[0].connection, 3);
    }

    #[tokio::test]
    async fn dropping_the_server_closes_its_connections_and_its_port() {
        let server = ScriptedServer::mute().await;
        let addr = server.addr();
        let mut client = connect(&server).await;
        server.wait_until("a connection", |server| server.open() == 1).await;
        drop(server);
        assert_eq!(read_to_close(&mut client).await.expect("closed"), "");
        assert_eq!(TcpStream::connect(addr).await.expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    }
}

mod silence {
    use super::*;

    #[tokio::test]
    async fn a_latch_holds_the_answer_until_it_is_opened() {
        let latch = Latch::new();
        let held = latch.clone();
        let server = ScriptedServer::start(move |_| {
            Reaction::new().read_body().wait(&held).reply(respond(200)).close()
        })
        .await;
        let mut client = connect(&server).await;
        client.write_all(POST).await.expect("sent");
        server.wait_until("the whole request", |server| server.seen().iter().any(|r| r.body.complete)).await;
        let mut byte = [0];
        assert_eq!(client.try_read(&mut byte).expect_err("no answer yet").kind(), ErrorKind::WouldBlock);
        latch.open();
        assert!(read_to_close(&mut client).await.expect("closed").starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn a_silent_server_notices_that_the_client_gave_up() {
        let server = ScriptedServer::silent().await;
        let mut client = connect(&server).await;
        client.write_all(POST).await.expect("sent");
        assert!(server.wait_for(1).await[0].body.kept.len() <= 10);
        drop(client);
        server.wait_until("the connection ended", |server| server.open() == 0).await;
        assert_eq!(server.peak_open(), 1);
    }

    #[tokio::test]
    async fn a_mute_server_reads_nothing() {
        let server = ScriptedServer::mute().await;
        let mut client = connect(&server).await;
        client.write_all(GET).await.expect("the system takes it");
        server.wait_until("a connection", |server| server.connections() == 1).await;
        assert!(server.seen().is_empty());
    }
}

mod record {
    use super::*;

    #[tokio::test]
    async fn a_request_is_recorded_byte_for_byte() {
        let server = ScriptedServer::start(|_| respond(200).close()).await;
        exchange(&server, POST).await;
        let seen = &server.seen()[0];
        assert_eq!((&seen.method, seen.target.as_str()), (&Method::POST, "/orders"));
        assert_eq!(seen.header("idempotency-key"), Some("\"k 1\""));
        assert!(POST.starts_with(&seen.raw_head));
        assert_eq!((seen.body.kept.as_slice(), seen.body.received), (&b"0123456789"[..], 10));
        assert_eq!((seen.body.digest, seen.body.complete), (Digest::of(b"0123456789"), true));
        assert_eq!(seen.to_string(), "1: POST /orders on connection 1, 10 body bytes");
    }

    #[tokio::test]
    async fn chunks_and_trailers_of_a_request_are_recorded() {
        let server = ScriptedServer::start(|_| respond(200).close()).await;
        let wire = b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
        exchange(&server, wire).await;
        let body = &server.seen()[0].body;
        assert_eq!((body.kept.as_slice(), body.digest), (&b"abcde"[..], Digest::of(b"abcde")));
        assert_eq!(body.trailers["x-sum"], "5");
    }

    #[tokio::test]
    async fn a_long_body_is_digested_and_counted_but_not_kept() {
        let length = 3 * SeenBody::KEPT + 1;
        let server = ScriptedServer::start(|_| respond(200).close()).await;
        let mut wire = format!("PUT / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
        wire.extend_from_slice(&body);
        exchange(&server, &wire).await;
        let seen = &server.seen()[0].body;
        assert_eq!((seen.received, seen.kept.as_slice()), (length as u64, &body[..SeenBody::KEPT]));
        assert_eq!((seen.digest, seen.complete), (Digest::of(&body), true));
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_stays_incomplete() {
        let server = ScriptedServer::start(|_| respond(200)).await;
        let mut client = connect(&server).await;
        client.write_all(&POST[..POST.len() - 4]).await.expect("sent");
        drop(client);
        server.wait_until("the end", |server| server.connections() == 1 && server.open() == 0).await;
        let body = &server.seen()[0].body;
        assert_eq!((body.received, body.complete), (6, false));
    }

    #[tokio::test]
    async fn what_is_not_http_is_recorded_as_a_fault() {
        let server = ScriptedServer::start(|_| respond(200)).await;
        assert_eq!(exchange(&server, b"hello\r\n\r\n").await, "");
        drop(exchange_half(&server).await);
        server.wait_until("two faults", |server| server.faults().len() == 2).await;
        assert_eq!(server.faults()[0], "connection 1: not a request line: \"hello\"");
        assert_eq!(server.faults()[1], "connection 2: the client closed after 3 bytes of a head");
        assert!(server.seen().is_empty());
    }

    async fn exchange_half(server: &ScriptedServer) -> TcpStream {
        let mut client = connect(server).await;
        client.write_all(b"GET").await.expect("sent");
        client
    }

    #[tokio::test]
    async fn a_request_that_nobody_planned_closes_the_connection() {
        let server = ScriptedServer::start(in_order([])).await;
        let mut client = connect(&server).await;
        client.write_all(GET).await.expect("sent");
        assert_eq!(read_to_close(&mut client).await.expect("closed"), "");
        assert_eq!(server.seen().len(), 1);
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..100).collect();
        for step in 1..20 {
            let mut digest = Digest::new();
            bytes.chunks(step).for_each(|piece| digest.update(piece));
            assert_eq!(digest.finish(), Digest::of(&bytes), "in steps of {step}");
        }
    }

    #[test]
    fn a_digest_tells_order_length_and_single_bits_apart() {
        let mut all = vec![Digest::of(b""), Digest::of(b"\0"), Digest::of(&[0; 8]), Digest::of(&[0; 16])];
        all.extend((0..128).map(|bit| {
            let mut bytes = [0; 16];
            bytes[bit / 8] |= 1 << (bit % 8);
            Digest::of(&bytes)
        }));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
