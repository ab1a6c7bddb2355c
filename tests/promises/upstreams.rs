//! Services with several endpoints, as the assembled client calls them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stonework::Error;
use stonework::balance::{BalancerSettings, Member, Pick, watch};
use stonework::base::{EndpointState, Event, Fitness, Kind, Ratio, Rng};
use stonework::breaker::BreakerSettings;
use stonework::client::{Client, ClientBuilder, ClientSettings, UpstreamSettings};
use stonework::connect::{Connector, Proxy, Resolve, Resolved};
use stonework::health::{Prober, ProberSettings, probe_fn};
use stonework::limit::ConcurrencySettings;
use stonework::testing::{Latch, Reaction, Recorder, ScriptedServer, SeenRequest, respond};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::connect::kit::Pipes;
use crate::support::{SECOND, soon};

const ORIGIN: &str = "http://orders.test";

async fn answers(status: u16) -> ScriptedServer {
    ScriptedServer::start(move |_: &SeenRequest| respond(status).keep_alive()).await
}

fn address(server: &ScriptedServer) -> String {
    server.uri("/").authority().unwrap().to_string()
}

/// An address where nobody listens, and nobody else can as long as the socket is there.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// By chance, and with no outliers: what is seen is what the endpoints do.
fn plain(members: impl IntoIterator<Item = String>) -> UpstreamSettings {
    let balancer = BalancerSettings::new().pick(Pick::LeastLoaded).without_outliers();
    UpstreamSettings::new().balancer(balancer).members(members)
}

fn client(settings: ClientSettings) -> Client {
    Client::builder().rng(Rng::seeded(1)).settings(settings).build().unwrap()
}

/// Knows no name, and how often it was asked.
#[derive(Clone, Default)]
struct NoNames(Arc<AtomicUsize>);

impl Resolve for NoNames {
    async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Resolved::new([]))
    }
}

fn state(client: &Client, endpoint: &str) -> EndpointState {
    let stats = client.upstream(ORIGIN).unwrap().stats();
    stats.endpoints().iter().find(|one| one.id().as_str() == endpoint).unwrap().state()
}

