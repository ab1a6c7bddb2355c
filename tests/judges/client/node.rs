//! Node's servers, which close idle connections after a short while, or at any moment, over HTTP/1.1; and whose sessions end over HTTP/2.

use std::time::Duration;

use stonework::client::ClientSettings;
use stonework::retry::RetrySettings;

use super::kit::{Calls, Certificate, Done, Folder, calls, ms};
use crate::kit::{Talking, need, script};

struct Node {
    port: String,
    folder: Folder,
    certificate: Certificate,
    _program: Talking,
}

impl Node {
    async fn start(what: &str) -> Self {
        let (folder, certificate) = (Folder::new(), Certificate::new());
        certificate.put_into(&folder);
        let mut program = Talking::start("node", &[&script("client/server.js"), what, &folder.file("")]);
        let port = program.line().await.expect("it says on which port it is");
        Self { port, folder, certificate, _program: program }
    }

    async fn calls(&self, settings: ClientSettings, pauses: Duration, time: Duration) -> Calls {
        self.over("http", settings, pauses, time).await
    }

    async fn over(&self, scheme: &str, settings: ClientSettings, pauses: Duration, time: Duration) -> Calls {
        let client = self.certificate.client(settings);
        let one = ("", client, format!("{scheme}://127.0.0.1:{}", self.port));
        calls(vec![one], 12, pauses, time).await.remove(0).1
    }

    fn done(&self) -> Done {
        Done::written(self.folder.file("done"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_node_says_for_how_long_it_keeps_a_connection_no_call_is_lost_and_none_is_tried_twice() {
    if !need("node") {
        return;
    }
    let node = Node::start("announced").await;
    let calls = node.calls(ClientSettings::new().without_retry(), ms(2200), ms(4000)).await;
    calls.check_all("node, announced", &node.done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_node_closes_idle_connections_no_get_fails_and_no_post_is_done_twice() {
    if !need("node") {
        return;
    }
    for (what, pauses) in [("unannounced", ms(200)), ("sweeping", ms(20))] {
        let node = Node::start(what).await;
        // Of those that sweep cut off, one in ten is cut off again: with three attempts one in a thousand would fail, of two thousand.
        let retry = RetrySettings::new().attempts(8).without_budget();
        let calls = node.calls(ClientSettings::new().retry(retry), pauses, ms(2500)).await;
        calls.check(&format!("node, {what}"), &node.done());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nodes_sessions_over_http_2_end_every_call_is_answered_once() {
    if !need("node") {
        return;
    }
    for (what, scheme) in [("http2", "http"), ("http2-tls", "https")] {
        let node = Node::start(what).await;
        let settings = ClientSettings::new();
        let settings = if scheme == "http" { settings.http2_only() } else { settings };
        let calls = node.over(scheme, settings, ms(4), ms(1500)).await;
        calls.check_all(&format!("node, {what}"), &node.done());
    }
}
