//! A client follows its host to other addresses. On sockets, since addresses of a name are of TCP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stonework::Error;
use stonework::base::Kind;
use stonework::client::Client;
use stonework::connect::{Connector, Resolve, Resolved};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::kit::{SECOND, head, plain};

/// Says what it is told to; none is a failure.
#[derive(Clone)]
struct Script(Arc<Mutex<Option<Vec<u8>>>>);

impl Script {
    fn says(&self, last: Option<&[u8]>) {
        *self.0.lock().unwrap() = last.map(<[u8]>::to_vec);
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

impl Resolve for Script {
    async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
        let says = self.0.lock().unwrap().clone();
        let last = says.ok_or_else(|| Error::new(Kind::Connect, "no such name"))?;
        Ok(Resolved::new(last.into_iter().map(address)).with_ttl(SECOND))
    }
}

/// Three servers at addresses of their own and one port; how many connections each was given.
async fn three() -> ([Arc<AtomicUsize>; 3], u16) {
    loop {
        let first = TcpListener::bind((address(1), 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        // At another address the port may be somebody else's.
        let Ok(second) = TcpListener::bind((address(2), port)).await else { continue };
        let Ok(third) = TcpListener::bind((address(3), port)).await else { continue };
        return ([first, second, third].map(serve), port);
    }
}

fn serve(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            counts.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                while head(&mut peer).await.is_some() {
                    if peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    count
}

#[tokio::test]
async fn under_a_steady_load_it_comes_to_new_addresses_and_leaves_old_ones_and_no_call_fails() {
    let (servers, port) = three().await;
    let script = Script(Arc::new(Mutex::new(Some(vec![1, 2]))));
    let connector = Connector::builder().resolver(script.clone()).build().unwrap();
    let settings = plain().connection_lifetime(Duration::from_millis(200)).max_connections_per_host(20);
    let client = Client::builder().settings(settings).connector(connector).build().unwrap();
    let seen = || servers.each_ref().map(|count| count.load(Ordering::SeqCst));
    let load = async |time: Duration| {
        let end = Instant::now() + time;
        let callers = (0..20).map(|_| async {
            while Instant::now() < end {
                let answer = client.get(format!("http://orders.test:{port}/")).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), "x");
                sleep(Duration::from_millis(5)).await;
            }
        });
        futures_util::future::join_all(callers).await;
    };
    load(SECOND).await;
    let [one, two, three] = seen();
    // Twenty at once, and each of them anew every fifth of a second, to both alike.
    assert!(one > 10 && two > 10 && one.abs_diff(two) * 3 < one + two && three == 0, "{:?}", seen());

    script.says(Some(&[2, 3]));
    // What is known of the name is good for a second, and a connection for a fifth.
    load(SECOND * 2).await;
    let [left, _, come] = seen();
    assert!(come > 0, "{:?}", seen());
    load(SECOND).await;
    assert_eq!(seen()[0], left, "nobody comes to the one that is gone");

    // Nobody knows the name any more: what was known goes on.
    script.says(None);
    load(SECOND * 2).await;
    assert!(seen()[2] > come);
    assert_eq!(client.connections().waiting, 0);
}
