//! haproxy in front of two servers, which closes idle connections without a word, is told to read its settings again, and is restarted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::HeaderMap;
use stonework::base::Backoff;
use stonework::client::ClientSettings;
use stonework::retry::RetrySettings;
use stonework::server::Server;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::kit::{Certificate, Done, Folder, Program, calls, clients, free_ports, listens, ms};
use crate::kit::need_by;

/// A server that writes down the work that it does.
struct Backend {
    port: u16,
    done: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Backend {
    async fn start() -> Self {
        let done = Arc::<Mutex<Vec<String>>>::default();
        let works = Arc::clone(&done);
        let work = move |headers: HeaderMap, _: Request| async move {
            let name = headers["x-work"].to_str().expect("a name").to_owned();
            works.lock().unwrap().push(name);
            // So that there is always something that was done and is not answered yet.
            sleep(ms(3)).await;
            "hello"
        };
        let router = Router::new().route("/", get(|| async { "hello" }).post(work));
        let server = Server::builder().bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().port();
        let serving = tokio::spawn(async move {
            server.serve(router).await;
        });
        Self { port, done, serving }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Haproxy {
    /// Read again at each start.
    folder: Folder,
    program: Program,
    certificate: Certificate,
    ports: (u16, u16),
    backends: Vec<Backend>,
}

impl Haproxy {
    /// It keeps idle connections for so long.
    async fn start(backends: usize, idle: Duration) -> Self {
        let (folder, certificate) = (Folder::new(), Certificate::new());
        certificate.put_into(&folder);
        let (plain, tls) = free_ports();
        let mut conf = format!(
            "global\n hard-stop-after 5s\n\
             defaults\n mode http\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n\
             \x20timeout http-keep-alive {}ms\n http-reuse always\n\
             frontend both\n bind 127.0.0.1:{plain}\n bind 127.0.0.1:{tls} ssl crt {} alpn h2,http/1.1\n\
             \x20default_backend servers\n\
             backend servers\n",
            idle.as_millis(),
            folder.file("both.pem")
        );
        let mut servers = Vec::new();
        for nth in 0..backends {
            let backend = Backend::start().await;
            conf += &format!(" server s{nth} 127.0.0.1:{}\n", backend.port);
            servers.push(backend);
        }
        let file = folder.write("haproxy.cfg", &conf);
        let program = run(&file, plain).await;
        Self { folder, program, certificate, ports: (plain, tls), backends: servers }
    }

    async fn restart(&mut self) {
        self.program.end("TERM").await;
        self.program = run(&self.folder.file("haproxy.cfg"), self.ports.0).await;
    }

    fn done(&self) -> Done {
        let works = self.backends.iter().map(|backend| backend.done.lock().unwrap().clone());
        Done::of(works.collect::<Vec<_>>().concat().iter().map(String::as_str))
    }
}

/// A master, which starts another worker when it is told to read its settings, and hands the port over.
async fn run(file: &str, port: u16) -> Program {
    let program = Program::start("haproxy", &["-W", "-f", file]);
    listens(port).await;
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_haproxy_closes_idle_connections_no_get_fails_and_no_post_is_done_twice() {
    if !need_by("haproxy", "-v") {
        return;
    }
    let haproxy = Haproxy::start(2, ms(100)).await;
    let all = clients(&haproxy.certificate, &ClientSettings::new(), haproxy.ports);
    let all = calls(all, 12, ms(200), ms(3000)).await;
    for (name, calls) in all {
        calls.check(&format!("haproxy, {name}, idle"), &haproxy.done());
    }
    for backend in &haproxy.backends {
        assert!(!backend.done.lock().unwrap().is_empty(), "both have something to do");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_haproxy_is_reloaded_and_restarted_no_get_fails_and_no_post_is_done_twice() {
    if !need_by("haproxy", "-v") {
        return;
    }
    let mut haproxy = Haproxy::start(2, Duration::from_secs(10)).await;
    // As long as a restart may take on a machine that is busy.
    let patient = RetrySettings::new().attempts(100).backoff(Backoff::constant(ms(50)).unwrap());
    let settings = ClientSettings::new().retry(patient.without_budget()).without_breaker();
    let all = clients(&haproxy.certificate, &settings, haproxy.ports);
    let reloads = async {
        for _ in 0..3 {
            sleep(ms(400)).await;
            haproxy.program.signal("USR2");
        }
        for _ in 0..2 {
            sleep(ms(500)).await;
            haproxy.restart().await;
        }
    };
    let (all, ()) = tokio::join!(calls(all, 6, ms(4), ms(3500)), reloads);
    for (name, calls) in all {
        calls.check(&format!("haproxy, {name}, reload"), &haproxy.done());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_haproxy_with_nobody_behind_it_says_so_and_that_is_an_answer() {
    if !need_by("haproxy", "-v") {
        return;
    }
    let haproxy = Haproxy::start(0, Duration::from_secs(10)).await;
    let settings = ClientSettings::new().without_retry();
    for (name, client, url) in clients(&haproxy.certificate, &settings, haproxy.ports) {
        for _ in 0..3 {
            let answer = client.post(format!("{url}/")).body("work").send().await.unwrap();
            assert_eq!(answer.status(), 503, "{name}");
            assert!(answer.text().await.unwrap().contains("No server is available"), "{name}");
        }
    }
}
