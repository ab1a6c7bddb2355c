//! Requests with a token: where it goes, and what happens when it is refused.

use std::collections::HashSet;

use http::Method;
use http_body_util::Full;
use stonework::base::Delivery;
use stonework::base::body::ReplayBody;
use stonework::oauth::{BearerLayer, BearerService};
use stonework::retry::RetryLayer;
use stonework::testing::{Ledger, Scripted, Step, Strict};
use stonework::timeout::TimeoutLayer;
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::*;

const API: &str = "https://api.example";

/// A server of things, which takes some tokens and refuses others.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    refused: HashSet<String>,
    refuses_all: bool,
    takes: Duration,
    /// Where it was asked for what, with which token, and what was in the body.
    requests: Vec<(String, Option<String>, String)>,
    unsent: bool,
}

impl Api {
    fn refuse(&self, token: &str) {
        self.0.lock().unwrap().refused.insert(format!("Bearer {token}"));
    }

    fn refuse_all(&self) {
        self.0.lock().unwrap().refuses_all = true;
    }

    /// The tokens that it was shown, in order.
    fn tokens(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.requests.iter().map(|(_, token, _)| token.clone().unwrap_or("none".into())).collect()
    }
}

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if std::mem::take(&mut this.0.lock().unwrap().unsent) {
                return Err(Error::new(Kind::Connect, "unreachable").with_request(request));
            }
            let (head, body) = request.into_parts();
            let value = head.headers.get("authorization");
            assert!(value.is_none_or(|value| value.is_sensitive() || value.as_bytes().starts_with(b"Basic")));
            let token = value.map(|value| value.to_str().unwrap().to_owned());
            let text = body.collect_up_to(1_000_000).await.unwrap();
            let (answer, takes) = {
                let mut seen = this.0.lock().unwrap();
                let is_bad =
                    seen.refuses_all || token.as_ref().is_none_or(|token| seen.refused.contains(token));
                let text = String::from_utf8(text.to_vec()).unwrap();
                seen.requests.push((head.uri.to_string(), token, text));
                (if is_bad { 401 } else { 200 }, seen.takes)
            };
            sleep(takes).await;
            let mut response = Response::new(Body::from("answer"));
            *response.status_mut() = StatusCode::from_u16(answer).unwrap();
            Ok(response)
        })
    }
}

fn client(provider: &Provider, api: &Api) -> BearerService<Api> {
    BearerLayer::new(provider.source(), [API]).unwrap().layer(api.clone())
}

fn request(uri: &str) -> Request<Body> {
    Request::builder().method(Method::POST).uri(uri).body(Body::from("content")).unwrap()
}

