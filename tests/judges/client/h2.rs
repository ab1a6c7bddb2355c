//! Python's h2, which takes back what it has taken: goodbyes, refusals, and fewer streams than before.

use futures_util::future::join_all;
use stonework::base::{Backoff, Delivery};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetrySettings;

use super::kit::{Calls, Done, Folder, ms};
use crate::kit::{Talking, python, script};

/// Runs as long as it is not dropped.
struct Peer {
    url: String,
    folder: Folder,
    _program: Talking,
}

impl Peer {
    async fn start(python: &str, what: &str) -> Self {
        let folder = Folder::new();
        let args = [&script("client/h2_server.py"), what, &folder.file("done")];
        let mut program = Talking::start(python, &args);
        let port = program.line().await.expect("it says on which port it is");
        Self { url: format!("http://127.0.0.1:{port}"), folder, _program: program }
    }

    /// So many POSTs at once, and how far each got that failed.
    async fn works(&self, settings: ClientSettings, works: usize) -> (Calls, Vec<Option<Delivery>>) {
        let client = Client::builder().settings(settings.http2_only()).build().unwrap();
        let posts = (0..works).map(|_| async {
            let mut calls = Calls::default();
            let far = calls.post(&client, &self.url).await;
            (calls, far)
        });
        let (mut all, mut far) = (Calls::default(), Vec::new());
        for (calls, got) in join_all(posts).await {
            all.add(calls);
            far.push(got);
        }
        far.sort_by_key(|far| format!("{far:?}"));
        (all, far)
    }

    fn done(&self) -> Done {
        Done::written(self.folder.file("done"))
    }
}

fn retrying() -> ClientSettings {
    let retry = RetrySettings::new().attempts(9).backoff(Backoff::constant(ms(1)).unwrap()).without_budget();
    ClientSettings::new().retry(retry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_streams_a_goodbye_refuses_those_after_the_first_and_they_go_out_again() {
    let Some(python) = python("h2.connection") else { return };
    let (refused, unknown) = (Some(Delivery::Refused), Some(Delivery::Unknown));
    // Whether it answers the first one after its goodbye, or closes the connection once it has done the work.
    for (what, first) in [("goodbye", None), ("goodbye-and-gone", unknown)] {
        let peer = Peer::start(&python, what).await;
        let (calls, far) = peer.works(ClientSettings::new().without_retry(), 3).await;
        let mut expected = vec![first, refused, refused];
        expected.sort_by_key(|far| format!("{far:?}"));
        assert_eq!(far, expected, "{what}");
        calls.check_told(what, &peer.done());

        let peer = Peer::start(&python, what).await;
        let (calls, far) = peer.works(retrying(), 3).await;
        let mut expected = vec![first, None, None];
        expected.sort_by_key(|far| format!("{far:?}"));
        assert_eq!(far, expected, "{what}");
        calls.check(what, &peer.done());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_refused_go_out_again_until_each_was_done_once() {
    let Some(python) = python("h2.connection") else { return };
    let peer = Peer::start(&python, "refuse").await;
    let (calls, _) = peer.works(retrying(), 60).await;
    calls.check_all("h2, refusals", &peer.done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_allows_fewer_streams_than_before_gets_fewer() {
    let Some(python) = python("h2.connection") else { return };
    let peer = Peer::start(&python, "fewer").await;
    // It closes the connection if there is one more than it has allowed.
    let (calls, _) = peer.works(ClientSettings::new().without_retry().max_connections_per_host(1), 60).await;
    calls.check_all("h2, fewer streams", &peer.done());
    assert_eq!(peer.done().times("fewer"), 1, "it did allow fewer");
}
