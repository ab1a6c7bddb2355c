//! curl, in all the versions of HTTP that it speaks in clear text.

use crate::kit::{Judged, need, run, text};

const VERSIONS: [(&str, &str); 3] =
    [("--http1.0", "1.0"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];
/// More than any buffer on the way holds.
const LARGE: usize = 8 * 1024 * 1024;
/// What curl says about each answer, on a line of its own.
const FACTS: &str = "\n%{http_code} %{http_version} connects:%{num_connects} uploaded:%{size_upload}\n";

/// What curl prints, with the heads of the answers, when it succeeds.
async fn curl(server: &Judged, args: &[&str], paths: &[&str], input: &[u8]) -> String {
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    let mut all = vec!["--silent", "--show-error", "--max-time", "30", "--write-out", FACTS];
    all.extend(args);
    all.extend(urls.iter().map(String::as_str));
    // So that no file on this machine has a say.
    all.insert(0, "--disable");
    text(run("curl", &all, input).await).replace('\r', "")
}

#[tokio::test]
async fn curl_is_answered_in_the_version_it_speaks() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    for (flag, version) in VERSIONS {
        let printed = curl(&server, &[flag, "--include"], &["/"], b"").await;
        assert!(printed.starts_with(&format!("HTTP/{version} 200")), "{printed}");
        assert!(printed.contains("content-length: 5\n"), "{printed}");
        // curl names 1.0 by half.
        let facts = format!("\n\nhello\n200 {} connects:1 uploaded:0\n", version.trim_end_matches(".0"));
        assert!(printed.ends_with(&facts), "{printed}");

        let printed = curl(&server, &[flag, "--include"], &["/pieces"], b"").await;
        assert!(printed.contains("\n\nhello\n200 "), "{printed}");
        assert_eq!(printed.contains("transfer-encoding: chunked"), version == "1.1", "{printed}");

        let printed = curl(&server, &[flag, "--head"], &["/"], b"").await;
        assert!(printed.contains("content-length: 5\n") && !printed.contains("hello"), "{printed}");

        let printed = curl(&server, &[flag, "--include"], &["/empty"], b"").await;
        assert!(printed.contains(" 204") && !printed.contains("content-length"), "{printed}");
    }
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_asks_twice_on_one_connection_whatever_the_first_answer_was() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    // Over HTTP/1.1: with prior knowledge, this curl cannot go on with any server (curl#10643, before 8.0).
    for first in ["/", "/pieces", "/empty", "/nothing", "/trailers"] {
        let printed = curl(&server, &["--http1.1"], &[first, "/"], b"").await;
        assert_eq!(printed.matches("connects:1").count(), 1, "{first}: {printed}");
        assert!(printed.ends_with("hello\n200 1.1 connects:0 uploaded:0\n"), "{first}: {printed}");
    }
    // After the answer to HEAD, too, no byte is left that would be taken for the next answer.
    let printed = curl(&server, &["--http1.1", "--head"], &["/", "/pieces", "/"], b"").await;
    assert_eq!(printed.matches("connects:0").count(), 2, "{printed}");
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_uploads_with_a_length_in_chunks_and_after_being_told_to_go_on() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    let large = vec![b'x'; LARGE];
    let all = format!("{LARGE} bytes\n200");
    for (flag, version) in VERSIONS {
        let printed = curl(&server, &[flag, "--data-binary", "@-"], &["/count"], &large).await;
        assert!(printed.contains(&all), "{printed}");
        if version != "1.0" {
            // curl asks for chunks itself over HTTP/1.1, since it knows no length.
            let printed = curl(&server, &[flag, "--upload-file", "-"], &["/count"], &large).await;
            assert!(printed.contains(&all), "{printed}");
        }
    }
    let expects = ["--http1.1", "--include", "--header", "Expect: 100-continue", "--expect100-timeout", "25"];
    let printed =
        curl(&server, &[&expects[..], &["--data-binary", "@-"]].concat(), &["/count"], &large).await;
    assert!(printed.starts_with("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n"), "{printed}");
    assert!(printed.contains(&all), "{printed}");
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_sees_a_refusal_before_it_has_uploaded_anything() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    let large = vec![b'x'; LARGE];
    let expects =
        ["--http1.1", "--header", "Expect: 100-continue", "--expect100-timeout", "25", "--data-binary", "@-"];
    let printed = curl(&server, &[&expects[..], &["--include"]].concat(), &["/small"], &large).await;
    assert!(printed.starts_with("HTTP/1.1 413 Payload Too Large\n"), "{printed}");
    assert!(!printed.contains("100 Continue") && printed.ends_with("uploaded:0\n"), "{printed}");
    let printed = curl(&server, &expects, &["/small"], &large).await;
    assert!(printed.contains(r#""status":413"#), "{printed}");
    // curl asks by itself before it sends so much, and would ask again on this connection if it were not told that it ends.
    let args = ["--http1.1", "--include", "--data-binary", "@-"];
    let printed = curl(&server, &args, &["/no-expectations"], &large).await;
    assert!(printed.starts_with("HTTP/1.1 417 Expectation Failed\n"), "{printed}");
    assert!(printed.contains("\nconnection: close\n") && printed.ends_with("uploaded:0\n"), "{printed}");
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_sees_a_refusal_in_the_middle_of_its_upload() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    let large = vec![b'x'; LARGE];
    for (flag, _) in &VERSIONS[..2] {
        let args = [flag, "--header", "Expect:", "--data-binary", "@-"];
        let printed = curl(&server, &args, &["/small"], &large).await;
        assert!(printed.contains("\n413 "), "{flag}: {printed}");
    }
    assert_eq!(server.stop().await.aborted, 0);
}

/// curl 7.88 takes the answer for lost when the stream is closed behind it; its library's own client does not.
#[tokio::test]
async fn nghttp_sees_a_refusal_in_the_middle_of_its_upload() {
    if !need("nghttp") {
        return;
    }
    let server = Judged::new().await;
    let large = vec![b'x'; LARGE];
    let printed = text(run("nghttp", &["--verbose", "--data=-", &server.url("/small")], &large).await);
    assert!(printed.contains(":status: 413"), "{printed}");
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_gets_trailers_if_it_says_that_it_takes_them() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    for (flag, _) in &VERSIONS[1..] {
        let args = [flag, "--header", "TE: trailers", "--include"];
        let printed = curl(&server, &args, &["/trailers"], b"").await;
        assert!(printed.contains("hello"), "{printed}");
        assert!(printed.contains("checksum: five letters"), "{flag}: {printed}");
    }
    // RFC 9110, section 6.5.1: nobody is sent trailers who has not asked for them.
    let printed = curl(&server, &["--http1.1", "--include"], &["/trailers"], b"").await;
    assert!(!printed.contains("checksum: "), "{printed}");
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_asks_for_another_protocol_and_is_answered_in_the_one_it_asked_in() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    let web_socket = ["--http1.1", "--header", "Connection: Upgrade", "--header", "Upgrade: websocket"];
    for args in [&["--http2"][..], &web_socket] {
        let printed = curl(&server, args, &["/", "/"], b"").await;
        assert!(printed.starts_with("hello\n200 1.1 connects:1 "), "{printed}");
        assert!(printed.ends_with("hello\n200 1.1 connects:0 uploaded:0\n"), "{printed}");
    }
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn curl_is_told_that_its_head_is_too_large() {
    if !need("curl") {
        return;
    }
    let server = Judged::new().await;
    let long = format!("x: {}", "a".repeat(70 * 1024));
    let many: Vec<String> = (0..101).map(|count| format!("x-{count}: a")).collect();
    let many: Vec<&str> = many.iter().flat_map(|field| ["--header", field]).collect();
    for args in [&["--header", &long][..], &many] {
        let printed = curl(&server, &[&["--http1.1"], args].concat(), &["/"], b"").await;
        assert!(printed.contains("\n431 "), "{printed}");
    }
    assert_eq!(server.stop().await.aborted, 0);
}
