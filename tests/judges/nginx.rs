//! nginx in front of a server, as it writes the headers that say who the client is.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use stonework::base::ClientAddress;
use stonework::limit::{ForwardingHeader, Quota, TrustedProxies};
use stonework::server::{Server, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::kit::need_by;

const PATIENCE: Duration = Duration::from_secs(30);

/// What clients write to be taken for somebody else. nginx passes all of it on.
const FORGED: [&str; 7] = [
    "",
    "203.0.113.9",
    "203.0.113.9, 203.0.113.10, 203.0.113.11",
    "for=203.0.113.9",
    "for=\"203.0.113.9",
    "\"",
    "unknown, , \\\", for=_hidden;by=\"",
];

/// Proxies, each in front of the next, and a folder for what they write.
struct Chain {
    port: u16,
    folder: PathBuf,
    hops: Vec<Child>,
}

impl Chain {
    /// So many in front of this port.
    async fn before(mut port: u16, hops: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("stonework-nginx-{}-{port}", std::process::id()));
        let mut chain = Self { port, folder, hops: Vec::new() };
        for _ in 0..hops {
            let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            chain.hops.push(chain.hop(own, port));
            let there = async {
                while TcpStream::connect(("127.0.0.1", own)).await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, there).await.expect("it should listen");
            port = own;
        }
        chain.port = port;
        chain
    }

    fn hop(&self, own: u16, to: u16) -> Child {
        let folder = self.folder.join(own.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut conf =
            "daemon off; master_process off; pid pid; error_log error.log; events {}\nhttp {\n".to_owned();
        for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(conf, "{what}_temp_path {what};").unwrap();
        }
        writeln!(
            conf,
            "access_log off; server {{ listen 127.0.0.1:{own}; location / {{ proxy_pass http://127.0.0.1:{to};\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr;proto=$scheme\"; }} }} }}"
        )
        .unwrap();
        let file = folder.join("nginx.conf");
        std::fs::write(&file, conf).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "error.log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Asks from this address, and gives the status and the content.
    async fn ask(&self, from: Ipv4Addr, forged: &str) -> (u16, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\nx-forwarded-for: {forged}\r\nforwarded: {forged}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it should answer").unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn server(settings: ServerSettings) -> (u16, JoinHandle<()>) {
    let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().port();
    let router = Router::new()
        .route("/", get(|Extension(who): Extension<ClientAddress>| async move { who.to_string() }));
    let serving = tokio::spawn(async move {
        server.serve(router).await;
    });
    (port, serving)
}

#[tokio::test]
async fn whatever_a_client_writes_one_or_two_proxies_say_who_it_is() {
    if !need_by("nginx", "-v") {
        return;
    }
    for hops in [1, 2] {
        for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
            for trust in [TrustedProxies::hops(hops), TrustedProxies::networks(["127.0.0.1"])] {
                let trust = trust.unwrap().header(header);
                let (port, serving) = server(ServerSettings::new().trusted_proxies(trust.clone())).await;
                let chain = Chain::before(port, hops as usize).await;
                for forged in FORGED {
                    for client in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)] {
                        let answer = chain.ask(client, forged).await;
                        assert_eq!(answer, (200, client.to_string()), "{hops} {trust}: {forged}");
                    }
                }
                serving.abort();
            }
        }
    }
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_quota() {
    if !need_by("nginx", "-v") {
        return;
    }
    let settings = ServerSettings::new()
        .trusted_proxies(TrustedProxies::hops(1).unwrap())
        .rate_limit(Quota::per_hour(FORGED.len() as u32));
    let (port, serving) = server(settings).await;
    let chain = Chain::before(port, 1).await;
    for forged in FORGED {
        assert_eq!(chain.ask(Ipv4Addr::new(127, 0, 0, 2), forged).await.0, 200);
    }
    for forged in FORGED {
        assert_eq!(chain.ask(Ipv4Addr::new(127, 0, 0, 2), forged).await.0, 429);
    }
    assert_eq!(chain.ask(Ipv4Addr::new(127, 0, 0, 3), "127.0.0.2").await.0, 200);
    serving.abort();
}
