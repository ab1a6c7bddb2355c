//! Runs the README's snippet over a client of one's own, as a crate of its own would: against a server that answers 503 once, then 200.
//! `.ci/run` builds this outside the tree, on the packaged crate with its default features.

use std::io::{Read, Write};
use std::net::TcpListener;

include!("snippet.rs");

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        for answer in ["503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 4096];
            let length = stream.read(&mut head).expect("a request");
            assert!(head[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            let text = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).expect("an open connection");
        }
    });
    let uri = format!("http://{address}/").parse().expect("an address is a URI");
    let status = fetch(uri).await.expect("an answer");
    server.join().expect("two requests");
    assert_eq!(status, 200);
    println!("the README's snippet over hyper-util's client met a 503, asked again, and was answered {status}");
}
