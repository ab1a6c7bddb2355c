//! Over sockets: servers that are killed and come back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, channel::Channel};
use stonework::balance::{Balancer, BalancerSettings, Pick};
use stonework::base::body::Body;
use stonework::base::{Backoff, EndpointId, EndpointState};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetryLayer;
use stonework::server::Server;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

use super::kit::state;
use crate::support::{SECOND, soon};

const MS: Duration = Duration::from_millis(1);

/// A server in a runtime of its own, which dies with all its connections at once.
struct Mortal {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    calls: Arc<AtomicU64>,
}

impl Mortal {
    fn start(address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&calls);
        let (told, at) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let server = Server::bind(&address.to_string()).await.expect("it is free");
            told.send(server.local_addr()).unwrap();
            let service = service_fn(move |request: Request<Body>| {
                count.fetch_add(1, Ordering::Relaxed);
                async move {
                    let (mut length, mut body) = (0, request.into_body());
                    while let Some(Ok(frame)) = body.frame().await {
                        length += frame.data_ref().map_or(0, Bytes::len);
                    }
                    Ok::<_, std::convert::Infallible>(Response::new(Body::from(length.to_string())))
                }
            });
            server.serve(service).await
        });
        let address = at.recv_timeout(10 * SECOND).expect("it listens");
        Self { runtime: Some(runtime), address, calls }
    }

    fn kill(&mut self) {
        self.runtime.take().expect("it lives").shutdown_background();
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind(anywhere()).unwrap().local_addr().unwrap()
}

/// One endpoint: a client of its own that goes to this address and nowhere else.
#[derive(Clone)]
struct At {
    address: String,
    client: Client,
}

impl At {
    fn new(id: &EndpointId) -> Self {
        let settings = ClientSettings::new().without_retry().without_breaker();
        let client = Client::builder().settings(settings).build().unwrap();
        Self { address: id.to_string(), client }
    }

    async fn connects(self) -> std::io::Result<()> {
        TcpStream::connect(&self.address).await.map(drop)
    }
}

impl tower::Service<Request<Body>> for At {
    type Response = Response<Body>;
    type Error = stonework::Error;
    type Future = <Client as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        tower::Service::<Request<Body>>::poll_ready(&mut self.client, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority(self.address.as_str()).path_and_query(path);
        *request.uri_mut() = uri.build().expect("an address");
        self.client.call(request)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_servers_is_killed_and_restarted_under_load_and_no_caller_notices() {
    let mut servers: Vec<_> = (0..3).map(|_| Mortal::start(anywhere())).collect();
    let names: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    let backoff = Backoff::exponential(50 * MS, 200 * MS).unwrap();
    // Of answers that take no time the fastest are those of whom the machine has interrupted least, who would get nearly all of the calls.
    let settings = BalancerSettings::new().pick(Pick::LeastLoaded).backoff(backoff).slow_start(SECOND);
    let builder = Balancer::builder(At::new).members(names.iter().map(String::as_str)).check(At::connects);
    let balancer = builder.settings(settings).build().unwrap();
    let service = RetryLayer::new().layer(balancer.service());

    let (start, mut calls) = (Instant::now(), Vec::new());
    let (mut killed, mut restarted) = (false, false);
    for call in 0..600_u32 {
        let service = service.clone();
        calls.push(tokio::spawn(async move {
            let answer = service.oneshot(Request::get("/").body(Body::empty()).unwrap()).await?;
            assert_eq!(answer.status(), 200);
            Ok::<_, stonework::Error>(())
        }));
        tokio::time::sleep_until(start + 5 * MS * call).await;
        if !killed && call == 200 {
            servers[1].kill();
            killed = true;
        }
        if !restarted && call == 400 {
            assert_ne!(state(&balancer, &names[1]), EndpointState::Ready, "it was noticed");
            let address = servers[1].address;
            servers[1] = Mortal::start(address);
            restarted = true;
        }
    }
    for (at, call) in calls.into_iter().enumerate() {
        soon(call).await.unwrap().unwrap_or_else(|error| panic!("call {at}: {error:#}"));
    }
    assert!(servers[1].calls() > 10, "it gets calls again: {}", servers[1].calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_noticed_without_a_call() {
    let address = nobody();
    let builder = Balancer::builder(At::new).members([address.to_string()]).check(At::connects);
    let backoff = Backoff::exponential(20 * MS, 100 * MS).unwrap();
    let balancer = builder.settings(BalancerSettings::new().backoff(backoff)).build().unwrap();
    sleep(200 * MS).await;
    assert_ne!(state(&balancer, &address.to_string()), EndpointState::Ready);
    let _server = Mortal::start(address);
    let noticed = async {
        while state(&balancer, &address.to_string()) != EndpointState::Ready {
            sleep(MS).await;
        }
    };
    timeout(5 * SECOND, noticed).await.expect("within the pause");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_upload_goes_to_the_second_endpoint_if_the_first_refuses_with_nothing_kept_of_it() {
    const PIECES: usize = 16 * 1024;
    const PIECE: usize = 64 * 1024;
    let server = Mortal::start(anywhere());
    let names = [nobody().to_string(), server.address.to_string()];
    // The one where nobody listens is tried first, all but surely.
    let members = [
        stonework::balance::Member::new(names[0].as_str()).weight(u32::MAX),
        stonework::balance::Member::new(names[1].as_str()),
    ];
    let settings = BalancerSettings::new().pick(stonework::balance::Pick::WeightedRoundRobin);
    let balancer = Balancer::builder(At::new).members(members).settings(settings).build().unwrap();
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let upload = tokio::spawn(async move {
        for _ in 0..PIECES {
            sender.send_data(Bytes::from(vec![b'x'; PIECE])).await.expect("somebody reads");
        }
    });
    let request = Request::post("/").body(Body::new(body)).unwrap();
    let answer = soon(balancer.service().oneshot(request)).await.unwrap();
    let length = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, (PIECES * PIECE).to_string());
    upload.await.unwrap();
    let picked: Vec<_> = balancer.stats().endpoints().iter().map(|one| one.calls()).collect();
    assert_eq!(picked, [1, 1]);
}