#[tokio::test]
async fn calls_go_to_the_endpoints_of_a_service_and_say_its_name_which_nobody_looks_up() {
    let (one, other) = (answers(200).await, answers(200).await);
    let names = NoNames::default();
    let connector = Connector::builder().resolver(names.clone()).build().unwrap();
    let settings = ClientSettings::new().without_retry().upstream(ORIGIN, plain([&one, &other].map(address)));
    let client = Client::builder().connector(connector).settings(settings).build().unwrap();
    for _ in 0..40 {
        let answer = client.get("http://Orders.test:80/lines?of=7").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let seen = [one.seen(), other.seen()];
    assert!(seen.iter().all(|seen| seen.len() > 4), "{} {}", seen[0].len(), seen[1].len());
    assert_eq!(seen[0].len() + seen[1].len(), 40);
    for request in seen.iter().flatten() {
        assert_eq!((request.target.as_str(), request.header("host")), ("/lines?of=7", Some("orders.test")));
    }
    assert_eq!(names.0.load(Ordering::Relaxed), 0);
    let connections = client.connections();
    assert_eq!((connections.hosts, connections.open), (2, 2), "used again, and counted with all others");

    // Another port and another scheme are another origin, as are other names.
    for elsewhere in ["http://orders.test:81/", "http://stock.test/", "http://x.orders.test/"] {
        let error = client.get(elsewhere).send().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect, "{elsewhere}");
    }
    assert_eq!(names.0.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_could_not_be_sent_goes_to_another_endpoint_whatever_its_method() {
    let (server, (_kept, nobody)) = (answers(200).await, nobody());
    let members = [nobody.clone(), "no place".to_owned(), address(&server)];
    let client = Client::builder()
        .rng(Rng::seeded(1))
        .settings(ClientSettings::new().without_retry().upstream(ORIGIN, plain([])))
        .upstream(ORIGIN, move |balancer| balancer.members(members.clone()))
        .build()
        .unwrap();
    for _ in 0..20 {
        let answer = client.post(format!("{ORIGIN}/")).body("an order").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(server.seen().len(), 20);
    assert_eq!(state(&client, &nobody), EndpointState::Backoff);
    assert_eq!(state(&client, "no place"), EndpointState::Backoff, "it is found out by whoever calls it");
}

#[tokio::test]
async fn the_next_attempt_goes_to_an_endpoint_that_was_not_tried() {
    let (sick, well) = (answers(503).await, answers(200).await);
    let settings = ClientSettings::new().without_breaker();
    let client = client(settings.upstream(ORIGIN, plain([&sick, &well].map(address))));
    for _ in 0..20 {
        assert_eq!(client.get(format!("{ORIGIN}/")).send().await.unwrap().status(), 200);
    }
    assert_eq!(well.seen().len(), 20);
    assert!(sick.seen().len() <= 20);
}

#[tokio::test]
async fn one_sick_endpoint_opens_its_own_circuit_and_the_others_get_its_calls() {
    let (sick, well) = (answers(500).await, answers(200).await);
    let breaker = BreakerSettings::new().min_calls(5).failure_rate(Ratio::percent(50));
    let settings = ClientSettings::new().without_retry().breaker(breaker);
    let client = client(settings.upstream(ORIGIN, plain([&sick, &well].map(address))));
    let ask = async || client.get(format!("{ORIGIN}/")).send().await.unwrap().status().as_u16();
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(ask().await == 500);
    }
    assert_eq!(failed, sick.seen().len());
    assert_eq!(failed, 5, "then it is not asked again");
    let states = client.breakers().unwrap().states();
    let open = |server: &ScriptedServer| {
        let of_it = states.iter().find(|(place, _)| place.to_string() == address(server));
        !of_it.unwrap().1.lets_all_through()
    };
    assert!(open(&sick) && !open(&well), "{states:?}");
}

#[tokio::test]
async fn limits_are_those_of_each_endpoint() {
    let latch = Latch::new();
    let waits = |latch: &Latch| {
        let latch = latch.clone();
        ScriptedServer::start(move |_: &SeenRequest| {
            Reaction::new().wait(&latch).reply(respond(200)).keep_alive_for(SECOND)
        })
    };
    let (one, other) = (waits(&latch).await, waits(&latch).await);
    let settings = ClientSettings::new().without_retry().without_queue();
    let settings = settings.concurrency(ConcurrencySettings::new(1));
    let client = client(settings.upstream(ORIGIN, plain([&one, &other].map(address))));
    let ask = || {
        let client = client.clone();
        tokio::spawn(
            async move { client.get(format!("{ORIGIN}/")).send().await.map(|answer| answer.status()) },
        )
    };
    let both = [ask(), ask()];
    soon(one.wait_for(1)).await;
    soon(other.wait_for(1)).await;
    // There is no room for a third, wherever it goes.
    let error = ask().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Overload, "{error:#}");
    latch.open();
    for one in both {
        assert_eq!(soon(one).await.unwrap().unwrap(), 200);
    }
}

/// Reads a head from a pipe.
async fn head(end: &mut DuplexStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(end.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

fn over(pipes: &Pipes, proxy: Proxy) -> Client {
    let connector = Connector::builder().transport(pipes.transport()).proxy(proxy).build().unwrap();
    let settings = ClientSettings::new().without_retry().without_deadline_header();
    let settings = settings.upstream("http://orders.test:8080", plain(["10.0.0.7".to_owned()]));
    Client::builder().connector(connector).settings(settings).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn through_a_proxy_an_endpoint_is_reached_by_a_tunnel_unless_it_or_its_service_has_none() {
    let pipes = Pipes::default();
    let proxy = || Proxy::http("http://proxy.test:3128").unwrap();
    let client = over(&pipes, proxy());
    let call = tokio::spawn(async move { client.get("http://orders.test:8080/a").send().await });
    sleep(SECOND).await;
    let mut end = pipes.take();
    assert_eq!(head(&mut end).await, "CONNECT 10.0.0.7:8080 HTTP/1.1\r\nHost: 10.0.0.7:8080\r\n\r\n");
    end.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let asked = head(&mut end).await;
    assert!(asked.starts_with("GET /a HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: orders.test:8080\r\n"), "{asked}");
    end.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 204);
    assert_eq!(pipes.asked(), ["http://proxy.test:3128"]);

    for none in ["orders.test", "10.0.0.0/8"] {
        let pipes = Pipes::default();
        let client = over(&pipes, proxy().no_proxy(none));
        let call = tokio::spawn(async move { client.get("http://orders.test:8080/a").send().await });
        sleep(SECOND).await;
        assert_eq!(pipes.asked(), ["http://10.0.0.7:8080"], "{none}");
        call.abort();
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_each_endpoint_has_to_show_the_certificate_of_the_service() {
    use axum::Router;
    use axum::routing::get;
    use rcgen::{CertificateParams, KeyPair};
    use stonework::connect::ClientTls;
    use stonework::server::{Server, ServerTls};

    let start = async |name: &str| {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let tls = ServerTls::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let server = Server::builder().tls(tls).bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().to_string();
        let router = Router::new().route(
            "/",
            get(|request: http::Request<axum::body::Body>| async move {
                request.uri().host().unwrap_or("none").to_owned()
            }),
        );
        (address, cert.pem(), tokio::spawn(server.serve(router)))
    };
    let (right, other) = (start("orders.test").await, start("stock.test").await);
    let tls = ClientTls::new().roots_pem(right.1.as_bytes()).unwrap();
    let tls = tls.add_roots_pem(other.1.as_bytes()).unwrap();
    let connector = Connector::builder().tls(tls).build().unwrap();
    let client = |address: &str| {
        let upstream = plain([address.to_owned()]);
        let settings = ClientSettings::new().without_retry().upstream("https://orders.test", upstream);
        Client::builder().connector(connector.clone()).settings(settings).build().unwrap()
    };
    let answer = client(&right.0).get("https://orders.test/").send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "orders.test");
    let error = client(&other.0).get("https://orders.test/").send().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error:#}");
    assert!(error.forbids_retry() && format!("{error:#}").contains("certificate"), "{error:#}");
    right.2.abort();
    other.2.abort();
}

/// A prober that writes down whom it asks, and finds those unwell that it is told.
#[derive(Clone, Default)]
struct Probes {
    asked: Arc<Mutex<Vec<String>>>,
    unwell: Arc<Mutex<Vec<String>>>,
}

impl Probes {
    fn builder(&self) -> stonework::health::ProberBuilder {
        let probes = self.clone();
        let probe = probe_fn(move |endpoint: stonework::base::EndpointId| {
            probes.asked.lock().unwrap().push(endpoint.to_string());
            std::future::ready(!probes.unwell.lock().unwrap().contains(&endpoint.to_string()))
        });
        let settings = ProberSettings::new().interval(SECOND).timeout(SECOND / 2).fall(1).rise(1);
        Prober::builder(probe).rng(Rng::seeded(1)).settings(settings)
    }

    /// Whom it has asked since the last time, each once.
    fn take(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked.dedup();
        asked
    }
}

#[tokio::test(start_paused = true)]
async fn a_prober_asks_the_endpoints_that_are_discovered_and_ends_with_the_client() {
    let (probes, heard) = (Probes::default(), Recorder::new());
    let (sender, members) = watch();
    let (asks, told) = (probes.clone(), Arc::new(AtomicUsize::new(0)));
    let counts = Arc::clone(&told);
    let client = Client::builder()
        .observer(heard.clone())
        .upstream(ORIGIN, move |balancer| {
            let counts = Arc::clone(&counts);
            let prober = asks.builder().on_change(move |_, fitness| {
                counts.fetch_add(usize::from(fitness == Fitness::Unfit), Ordering::Relaxed);
            });
            balancer.discover(members.clone()).inspect(prober).observer(Recorder::new())
        })
        .build()
        .unwrap();
    probes.unwell.lock().unwrap().push("10.0.0.2:80".to_owned());
    sleep(5 * SECOND).await;
    assert_eq!(probes.take(), [""; 0], "nobody is there");

    sender.send(["10.0.0.1:80", "10.0.0.2:80"].map(Member::new));
    sleep(5 * SECOND).await;
    assert_eq!(probes.take(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(state(&client, "10.0.0.1:80"), EndpointState::Ready);
    assert_eq!(state(&client, "10.0.0.2:80"), EndpointState::Ejected);
    assert_eq!(told.load(Ordering::Relaxed), 1, "whoever listened before still does");

    sender.send(["10.0.0.2:80", "10.0.0.3:80"].map(Member::new));
    sleep(SECOND / 100).await;
    probes.unwell.lock().unwrap().clear();
    probes.take();
    sleep(5 * SECOND).await;
    assert_eq!(probes.take(), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!(state(&client, "10.0.0.2:80"), EndpointState::Ready);
    let changes = heard.events();
    let changed = |id: &str| {
        let of_it = |event: &&Event| matches!(event, Event::EndpointChanged { endpoint, .. } if endpoint.as_str() == id);
        changes.iter().filter(of_it).count()
    };
    assert!(changed("10.0.0.2:80") >= 3, "the client's observer hears of it, too: {changes:?}");

    drop(client);
    sleep(SECOND / 100).await;
    probes.take();
    sleep(60 * SECOND).await;
    assert_eq!(probes.take(), [""; 0]);
}

#[test]
fn what_is_built_before_there_is_a_runtime_begins_with_the_first_call() {
    let probes = Probes::default();
    let (sender, members) = watch();
    let (asks, (_kept, nobody)) = (probes.clone(), nobody());
    let set_up = move |balancer: stonework::balance::BalancerBuilder<_>| {
        balancer.members([nobody.clone()]).discover(members.clone()).inspect(asks.builder())
    };
    let settings = ClientSettings::new().without_retry().deadline(SECOND);
    let client = Client::builder().settings(settings).upstream(ORIGIN, set_up).build().unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        sender.send([Member::new("10.0.0.1:80")]);
        let error = client.get(format!("{ORIGIN}/")).send().await.unwrap_err();
        assert_ne!(error.kind(), Kind::Invalid);
        sleep(5 * SECOND).await;
        let known = client.upstream(ORIGIN).unwrap().stats();
        assert_eq!(known.endpoints()[0].id().as_str(), "10.0.0.1:80");
        assert!(probes.take().contains(&"10.0.0.1:80".to_owned()));
    });
}

#[test]
fn the_order_of_setters_does_not_matter_and_the_stack_says_where_the_balancer_is() {
    let settings = || {
        let orders = UpstreamSettings::new().members(["10.0.0.7:8080"]);
        ClientSettings::new().server_quotas().upstream(ORIGIN, orders)
    };
    let upstream =
        |builder: ClientBuilder| builder.upstream("https://stock.test:8443", |b| b.members(["10.0.0.8"]));
    let first = upstream(Client::builder().settings(settings())).build().unwrap().explain();
    let second = upstream(Client::builder()).settings(settings()).build().unwrap().explain();
    assert_eq!(first, second);
    let of_it = first.find("upstream: http://orders.test:80 by endpoint; the faster of two").expect(&first);
    let other = first.find("upstream: https://stock.test:8443 by endpoint").expect(&first);
    let (quotas, breaker) = (first.find("server quotas:").unwrap(), first.find("breaker:").unwrap());
    assert!([quotas, of_it, other, breaker].is_sorted(), "{first}");
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let with = |origin: &str, upstream: UpstreamSettings| {
        let settings = ClientSettings::new().upstream(ORIGIN, plain(["10.0.0.1".to_owned()]));
        Client::builder().settings(settings.upstream(origin, upstream)).build().unwrap_err().to_string()
    };
    let one = || plain(["10.0.0.1:80".to_owned()]);
    for (refused, named) in [
        (with("orders.internal", one()), "`upstreams` has `orders.internal`, which is no origin"),
        (with("http://me:secret@orders.internal", one()), "`upstreams` has `orders.internal`"),
        (with("http://orders.internal/path", one()), "which is no origin"),
        (with("http://ORDERS.test:80/", one()), "`upstreams` has http://"),
        (with("http://b.test", UpstreamSettings::new()), "http://b.test:80: `members` is empty"),
        (with("http://b.test", plain(["/run/socket".to_owned()])), "`members` has `/run/socket`"),
        (with("http://b.test", plain(["me@10.0.0.1:80".to_owned()])), "`members` has `me@10.0.0.1:80`"),
        (with("http://b.test", plain(["10.0.0.1:65536".to_owned()])), "`members` has `10.0.0.1:65536`"),
        (
            with("http://b.test", one().balancer(BalancerSettings::new().overprovision_percent(90))),
            "http://b.test:80: `overprovision_percent` is 90",
        ),
    ] {
        assert!(refused.contains(named) && !refused.contains("secret"), "{refused}");
    }
    let zero = ProberSettings::new().interval(Duration::ZERO);
    let prober = move || Prober::builder(probe_fn(async |_| true)).settings(zero);
    let refused = Client::builder().upstream(ORIGIN, move |balancer| balancer.inspect(prober())).build();
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`upstreams`, http://orders.test:80: `inspect`: `interval` is more than zero"
    );
}

#[test]
fn a_file_names_what_is_wrong_with_an_upstream() {
    let read = |text: &str| toml::from_str::<ClientSettings>(text);
    let settings = read(
        r#"
        [upstreams."http://orders.test"]
        members = ["10.0.0.7:8080", { address = "10.0.0.8:8080", weight = 3, tier = 1 }]
        balancer = { pick = "least_loaded" }
        "#,
    );
    let settings = settings.unwrap();
    let again: ClientSettings = read(&toml::to_string(&settings).unwrap()).unwrap();
    assert_eq!(again, settings);
    let members = [Member::new("10.0.0.7:8080"), Member::new("10.0.0.8:8080").weight(3).tier(1)];
    let balancer = BalancerSettings::new().pick(Pick::LeastLoaded);
    let upstream = UpstreamSettings::new().members(members).balancer(balancer);
    assert_eq!(settings, ClientSettings::new().upstream(ORIGIN, upstream));

    let upstream = |rest: &str| read(&format!("[upstreams.\"{ORIGIN}\"]\n{rest}")).unwrap_err().to_string();
    for (refused, named) in [
        (upstream("member = []"), "`member`"),
        (upstream("members = [7]"), "an address, as \"10.0.0.7:8080\""),
        (upstream("members = [{ address = \"a:1\", wait = 1 }]"), "`wait`"),
        (upstream("members = [{ weight = 1 }]"), "`address`"),
        (upstream("members = [{ address = \"a:1\", weight = 0 }]"), "`weight` is zero"),
        (upstream("members = [\"a b\"]"), "`members` has `a b`"),
        (upstream("members = [\"a:1\"]\nbalancer = { failovers = \"no\" }"), "failovers"),
    ] {
        assert!(refused.contains(named), "{refused}");
    }
}
