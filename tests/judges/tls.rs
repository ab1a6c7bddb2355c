//! curl and its OpenSSL, over TLS.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use stonework::server::{Server, ServerTls};

use crate::kit::{need, run, text};

/// More than any buffer on the way holds.
const LARGE: usize = 8 * 1024 * 1024;

#[tokio::test]
async fn curl_is_answered_in_every_version_of_tls_and_http_and_sees_a_proper_end() {
    if !need("curl") {
        return;
    }
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["example.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let trusted = std::env::temp_dir().join(format!("stonework-judged-{}.crt", std::process::id()));
    std::fs::write(&trusted, cert.pem()).unwrap();
    let tls = ServerTls::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let server = Server::builder().tls(tls).bind("127.0.0.1:0").await.unwrap();
    let (port, handle) = (server.local_addr().port(), server.handle());
    let length = |body: Bytes| async move { format!("{} bytes", body.len()) };
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/length", post(length))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .layer(DefaultBodyLimit::disable());
    let serving = tokio::spawn(server.serve(router));

    let resolve = format!("example.test:{port}:127.0.0.1");
    let url = |path: &str| format!("https://example.test:{port}{path}");
    let facts =
        "\n%{http_code} %{http_version} %{ssl_verify_result} %{size_download} connects:%{num_connects}\n";
    let large = vec![b'x'; LARGE];
    for (http, version) in [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2", "2")] {
        for (least, most) in [("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")] {
            let common = ["--disable", "--silent", "--show-error", "--max-time", "30", "--write-out", facts];
            let secure =
                ["--cacert", trusted.to_str().unwrap(), "--resolve", &resolve, least, "--tls-max", most];
            let base = [&common[..], &secure[..], &[http]].concat();
            let printed = text(run("curl", &[&base[..], &[&url("/"), &url("/")]].concat(), b"").await);
            let again = if version == "1" { 1 } else { 0 };
            let expected =
                format!("hello\n200 {version} 0 5 connects:1\nhello\n200 {version} 0 5 connects:{again}\n");
            assert_eq!(printed, expected, "{http} {least}");

            let upload = ["--data-binary", "@-", &url("/length")];
            let printed = text(run("curl", &[&base[..], &upload].concat(), &large).await);
            assert!(printed.starts_with(&format!("{LARGE} bytes\n200 ")), "{http} {least}: {printed}");
            let printed = text(run("curl", &[&base[..], &[&url("/large")]].concat(), b"").await);
            assert!(printed.ends_with(&format!("\n200 {version} 0 {LARGE} connects:1\n")), "{http} {least}");
        }
    }
    std::fs::remove_file(&trusted).unwrap();
    handle.shut_down();
    assert_eq!(serving.await.unwrap().aborted, 0);
}
