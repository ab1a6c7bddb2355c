//! nginx, which closes connections after so many requests or so much time, and is told to read its settings again.

use std::collections::HashSet;
use std::fmt::Write;

use stonework::client::ClientSettings;
use tokio::time::sleep;

use super::kit::{Calls, Certificate, Done, Folder, Program, calls, clients, free_ports, listens, ms};
use crate::kit::{need_by, run};

struct Nginx {
    folder: Folder,
    program: Program,
    certificate: Certificate,
    /// Without TLS, and with it.
    ports: (u16, u16),
}

impl Nginx {
    async fn start(settings: &str) -> Self {
        let (folder, certificate) = (Folder::new(), Certificate::new());
        certificate.put_into(&folder);
        let (plain, tls) = free_ports();
        let mut conf = "daemon off; worker_processes 1; pid pid; error_log error.log;\n\
                        worker_shutdown_timeout 5s; events {}\nhttp {\n"
            .to_owned();
        for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(conf, "{what}_temp_path {what};").unwrap();
        }
        writeln!(
            conf,
            "log_format work '$http_x_work $connection $connection_requests'; access_log work.log work;\n\
             {settings}\n\
             server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;\n\
             ssl_certificate cert.pem; ssl_certificate_key key.pem; location / {{ return 200 hello; }} }} }}"
        )
        .unwrap();
        let file = folder.write("nginx.conf", &conf);
        let program = Program::start("nginx", &["-p", &folder.file(""), "-c", &file, "-e", "error.log"]);
        listens(plain).await;
        Self { folder, program, certificate, ports: (plain, tls) }
    }

    /// `nginx -s WHAT`.
    async fn tell(&self, what: &str) {
        let (folder, file) = (self.folder.file(""), self.folder.file("nginx.conf"));
        let told = run("nginx", &["-p", &folder, "-c", &file, "-e", "error.log", "-s", what], b"").await;
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    }

    /// What it has done, once it has ended: a request is written down after it was answered.
    async fn done(mut self) -> (Done, Vec<String>) {
        self.program.end("QUIT").await;
        let log = self.folder.file("work.log");
        let lines = std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
        (Done::written(log), lines)
    }
}

/// How many connections a log shows, and the most requests over one of them.
fn connections(log: &[String]) -> (usize, usize) {
    let fields = log.iter().map(|line| line.split(' ').skip(1).collect::<Vec<_>>());
    let seen: Vec<_> =
        fields.map(|fields| (fields[0].to_owned(), fields[1].parse::<usize>().unwrap())).collect();
    let different: HashSet<_> = seen.iter().map(|(connection, _)| connection).collect();
    (different.len(), seen.iter().map(|(_, nth)| *nth).max().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nginx_says_for_how_long_it_keeps_a_connection_no_call_is_lost_and_none_is_tried_twice() {
    if !need_by("nginx", "-v") {
        return;
    }
    let nginx = Nginx::start("keepalive_timeout 2s 2s; keepalive_requests 7;").await;
    let retrying = ClientSettings::new();
    let mut all = clients(&nginx.certificate, &retrying.clone().without_retry(), nginx.ports);
    // Over HTTP/2 it refuses what has left before it said which request was the last: this goes out again.
    all[2] = clients(&nginx.certificate, &retrying, nginx.ports).remove(2);
    let seldom = calls(all.clone(), 6, ms(2200), ms(4000)).await;
    let often = calls(all, 6, ms(4), ms(1000)).await;
    let (done, log) = nginx.done().await;
    for (how, all) in [("seldom", seldom), ("often", often)] {
        for (name, calls) in all {
            calls.check_all(&format!("nginx, {name}, {how}"), &done);
        }
    }
    let (_, most) = connections(&log);
    assert!((2..=7).contains(&most), "connections are used again, up to the limit: {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_let_go_before_nginx_closes_it() {
    if !need_by("nginx", "-v") {
        return;
    }
    let nginx = Nginx::start("keepalive_timeout 60s 2s;").await;
    let (_, client, url) = clients(&nginx.certificate, &ClientSettings::new(), nginx.ports).remove(0);
    let mut calls = Calls::default();
    for (pause, open) in [(0, 1), (100, 1), (1500, 0), (100, 1)] {
        sleep(ms(pause)).await;
        // It keeps its own for a minute, so whoever closes one earlier is the client.
        assert_eq!(client.connections().open, if pause == 0 { 0 } else { open }, "after {pause} ms");
        calls.get(&client, &url).await;
    }
    drop(client);
    let (_, log) = nginx.done().await;
    assert_eq!(connections(&log).0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nginx_reads_its_settings_again_and_again_no_get_fails_and_no_post_is_done_twice() {
    if !need_by("nginx", "-v") {
        return;
    }
    let nginx = Nginx::start("keepalive_requests 100000;").await;
    let all = clients(&nginx.certificate, &ClientSettings::new(), nginx.ports);
    let reloads = async {
        for _ in 0..6 {
            sleep(ms(400)).await;
            nginx.tell("reload").await;
        }
    };
    let (all, ()) = tokio::join!(calls(all, 6, ms(4), ms(3000)), reloads);
    let (done, log) = nginx.done().await;
    for (name, calls) in all {
        calls.check(&format!("nginx, {name}, reload"), &done);
    }
    let (different, most) = connections(&log);
    assert!(different >= 6 && most > 10, "{different} connections, {most} requests over one");
}
