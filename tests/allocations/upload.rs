//! A large upload, measured on a process of its own: this program starts itself again, has the copy do one upload, and
//! reads what the most was that it ever held.

use std::process::Command;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use stonework::base::body::{Body, Reopen, ReplayBody};
use stonework::client::Client;
use stonework::retry::RetryLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};

/// Tells the copy how many bytes to send.
const SIZE: &str = "STONEWORK_UPLOAD_SIZE";
/// Comes before the number of KiB in what the copy prints.
const PEAK: &str = "peak KiB:";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FRAME: usize = 256 * 1024;

/// How much more memory an upload of 1 GiB may take than one of 1 MiB.
const ALLOWED_KIB: u64 = 8 * 1024;

/// In the copy, the size to send.
fn asked() -> Option<u64> {
    std::env::var(SIZE).ok()?.parse().ok()
}

/// The most memory that this process has ever held, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Runs `upload` in a process of its own, with 1 MiB and with 1 GiB, and compares.
fn assert_flat(test: &str, upload: impl AsyncFnOnce(u64)) {
    if let Some(size) = asked() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(upload(size));
        println!("{PEAK} {}", peak_kib().expect("the system told before"));
        return;
    }
    if peak_kib().is_none() {
        println!("skipped: this system does not tell how much memory a process has held");
        return;
    }
    let peak = |size: u64| -> u64 {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program)
            .args(["--exact", test, "--nocapture", "--test-threads", "1"])
            .env(SIZE, size.to_string())
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let told = text.split(PEAK).nth(1).and_then(|rest| rest.split_whitespace().next());
        told.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("it told nothing: {text}"))
    };
    let (small, large) = (peak(MIB), peak(GIB));
    println!("{small} KiB for 1 MiB, {large} KiB for 1 GiB");
    assert!(large < small + ALLOWED_KIB, "{small} KiB for 1 MiB, {large} KiB for 1 GiB");
}

/// A stream of so many bytes, each frame a buffer of its own, so that one that is kept is seen.
fn streamed(size: u64) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Unpin {
    let frames = (0..size / FRAME as u64).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; FRAME]))));
    StreamBody::new(futures_util::stream::iter(frames))
}

/// Reads a body of any size and keeps nothing.
async fn swallow<B>(body: B) -> u64
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let (mut body, mut size) = (body, 0);
    while let Some(frame) = body.frame().await {
        size += frame.expect("no error").data_ref().map_or(0, |data| data.len() as u64);
    }
    size
}

/// Listens, reads one request to the end of its chunks, and answers it. The content has no such end in it.
async fn sink() -> (String, tokio::task::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"));
    let reading = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let (mut buffer, mut tail, mut received) = (vec![0; 64 * 1024], Vec::new(), 0);
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let read = socket.read(&mut buffer).await.expect("no error");
            assert!(read > 0, "it ended early, after {received} bytes");
            received += read as u64;
            tail.extend_from_slice(&buffer[..read]);
            let old = tail.len().saturating_sub(16);
            tail.drain(..old);
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("no error");
        received
    });
    (uri, reading)
}

#[test]
fn a_streamed_upload_of_a_gibibyte_through_retries_holds_a_few_mebibytes() {
    let test = "upload::a_streamed_upload_of_a_gibibyte_through_retries_holds_a_few_mebibytes";
    assert_flat(test, async |size| {
        let server = service_fn(async |request: Request<ReplayBody<_>>| {
            let size = swallow(request.into_body()).await;
            Response::builder().header("x-received", size).body(Empty::<Bytes>::new())
        });
        let request = Request::put("/").body(ReplayBody::new(streamed(size))).expect("a request");
        let answer = RetryLayer::new().layer(server).oneshot(request).await.expect("an answer");
        assert_eq!(answer.headers()["x-received"], size.to_string().as_str());
    });
}

#[test]
fn a_streamed_upload_of_a_gibibyte_by_the_client_over_a_socket_holds_a_few_mebibytes() {
    let test = "upload::a_streamed_upload_of_a_gibibyte_by_the_client_over_a_socket_holds_a_few_mebibytes";
    assert_flat(test, async |size| {
        let (uri, reading) = sink().await;
        let answer = Client::new().put(uri).body(Body::new(streamed(size))).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        assert!(reading.await.expect("no panic") > size);
    });
}

#[test]
fn an_upload_of_a_gibibyte_from_a_source_that_can_be_opened_again_holds_a_few_mebibytes() {
    let test = "upload::an_upload_of_a_gibibyte_from_a_source_that_can_be_opened_again_holds_a_few_mebibytes";
    assert_flat(test, async |size| {
        let (uri, reading) = sink().await;
        let source = Reopen::new(move || Ok::<_, std::convert::Infallible>(streamed(size)));
        let answer = Client::new().put(uri).body(source).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        assert!(reading.await.expect("no panic") > size);
    });
}

#[test]
fn the_measure_sees_what_is_held() {
    assert_eq!(asked(), None, "the copies run one test each");
    let Some(before) = peak_kib() else { return };
    let held = std::hint::black_box(vec![1_u8; 64 * MIB as usize]);
    assert!(peak_kib().expect("it told before") >= before + 32 * 1024, "{} bytes are held", held.len());
}
