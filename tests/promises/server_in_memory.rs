//! A server whose connections are made within the process, on a clock that stands still.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use stonework::Body;
use stonework::base::{BoxError, Rng, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::health::Health;
use stonework::server::{Server, ServerSettings};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

#[tokio::test(start_paused = true)]
async fn the_date_of_an_answer_is_that_of_the_clock_that_the_server_was_given_or_the_services_own() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let answer = Response::builder();
        let own = request.uri().path() == "/own";
        let answer = if own { answer.header("date", "Thu, 01 Jan 1970 00:00:00 GMT") } else { answer };
        Ok::<_, Infallible>(answer.body(Body::empty()).unwrap())
    });
    for http2 in [false, true] {
        let (connect, connections) = mpsc::channel(1);
        // The example of RFC 9110, section 5.6.7.
        let clock = WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        let settings = ServerSettings::new().lame_duck(Duration::ZERO).max_request_body(0);
        let server = Server::builder().settings(settings).health(Health::builder().build().unwrap());
        let server = server.rng(Rng::seeded(1)).wall_clock(clock).listen(connections).unwrap();
        let stop = server.handle();
        let serving = tokio::spawn(server.serve(service));
        let client = client(connect, http2);
        let date = async |path: &str| {
            let answer = client.put(format!("http://a.test{path}")).send().await.unwrap();
            let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
            assert_eq!(dates.len(), 1, "{path}");
            dates[0].to_str().unwrap().to_owned()
        };
        assert_eq!(date("/").await, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date("/own").await, "Thu, 01 Jan 1970 00:00:00 GMT");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(date("/").await, "Sun, 06 Nov 1994 08:49:40 GMT");
        assert_eq!(date("/livez").await, "Sun, 06 Nov 1994 08:49:40 GMT");
        stop.shut_down();
        drop(client);
        assert_eq!(serving.await.unwrap().connections_aborted, 0);
    }
}

/// Asks a server that listens for what is sent to `connections`.
fn client(connections: mpsc::Sender<tokio::io::DuplexStream>, http2: bool) -> Client {
    let pipe = connect_fn(move |_: Target| {
        let connections = connections.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(65536);
            connections.send(theirs).await.expect("the server listens");
            Ok(ours)
        }
    });
    let connector = Connector::builder().transport(pipe).build().unwrap();
    let wire = ClientSettings::new().without_retry();
    let client = Client::builder().settings(if http2 { wire.http2_only() } else { wire });
    client.connector(connector).build().unwrap()
}

/// How a service takes one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Late,
    Broken,
    PanicsUnready,
    PanicsCalled,
    Well,
}

struct Moody {
    moods: Arc<Mutex<VecDeque<Mood>>>,
    /// Of the request that this clone is for.
    mood: Option<Mood>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Clone for Moody {
    fn clone(&self) -> Self {
        Self { moods: Arc::clone(&self.moods), mood: None, wait: None }
    }
}

impl Service<Request<Body>> for Moody {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mood = *self.mood.get_or_insert_with(|| self.moods.lock().unwrap().pop_front().expect("a mood"));
        match mood {
            Mood::Late => {
                let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
                wait.as_mut().poll(cx).map(Ok)
            }
            Mood::Broken => Poll::Ready(Err("out of handles".into())),
            Mood::PanicsUnready => panic!("not ready, on purpose"),
            Mood::PanicsCalled | Mood::Well => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert_ne!(self.mood.take(), Some(Mood::PanicsCalled), "on purpose");
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_late_is_waited_for_and_one_that_breaks_or_panics_costs_one_request_alone() {
    for http2 in [false, true] {
        let (connect, connections) = mpsc::channel(1);
        let server = Server::builder().settings(ServerSettings::new().lame_duck(Duration::ZERO));
        let server = server.listen(connections).unwrap();
        let stop = server.handle();
        let moods = Arc::new(Mutex::new(VecDeque::new()));
        let serving = tokio::spawn(server.serve(Moody { moods: Arc::clone(&moods), mood: None, wait: None }));
        let client = client(connect, http2);
        let asks = async |mood| {
            moods.lock().unwrap().push_back(mood);
            let begin = Instant::now();
            let status =
                client.get("http://a.test/").send().await.ok().map(|answer| answer.status().as_u16());
            (status, begin.elapsed())
        };
        for (mood, status, took) in [
            (Mood::Late, Some(200), Duration::from_secs(1)),
            (Mood::PanicsUnready, Some(500), Duration::ZERO),
            (Mood::PanicsCalled, Some(500), Duration::ZERO),
            (Mood::Broken, None, Duration::ZERO),
            (Mood::Well, Some(200), Duration::ZERO),
        ] {
            assert_eq!(asks(mood).await, (status, took), "{mood:?}, http2: {http2}");
        }
        stop.shut_down();
        drop(client);
        assert_eq!(serving.await.unwrap().connections_aborted, 0);
    }
}
