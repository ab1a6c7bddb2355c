//! What a client promises that keeps to what servers say of their limits.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use stonework::base::{Delivery, Kind, WallClock};
use stonework::limit::{
    KeyedRateLimiter, Quota, QuotaUsedUp, RateLimitLayer, ServerQuotaLayer, ServerQuotas,
};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::timeout::TimeoutLayer;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Content, SECOND, answer, with_header};

const MS: Duration = Duration::from_millis(1);

type Answers = Arc<Mutex<Vec<Response<Content>>>>;
type Times = Arc<Mutex<Vec<Duration>>>;

fn to(uri: &str) -> Request<Content> {
    Request::get(uri).body(Content::default()).expect("a valid request")
}

fn get() -> Request<Content> {
    to("http://api.test/")
}

fn says(limit: &str) -> Response<Content> {
    with_header(answer(200), "ratelimit", limit)
}

/// Gives these answers one after another, and then plain ones; and when it was asked.
fn server(
    answers: impl IntoIterator<Item = Response<Content>>,
) -> (
    impl Service<Request<Content>, Response = Response<Content>, Error = Infallible, Future: Send> + Clone + Send,
    Times,
) {
    let mut answers: Vec<_> = answers.into_iter().collect();
    answers.reverse();
    let (answers, times): (Answers, Times) = (Arc::new(Mutex::new(answers)), Times::default());
    let (start, asked) = (Instant::now(), Arc::clone(&times));
    let service = service_fn(move |_: Request<Content>| {
        asked.lock().unwrap().push(start.elapsed());
        let next = answers.lock().unwrap().pop().unwrap_or_else(|| answer(200));
        async move { Ok(next) }
    });
    (service, times)
}

fn count(times: &Times) -> usize {
    times.lock().unwrap().len()
}

// ───────────────────────────────────────────────────────────────────────────── refusing