async fn status(client: &BearerService<Api>, request: Request<Body>) -> u16 {
    client.clone().oneshot(request).await.expect("an answer").status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_to_its_origins_and_nowhere_else() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    for (uri, expected) in [
        ("https://api.example/orders", "Bearer t1"),
        ("https://API.example:443/orders", "Bearer t1"),
        ("http://api.example/orders", "none"),
        ("https://api.example:8443/orders", "none"),
        ("https://api.example.evil/orders", "none"),
        ("https://api.example@evil/orders", "none"),
        ("https://evil/https://api.example/", "none"),
        ("/orders", "none"),
    ] {
        status(&client, request(uri)).await;
        assert_eq!(api.tokens().pop().unwrap(), expected, "{uri}");
    }
    assert_eq!(provider.asked(), 1, "a 401 of somebody else costs no token");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_host_carries_no_token() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    // As a layer that follows redirects does, outside of this one: the same request to somebody else.
    let follows = service_fn(move |first: Request<Body>| {
        let client = client.clone();
        async move {
            let mut second = request("https://elsewhere.example/orders");
            *second.headers_mut() = first.headers().clone();
            client.clone().oneshot(first).await?;
            client.oneshot(second).await
        }
    });
    follows.oneshot(request("https://api.example/orders")).await.unwrap();
    assert_eq!(api.tokens(), ["Bearer t1", "none"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_says_of_itself_stays_and_its_401_is_its_own() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    api.refuse_all();
    let mut own = request("https://api.example/orders");
    own.headers_mut().insert("authorization", "Basic abc".parse().unwrap());
    assert_eq!(status(&client, own).await, 401);
    assert_eq!((api.tokens(), provider.asked()), (vec!["Basic abc".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_401_is_followed_by_exactly_one_request_with_a_new_token_and_the_same_body() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    assert_eq!(status(&client, request("https://api.example/1")).await, 200);
    api.refuse("t1");
    assert_eq!(status(&client, request("https://api.example/2")).await, 200);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t1", "Bearer t2"]);
    assert_eq!(
        api.0.lock().unwrap().requests[2],
        ("https://api.example/2".to_owned(), Some("Bearer t2".to_owned()), "content".to_owned())
    );
    assert_eq!(provider.asked(), 2);

    // The new one is refused as well: that is the answer.
    advance(MINUTE).await;
    api.refuse_all();
    assert_eq!(status(&client, request("https://api.example/3")).await, 401);
    assert_eq!(api.tokens()[3..], ["Bearer t2", "Bearer t3"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_twice_is_sent_once() {
    let (provider, api) = (Provider::hourly(), Api::default());
    api.refuse_all();
    let large = || {
        let mut request = request("https://api.example/1");
        *request.body_mut() = Body::from("x".repeat(64 * 1024 + 1));
        request
    };
    let layer = BearerLayer::new(provider.source(), [API]).unwrap();
    assert_eq!(status(&layer.layer(api.clone()), large()).await, 401);
    let once = layer.clone().without_replay().layer(api.clone());
    assert_eq!(status(&once, request("https://api.example/2")).await, 401);
    assert_eq!((api.tokens().len(), provider.asked()), (2, 1));
    let more = layer.replay_cap(100_000).layer(api.clone());
    assert_eq!(status(&more, large()).await, 401);
    assert_eq!((api.tokens().len(), provider.asked()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_are_refused_cause_one_fetch_and_each_is_sent_once_more() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    status(&client, request("https://api.example/first")).await;
    api.refuse("t1");
    api.0.lock().unwrap().takes = SECOND;
    provider.takes(3 * SECOND);
    let all: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                // Some are refused when the fetch is under way already, some when it is over.
                sleep(Duration::from_millis(number * 50)).await;
                status(&client, request("https://api.example/one")).await
            })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(provider.asked(), 2);
    let tokens = api.tokens();
    let with = |token: &str| tokens.iter().filter(|one| *one == token).count();
    assert_eq!(with("Bearer t2"), 100);
    assert!(with("Bearer t1") <= 101);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_whatever_it_is_shown_does_not_cost_a_token_each_time() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    api.refuse_all();
    for _ in 0..600 {
        assert_eq!(status(&client, request("https://api.example/one")).await, 401);
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(provider.asked(), 1 + 6, "one in ten seconds, and the first");
    assert_eq!(api.tokens().len(), 600 + 6);
}

#[tokio::test(start_paused = true)]
async fn without_another_token_the_401_is_the_answer_and_the_old_token_stays_for_others() {
    for says in [
        Says::Unreachable,
        Says::Never,
        Says::Panics,
        Says::Status(503, None, String::new()),
        Says::Same("t1"),
    ] {
        let (provider, api) = (Provider::hourly(), Api::default());
        let client = client(&provider, &api);
        status(&client, request("https://api.example/first")).await;
        provider.says(says);
        api.refuse("t1");
        assert_eq!(status(&client, request("https://api.example/one")).await, 401);
        assert_eq!((api.tokens().len(), provider.asked()), (2, 2));
        let begun = Instant::now();
        assert_eq!(status(&client, request("https://api.example/two")).await, 401);
        assert_eq!((begun.elapsed(), provider.asked()), (Duration::ZERO, 2));
        api.0.lock().unwrap().refused.clear();
        assert_eq!(status(&client, request("https://api.example/three")).await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_is_sent_and_the_request_comes_back_with_the_reason() {
    let (provider, api) = (Provider::new(Says::Unreachable), Api::default());
    let client = client(&provider, &api);
    // Once after waiting, once at once.
    for _ in 0..2 {
        let mut error = client.clone().oneshot(request("https://api.example/one")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
        assert!(error.retry_after().is_some() && error.cause::<NoToken>().is_some());
        let request = error.take_request::<Request<Body>>().expect("it never left");
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(request.into_body().collect_up_to(100).await.unwrap(), "content");
    }
    assert_eq!((api.tokens().len(), provider.asked()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_time_learns_that_nothing_was_sent_and_the_fetch_goes_on() {
    let (provider, api) = (Provider::hourly(), Api::default());
    provider.takes(3 * SECOND);
    let client = client(&provider, &api);
    let limited = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).service(client.clone());
    let error = limited.oneshot(request("https://api.example/one")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::NotSent));
    sleep(2 * SECOND).await;
    let begun = Instant::now();
    assert_eq!(status(&client, request("https://api.example/one")).await, 200);
    assert_eq!((begun.elapsed(), provider.asked()), (Duration::ZERO, 1));

    // With an answer in hand, that is what there is when the time is over.
    api.refuse("t1");
    let limited = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).service(client);
    let answer = limited.oneshot(request("https://api.example/two")).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_back_unsent_has_no_token_in_it() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let client = client(&provider, &api);
    api.0.lock().unwrap().unsent = true;
    let mut error = client.oneshot(request("https://api.example/one")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
    let request = error.take_request::<Request<Body>>().expect("it never left");
    assert!(!request.headers().contains_key("authorization"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_outside_waits_until_there_is_a_token_and_each_attempt_has_a_good_one() {
    let (provider, api) = (Provider::new(Says::Unreachable), Api::default());
    let client = ServiceBuilder::new().layer(RetryLayer::new()).service(client(&provider, &api));
    let recovers = provider.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        recovers.says(Says::Token(""));
    });
    let answer = client.oneshot(request("https://api.example/one")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((api.tokens(), provider.asked()), (vec!["Bearer t2".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_does_nothing() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let off = BearerLayer::new(provider.source(), [API]).unwrap().when(false).layer(api.clone());
    assert_eq!(status(&off, request("https://api.example/one")).await, 401);
    assert_eq!((api.tokens(), provider.asked()), (vec!["none".to_owned()], 0));
}

#[tokio::test]
async fn an_origin_is_a_scheme_and_a_host_and_there_is_at_least_one() {
    let provider = Provider::hourly();
    let source = provider.source();
    for origin in ["", "api.example", "https://api.example/path", "https://me@api.example", "*"] {
        let error = BearerLayer::new(source.clone(), [origin]).unwrap_err();
        assert_eq!(error, InvalidOauth::Address { field: "origins" }, "{origin}");
    }
    let none: [&str; 0] = [];
    assert_eq!(BearerLayer::new(source, none).unwrap_err(), InvalidOauth::Empty { field: "origins" });
}

/// Bodies that are streams can be sent twice when they are wrapped.
#[tokio::test(start_paused = true)]
async fn a_recorded_stream_is_sent_again_too() {
    let (provider, api) = (Provider::hourly(), Api::default());
    let source = provider.source();
    let client = ServiceBuilder::new()
        .layer(BearerLayer::new(source, [API]).unwrap())
        .map_request(|request: Request<ReplayBody<Full<bytes::Bytes>>>| request.map(Body::new))
        .service(api.clone());
    api.refuse("t1");
    let request = request("https://api.example/one").map(|_| ReplayBody::new(Full::from("a stream")));
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(api.0.lock().unwrap().requests[1].2, "a stream");
}

type Below = Strict<Scripted<Request<Body>, Response<Body>>>;

/// One place below, which takes a moment to become ready, and whatever is called is answered with this.
fn strict(status: u16) -> (Below, Ledger) {
    let script = move |_, _: &Request<Body>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Step::Answer(response)
    };
    let service = Strict::new(Scripted::script(script)).capacity(1).pending_first(2);
    let ledger = service.ledger();
    (service, ledger)
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_token_holds_no_place_below_and_gives_all_back_when_dropped() {
    let provider = Provider::hourly();
    provider.takes(3 * SECOND);
    let (below, ledger) = strict(200);
    let mut client = BearerLayer::new(provider.source(), [API]).unwrap().layer(below);
    for leaves in [true, false] {
        let mut call = Box::pin(client.ready().await.unwrap().call(request("https://api.example/one")));
        assert!(timeout(SECOND, &mut call).await.is_err());
        assert_eq!((ledger.reservations_out(), ledger.in_flight(), ledger.calls()), (0, 0, 0));
        if !leaves {
            assert_eq!(call.await.unwrap().status(), 200);
        }
    }
    drop(client);
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn a_second_request_waits_for_the_service_as_the_first_did() {
    let provider = Provider::hourly();
    let (below, ledger) = strict(401);
    let mut client = BearerLayer::new(provider.source(), [API]).unwrap().layer(below);
    let call = client.ready().await.unwrap().call(request("https://api.example/one"));
    assert_eq!(call.await.unwrap().status(), 401);
    assert_eq!((ledger.calls(), ledger.polls(), provider.asked()), (2, 6, 2));

    // Dropped while it waits for another token.
    advance(MINUTE).await;
    provider.says(Says::Never);
    let mut call = Box::pin(client.ready().await.unwrap().call(request("https://api.example/two")));
    assert!(timeout(SECOND, &mut call).await.is_err());
    assert_eq!((ledger.calls(), ledger.reservations_out(), ledger.in_flight()), (3, 0, 0));
    drop((call, client));
    ledger.assert_settled();
}

/// Is ready so many times, and then broken, at once or after a moment.
#[derive(Clone)]
struct Breaks {
    ready: usize,
    late: bool,
    api: Api,
}

impl Service<Request<Body>> for Breaks {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.ready > 0 {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.late) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err("out of handles".into()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.ready -= 1;
        let answer = self.api.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_which_the_service_is_never_ready_comes_back_as_it_was() {
    for (ready, late) in [(0, false), (0, true), (1, false), (1, true)] {
        let (provider, api) = (Provider::hourly(), Api::default());
        // The first token is refused: there is an answer, and no more a request.
        api.refuse("t1");
        let service = BearerLayer::new(provider.source(), [API]).unwrap().layer(Breaks { ready, late, api });
        let mut error = service.oneshot(request("https://api.example/orders")).await.map(drop).unwrap_err();
        let delivery = if ready == 0 { Delivery::NotSent } else { Delivery::Answered };
        assert_eq!((error.kind(), error.delivery()), (Kind::Other, delivery), "{ready}, {late}");
        let back = error.take_request::<Request<Body>>();
        assert_eq!(back.is_some(), ready == 0, "{ready}, {late}");
        assert!(back.is_none_or(|request| !request.headers().contains_key("authorization")));
    }
}
