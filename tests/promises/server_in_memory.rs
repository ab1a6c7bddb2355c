//! A server whose connections are made within the process, on a clock that stands still.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use stonework::Body;
use stonework::base::{Rng, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::health::Health;
use stonework::server::{Server, ServerSettings};
use tokio::sync::mpsc;

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
        let pipe = connect_fn(move |_: Target| {
            let connect = connect.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(65536);
                connect.send(theirs).await.expect("the server listens");
                Ok(ours)
            }
        });
        let connector = Connector::builder().transport(pipe).build().unwrap();
        let wire = ClientSettings::new();
        let client = Client::builder().settings(if http2 { wire.http2_only() } else { wire });
        let client = client.connector(connector).build().unwrap();
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