#[tokio::test(start_paused = true)]
async fn when_nothing_is_left_requests_are_refused_here_until_there_is_more() {
    let (inner, times) = server([says(r#""search";r=0;t=10"#)]);
    let service = ServerQuotaLayer::new().layer(inner);
    assert!(service.clone().oneshot(get()).await.is_ok());
    sleep(3 * SECOND).await;
    let mut error = service.clone().oneshot(get()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!(error.retry_after(), Some(7 * SECOND));
    assert_eq!(error.cause::<QuotaUsedUp>().unwrap().policy(), Some("search"));
    assert_eq!(error.to_string(), "the call was refused because of overload");
    assert_eq!(error.take_request::<Request<Content>>().unwrap().uri(), "http://api.test/");
    assert_eq!(count(&times), 1);
    sleep(7 * SECOND).await;
    assert!(service.oneshot(get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn as_many_are_sent_as_are_left_less_those_that_the_server_had_not_seen() {
    let (inner, times) = server([says(r#""a";r=10;t=60"#)]);
    let slow = service_fn(move |request: Request<Content>| {
        let inner = inner.clone();
        async move {
            let answer = inner.oneshot(request).await;
            sleep(SECOND).await;
            answer
        }
    });
    let service = ServerQuotaLayer::new().layer(slow);
    let mut calls = JoinSet::new();
    // Four more are under way when the first is answered.
    for _ in 0..5 {
        calls.spawn(service.clone().oneshot(get()));
        sleep(100 * MS).await;
    }
    calls.join_all().await;
    let mut sent = 0;
    while service.clone().oneshot(get()).await.is_ok() {
        sent += 1;
    }
    assert_eq!((sent, count(&times)), (6, 11));
}

#[tokio::test(start_paused = true)]
async fn a_429_with_retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for value in ["20", "Sun, 06 Nov 1994 08:49:57 GMT"] {
        let (inner, times) = server([with_header(answer(429), "retry-after", value)]);
        let quotas = ServerQuotas::new().wall_clock(WallClock::fixed_at(noon));
        let service = ServerQuotaLayer::from(quotas).layer(inner);
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 429);
        let error = service.clone().oneshot(get()).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(20 * SECOND), "{value}");
        assert_eq!(error.cause::<QuotaUsedUp>().unwrap().policy(), None);
        sleep(20 * SECOND).await;
        assert!(service.oneshot(get()).await.is_ok());
        assert_eq!(count(&times), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_limits_holds_nothing_back() {
    let answers = [
        answer(429),
        with_header(answer(503), "retry-after", "60"),
        with_header(answer(429), "retry-after", "soon"),
        says("search;r=0;t=10"),
        says(r#""a";r=0"#),
        says(r#""a";r=-1;t=10"#),
        says("limit=100, remaining=0, reset=60"),
        with_header(answer(200), "x-ratelimit-remaining", "0"),
        with_header(says(r#""a";r=0;t=60"#), "ratelimit-policy", r#""a";q=9;qu="content-bytes""#),
    ];
    let calls = answers.len() + 1;
    let (inner, times) = server(answers);
    let service = ServerQuotaLayer::new().layer(inner);
    for _ in 0..calls {
        service.clone().oneshot(get()).await.expect("it is sent");
    }
    assert_eq!(count(&times), calls);
}

#[tokio::test(start_paused = true)]
async fn one_server_that_is_used_up_holds_back_nothing_that_is_for_another() {
    let inner = service_fn(|request: Request<Content>| async move {
        let is_small = request.uri().host() == Some("small.test");
        Ok::<_, Infallible>(if is_small { says(r#""a";r=0;t=60"#) } else { answer(200) })
    });
    let quotas = ServerQuotas::new();
    // One service for all, which remembers the server that it called last.
    let mut service = ServerQuotaLayer::from(quotas.clone()).layer(inner);
    let mut ask = async |uri: &str| service.ready().await.unwrap().call(to(uri)).await.is_ok();
    assert!(ask("http://large.test/").await && ask("http://small.test/").await);
    assert!(!ask("http://small.test/other").await && !ask("http://SMALL.test:80/").await);
    assert!(ask("http://large.test/").await && ask("http://small.test:81/").await);
    assert_eq!(quotas.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_not_believed_for_longer_than_a_minute_unless_it_says_so_again() {
    let tomorrow = || with_header(says(r#""day";r=0;t=86400"#), "ratelimit-policy", r#""day";q=5;w=86400"#);
    let (inner, times) = server([tomorrow(), tomorrow(), says(r#""day";r=3;t=86000"#)]);
    let service = ServerQuotaLayer::new().layer(inner);
    let all = async || {
        let mut calls = JoinSet::new();
        (0..10).for_each(|_| drop(calls.spawn(service.clone().oneshot(get()))));
        calls.join_all().await.into_iter().filter(Result::is_ok).count()
    };
    assert!(service.clone().oneshot(get()).await.is_ok());
    sleep(60 * SECOND - MS).await;
    assert_eq!(all().await, 0);
    sleep(MS).await;
    assert_eq!(all().await, 1, "it finds out");
    sleep(60 * SECOND).await;
    assert_eq!(all().await, 4, "it finds out that there are three more");
    assert_eq!(all().await, 0);
    assert_eq!(count(&times), 6);
}

#[tokio::test(start_paused = true)]
async fn one_that_says_when_to_come_back_and_takes_what_comes_before_means_it_no_longer() {
    for (second, third) in [(answer(200), 3), (answer(404), 3), (answer(503), 2)] {
        let day = with_header(answer(429), "retry-after", "86400");
        let (server, times) = server([day, second]);
        let service = ServerQuotaLayer::new().layer(server);
        let ask = || service.clone().oneshot(get());
        assert_eq!(ask().await.unwrap().status(), 429);
        sleep(59 * SECOND).await;
        assert!(ask().await.is_err(), "it is believed for a minute");
        sleep(SECOND).await;
        ask().await.expect("one finds out");
        let _ = ask().await;
        assert_eq!(count(&times), third);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_a_server_said_when_to_come_back_says_nothing_of_that() {
    let (server, _) = server([with_header(answer(429), "retry-after", "86400")]);
    let calls = Arc::new(Mutex::new(0));
    let slow = service_fn(move |request: Request<Content>| {
        let answer = server.clone().oneshot(request);
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let late = *calls;
        async move {
            sleep(late * SECOND).await;
            answer.await
        }
    });
    let service = ServerQuotaLayer::new().layer(slow);
    let ask = || tokio::spawn(service.clone().oneshot(get()));
    let (refused, late) = (ask(), ask());
    assert_eq!(refused.await.unwrap().unwrap().status(), 429);
    assert_eq!(late.await.unwrap().unwrap().status(), 200);
    assert!(ask().await.unwrap().is_err(), "it was sent before");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_a_server_names_no_longer_is_forgotten_when_its_window_is_over() {
    let old = with_header(says(r#""old";r=0;t=10"#), "ratelimit-policy", r#""old";q=1;w=10"#);
    let new = || with_header(says(r#""new";r=50;t=60"#), "ratelimit-policy", r#""new";q=50;w=60"#);
    let (inner, times) = server([old, new(), new()]);
    let service = ServerQuotaLayer::new().layer(inner);
    assert!(service.clone().oneshot(get()).await.is_ok());
    sleep(10 * SECOND).await;
    assert!(service.clone().oneshot(get()).await.is_ok(), "one each ten seconds");
    assert!(service.clone().oneshot(get()).await.is_err(), "as was said");
    sleep(10 * SECOND).await;
    for _ in 0..5 {
        assert!(service.clone().oneshot(get()).await.is_ok(), "nobody speaks of that any more");
    }
    assert_eq!(count(&times), 7);
}

#[tokio::test(start_paused = true)]
async fn no_more_servers_are_remembered_than_there_may_be() {
    let quotas = ServerQuotas::new().max_keys(10);
    let (inner, _) = server((0..1_000).map(|_| says(r#""a";r=0;t=60"#)));
    let service = ServerQuotaLayer::from(quotas.clone()).layer(inner);
    for host in 0..1_000 {
        service.clone().oneshot(to(&format!("http://{host}.test/"))).await.expect("it is the first");
        assert!(quotas.len() <= 10);
    }
}

// ───────────────────────────────────────────────────────────────────────────── waiting

/// So many calls at once, and when each was sent.
async fn at_once(quota: &str, policy: Option<&str>, patience: Duration, calls: usize) -> (Vec<f64>, usize) {
    let first = says(quota);
    let first =
        policy.into_iter().fold(first, |first, policy| with_header(first, "ratelimit-policy", policy));
    let (inner, times) = server([first]);
    let service = ServerQuotaLayer::new().wait_up_to(patience).layer(inner);
    service.clone().oneshot(get()).await.expect("nothing is known yet");
    let mut waiting = JoinSet::new();
    (0..calls).for_each(|_| drop(waiting.spawn(service.clone().oneshot(get()))));
    let refused = waiting.join_all().await.into_iter().filter(Result::is_err).count();
    let times = times.lock().unwrap()[1..].iter().map(Duration::as_secs_f64).collect();
    (times, refused)
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_come_one_after_another_when_there_is_more() {
    let (times, refused) = at_once(r#""a";r=0;t=10"#, Some(r#""a";q=20;w=10"#), 30 * SECOND, 8).await;
    assert_eq!(times, [10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0, 13.5]);
    assert_eq!(refused, 0);
    let (times, _) = at_once(r#""a";r=0;t=10"#, None, 30 * SECOND, 5).await;
    assert_eq!(times, [10.0, 10.01, 10.02, 10.03, 10.04]);
}

#[tokio::test(start_paused = true)]
async fn whoever_would_have_to_wait_too_long_is_refused_at_once() {
    let (times, refused) = at_once(r#""a";r=0;t=10"#, Some(r#""a";q=20;w=10"#), 11 * SECOND, 8).await;
    assert_eq!((times, refused), (vec![10.0, 10.5, 11.0], 5));
    let (times, refused) = at_once(r#""a";r=0;t=10"#, None, 9 * SECOND, 3).await;
    assert_eq!((times, refused), (vec![], 3));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_deadline() {
    let (inner, times) = server([says(r#""a";r=0;t=10"#)]);
    let quotas = ServerQuotaLayer::new().wait_up_to(60 * SECOND);
    let service = TimeoutLayer::new(5 * SECOND).layer(quotas.layer(inner));
    service.clone().oneshot(get()).await.unwrap();
    let start = Instant::now();
    let error = service.clone().oneshot(get()).await.unwrap_err();
    assert!(error.cause::<QuotaUsedUp>().is_some() && start.elapsed() == Duration::ZERO);
    assert_eq!(count(&times), 1);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_the_turn_to_the_next_who_comes() {
    let first = with_header(says(r#""a";r=0;t=10"#), "ratelimit-policy", r#""a";q=20;w=10"#);
    let (inner, times) = server([first]);
    let service = ServerQuotaLayer::new().wait_up_to(11 * SECOND).layer(inner);
    service.clone().oneshot(get()).await.unwrap();
    let mut calls = JoinSet::new();
    let waits: Vec<_> = (0..3).map(|_| calls.spawn(service.clone().oneshot(get()))).collect();
    sleep(MS).await;
    assert!(service.clone().oneshot(get()).await.is_err(), "those before it take all the time that it has");
    waits[1].abort();
    sleep(MS).await;
    calls.spawn(service.clone().oneshot(get()));
    let ended: Vec<_> = timeout(60 * SECOND, async {
        let mut ended = Vec::new();
        while let Some(one) = calls.join_next().await {
            ended.push(one.map(|answer| answer.is_ok()).ok());
        }
        ended
    })
    .await
    .unwrap();
    assert_eq!(ended.iter().filter(|one| **one == Some(true)).count(), 3);
    let times: Vec<_> = times.lock().unwrap()[1..].iter().map(Duration::as_secs_f64).collect();
    assert_eq!(times, [10.0, 10.5, 11.0]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_back_when_there_is_more() {
    let (inner, times) = server([says(r#""a";r=0;t=10"#)]);
    let stack = RetryLayer::from(RetrySettings::new()).layer(ServerQuotaLayer::new().layer(inner));
    stack.clone().oneshot(get()).await.unwrap();
    stack.clone().oneshot(get()).await.expect("it waits");
    let second = times.lock().unwrap()[1];
    assert!((10 * SECOND..11 * SECOND).contains(&second), "{second:?}");
}

// ───────────────────────────────────────────────────────────────────────────── with a server of ours

/// Clients that would ask without a pause, for a minute, of a server that takes ten a second.
#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_to_our_own_servers_limit_is_hardly_ever_refused_there() {
    let limiter = KeyedRateLimiter::named("client", Quota::per_second(10)).unwrap();
    let everybody = |_: &Request<Content>| 0_u8;
    let handler = service_fn(|_: Request<Content>| async { Ok::<_, Infallible>(answer(200)) });
    let server = RateLimitLayer::keyed(limiter.clone(), everybody).answer().layer(handler);
    let service = ServerQuotaLayer::new().wait_up_to(30 * SECOND).layer(server);
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        let service = service.clone();
        clients.spawn(async move {
            let (mut good, mut refused) = (0, 0);
            while start.elapsed() < 60 * SECOND {
                match service.clone().oneshot(get()).await {
                    Ok(answer) if answer.status() == 200 => good += 1,
                    Ok(_) => refused += 1,
                    Err(_) => sleep(100 * MS).await,
                }
                sleep(10 * MS).await;
            }
            (good, refused)
        });
    }
    let (good, refused) =
        clients.join_all().await.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    println!("{good} taken of 610, {refused} refused");
    assert!(good >= 500 && refused <= good / 10, "{good} {refused}");
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_holds_nothing_back() {
    let (inner, times) = server([says(r#""a";r=0;t=10"#)]);
    let service = ServerQuotaLayer::new().when(false).layer(inner);
    for _ in 0..3 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(count(&times), 3);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_has_taken_nothing() {
    let (inner, times) =
        server([with_header(says(r#""a";r=0;t=10"#), "ratelimit-policy", r#""a";q=1;w=10"#)]);
    let service = ServerQuotaLayer::new().wait_up_to(60 * SECOND).layer(inner);
    service.clone().oneshot(get()).await.unwrap();
    for _ in 0..5 {
        let given_up = service.clone().oneshot(get());
        tokio::select! { _ = given_up => unreachable!("nothing is left"), () = sleep(MS) => {} }
    }
    sleep(10 * SECOND).await;
    assert!(service.clone().oneshot(get()).await.is_ok(), "the one that there is");
    assert_eq!(count(&times), 2);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_with_the_deadline_begins_nothing() {
    let (inner, times) = server([says(r#""a";r=0;t=1"#)]);
    let limited = ServerQuotaLayer::new().wait_up_to(10 * SECOND).layer(inner);
    limited.clone().oneshot(get()).await.unwrap();
    let late = TimeoutLayer::new(SECOND).layer(limited);
    let mut error = late.oneshot(get()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), count(&times)), (Kind::Timeout, Delivery::NotSent, 1));
    assert!(error.take_request::<Request<Content>>().is_some());
}
