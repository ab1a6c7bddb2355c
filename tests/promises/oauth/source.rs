//! Tokens: when they are asked for, and what happens when there is none.

use stonework::base::{Delivery, Jitter, WallClock};
use tokio::time::{Instant, advance, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_hundred_who_need_a_token_cause_one_fetch_and_whoever_leaves_takes_it_from_nobody() {
    let provider = Provider::hourly();
    let source = provider.source();
    for (round, expected) in [(1, "t1"), (2, "t2")] {
        provider.takes(3 * SECOND);
        // The one that begins it has the least time.
        let first = tokio::spawn({
            let source = source.clone();
            async move { timeout(SECOND, source.token()).await.is_err() }
        });
        settle().await;
        let all: Vec<_> = (0..100)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move { good(&source).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), expected);
        }
        assert!(first.await.unwrap(), "it gave up");
        assert_eq!(provider.asked(), round);
        // Over, and nobody asked meanwhile.
        advance(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_end_and_nobody_waits_for_that() {
    let provider = Provider::hourly();
    let source = provider.source();
    assert_eq!(good(&source).await, "t1");
    advance(42 * MINUTE - SECOND).await;
    assert_eq!(
        (good(&source).await, provider.asked()),
        ("t1".into(), 1),
        "less than 70 % of its life are over"
    );
    settle().await;
    assert_eq!(provider.asked(), 1);

    provider.takes(5 * SECOND);
    advance(12 * MINUTE + SECOND).await;
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(good(&source).await, "t1");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!((good(&source).await, provider.asked()), ("t2".into(), 2));
}

#[tokio::test(start_paused = true)]
async fn sources_that_began_together_do_not_replace_their_tokens_together() {
    let mut when = Vec::new();
    for seed in 0..50 {
        let provider = Provider::hourly();
        let source = provider.seeded(TokenSettings::new(), seed).unwrap();
        let begun = Instant::now();
        while provider.asked() < 2 {
            good(&source).await;
            settle().await;
            advance(10 * SECOND).await;
        }
        when.push(begun.elapsed().as_secs());
    }
    when.sort_unstable();
    assert!(when[0] >= 2520 && when[49] <= 3260, "{when:?}");
    assert!(when[0] < 2640 && when[49] > 3120, "spread over it: {when:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_asks_nothing_is_fetched() {
    let provider = Provider::hourly();
    let source = provider.source();
    assert_eq!(provider.asked(), 0);
    good(&source).await;
    tokio::time::sleep(100 * HOUR).await;
    assert_eq!(provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_server_is_down_the_old_token_is_used_to_its_very_end_and_then_it_is_said_at_once_why_there_is_none()
 {
    let provider = Provider::hourly();
    let source = provider.source();
    assert_eq!(good(&source).await, "t1");
    provider.says(Says::Unreachable);
    let tick = Duration::from_millis(1);
    let end = Instant::now() + HOUR;
    while Instant::now() + SECOND < end {
        assert_eq!(good(&source).await, "t1");
        settle().await;
        advance(SECOND).await;
    }
    // In the last 18 minutes at most, with a minute and a half between two when it has failed often, and half a minute at least.
    let asked = provider.asked();
    assert!((6..=50).contains(&asked), "{asked}");
    advance(end - tick - Instant::now()).await;
    assert_eq!(good(&source).await, "t1");
    advance(tick).await;

    let begun = Instant::now();
    let (error, why) = bad(&source).await;
    assert!(matches!(why, NoToken::Failed { .. }), "{why:?}");
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let after = error.retry_after().expect("when to come back");
    assert!(after <= MINUTE && !after.is_zero(), "{after:?}");
    let asked = provider.asked();
    for _ in 0..100 {
        bad(&source).await;
    }
    assert_eq!(provider.asked(), asked, "the server is left alone");

    provider.says(Says::Token(""));
    advance(after).await;
    assert!(good(&source).await.starts_with('t'));
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_have_the_same_cause_and_what_the_server_says_of_when_to_come_back() {
    for (value, expected) in [
        ("30", 30 * SECOND),
        ("Sun, 06 Nov 1994 08:50:17 GMT", 40 * SECOND),
        // Not for ever, whatever it says.
        ("999999999999", 10 * MINUTE),
    ] {
        let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let provider = Provider::new(Says::Status(503, Some(("retry-after", value)), String::new()));
        let builder = TokenSource::builder("https://id.example/token", ClientAuth::body("orders", SECRET));
        let source = builder.clock(WallClock::fixed_at(date)).build(provider.clone()).unwrap();
        let (one, other) = tokio::join!(bad(&source), bad(&source));
        for (error, why) in [one, other] {
            assert!(matches!(why, NoToken::Unavailable { status, .. } if status == 503));
            assert_eq!((error.kind(), error.retry_after()), (Kind::Overload, Some(expected)));
        }
        advance(expected - SECOND).await;
        assert_eq!(bad(&source).await.0.retry_after(), Some(SECOND));
        assert_eq!(provider.asked(), 1);
        advance(SECOND).await;
        bad(&source).await;
        assert_eq!(provider.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_asked_more_and_more_seldom() {
    let said = format!(r#"{{"error":"invalid_client","error_description":"{SECRET} is wrong"}}"#);
    let provider = Provider::new(Says::Status(401, None, said));
    let source = provider.source();
    for _ in 0..3600 {
        let (error, why) = bad(&source).await;
        assert_eq!(error.kind(), Kind::Invalid);
        let NoToken::Refused { why, .. } = why else { panic!("{why:?}") };
        assert_eq!((why.status().as_u16(), why.error()), (401, Some("invalid_client")));
        advance(SECOND).await;
    }
    let asked = provider.asked();
    assert!((60..=130).contains(&asked), "in an hour {asked}");
    assert_eq!(source.stats().failures, asked as u64);
}

#[tokio::test(start_paused = true)]
async fn that_a_resource_is_unknown_to_the_server_is_told() {
    let said = r#"{"error":"invalid_target","error_description":"unknown"}"#.to_owned();
    let (error, why) = bad(&Provider::new(Says::Status(400, None, said)).source()).await;
    let NoToken::Refused { why, .. } = why else { panic!("{why:?}") };
    assert_eq!((error.kind(), why.error()), (Kind::Invalid, Some("invalid_target")));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_as_long_as_the_server_says_within_a_second_and_a_day() {
    for (more, good_for) in [
        (r#","expires_in":60"#, MINUTE),
        ("", 5 * MINUTE),
        (r#","expires_in":null"#, 5 * MINUTE),
        (r#","expires_in":0"#, SECOND),
        (r#","expires_in":-1"#, SECOND),
        (r#","expires_in":"60""#, MINUTE),
        (r#","expires_in":1e300"#, 24 * HOUR),
        (r#","expires_in":18446744073709551615"#, 24 * HOUR),
    ] {
        let provider = Provider::new(Says::Token(more));
        let source = provider.source();
        assert_eq!(good(&source).await, "t1");
        assert_eq!(source.stats().good_for, Some(good_for), "{more}");
        provider.says(Says::Unreachable);
        advance(good_for - Duration::from_millis(1)).await;
        assert_eq!(good(&source).await, "t1", "{more}");
        settle().await;
        advance(Duration::from_millis(1)).await;
        assert!(token(&source).await.is_err(), "{more}");
        assert_eq!(source.stats().good_for, None);
    }
}

#[tokio::test(start_paused = true)]
async fn its_life_is_counted_from_when_it_was_asked_for() {
    let provider = Provider::new(Says::Token(r#","expires_in":60"#));
    provider.takes(9 * SECOND);
    let source = provider.source();
    good(&source).await;
    assert_eq!(source.stats().good_for, Some(51 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_or_is_none_is_refused() {
    for (text, kind) in [
        (format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "x".repeat(64 * 1024)), Kind::Body),
        ("<html>".to_owned(), Kind::Other),
        (r#"{"access_token":"x"}"#.to_owned(), Kind::Other),
    ] {
        let provider = Provider::new(Says::Status(200, None, text));
        let (error, _) = bad(&provider.source()).await;
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_ends_is_given_up_and_one_that_panics_is_a_failure() {
    let provider = Provider::new(Says::Never);
    let source = provider.source();
    let begun = Instant::now();
    assert_eq!(bad(&source).await.0.kind(), Kind::Timeout);
    assert_eq!(begun.elapsed(), 10 * SECOND);

    provider.says(Says::Panics);
    advance(2 * SECOND).await;
    let (one, other) = tokio::join!(bad(&source), bad(&source));
    assert!(matches!((one.1, other.1), (NoToken::GivenUp, NoToken::GivenUp)));
    assert_eq!(provider.asked(), 2);
    provider.says(Says::Token(""));
    advance(4 * SECOND).await;
    assert_eq!(good(&source).await, "t3");
}

#[tokio::test(start_paused = true)]
async fn the_work_ends_with_the_last_handle() {
    let provider = Provider::new(Says::Never);
    let source = provider.source();
    let waiting = tokio::spawn(async move { source.token().await.is_ok() });
    settle().await;
    assert_eq!(provider.asked(), 1);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 2);
    waiting.abort();
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown() {
    let provider = Provider::hourly();
    let source = provider.source();
    let token = source.token().await.unwrap();
    assert_eq!(token.secret(), "t1");
    let mut shown = format!("{source:?} {token:?} {:?}", token.header());
    let echo = format!(r#"{{"error":"{SECRET}","error_description":"{SECRET}","access_token":"{SECRET}"}}"#);
    for status in [200, 302, 400, 401, 500] {
        let provider = Provider::new(Says::Status(status, None, echo.clone()));
        let source = provider.source();
        let (error, why) = bad(&source).await;
        shown += &format!("{error:#} {error:?} {why} {why:?} {source:?}");
    }
    for secret in [SECRET, "t1", "aHVzaC1", "id.example", "tenant"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_says_which_field_it_is() {
    let provider = Provider::hourly();
    let build =
        |endpoint: &str,
         change: fn(stonework::oauth::TokenSourceBuilder) -> stonework::oauth::TokenSourceBuilder| {
            let builder = TokenSource::builder(endpoint, ClientAuth::basic("orders", SECRET));
            change(builder).build(provider.clone()).err().map(|error| error.to_string())
        };
    for endpoint in ["", "/token", "id.example/token", "ftp://id.example/token", "https:///token"] {
        assert!(build(endpoint, |builder| builder).unwrap().contains("`endpoint`"), "{endpoint}");
    }
    // Nobody on the way is to read the secret, unless somebody says that nobody can be there.
    let plain = "http://127.0.0.1:8080/token";
    assert!(build(plain, |builder| builder).unwrap().contains("`endpoint`"));
    assert_eq!(build(plain, |builder| builder.allow_plain_http()), None);
    let fine = "https://id.example/token";
    assert_eq!(build(fine, |builder| builder.scope("a b").parameter("resource", "https://x")), None);
    assert!(build(fine, |builder| builder.scope("")).unwrap().contains("`scope`"));
    assert!(build(fine, |builder| builder.scope("a\"")).unwrap().contains("`scope`"));
    assert!(build(fine, |builder| builder.parameter("grant_type", "x")).unwrap().contains("`parameter`"));
    for (field, settings) in [
        ("default_lifetime", TokenSettings::new().default_lifetime(Duration::ZERO)),
        ("fetch_timeout", TokenSettings::new().fetch_timeout(Duration::ZERO)),
        ("max_lifetime", TokenSettings::new().max_lifetime(Duration::ZERO)),
        ("max_lifetime", TokenSettings::new().max_lifetime(Duration::MAX)),
        ("max_response", TokenSettings::new().max_response(0)),
        ("max_response", TokenSettings::new().max_response(usize::MAX)),
    ] {
        assert!(provider.with(settings).unwrap_err().to_string().contains(field), "{field}");
    }
    let constant = stonework::base::Backoff::constant(SECOND).unwrap().jitter(Jitter::None);
    assert!(provider.with(TokenSettings::new().backoff(constant)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_client_below_may_repeat_the_request_as_it_repeats_others() {
    let provider = Provider::new(Says::Status(500, None, String::new()));
    let client =
        tower::ServiceBuilder::new().layer(stonework::retry::RetryLayer::new()).service(provider.clone());
    let source = TokenSource::builder("https://id.example/token", ClientAuth::body("orders", SECRET));
    let (_, why) = bad(&source.build(client).unwrap()).await;
    assert!(matches!(why, NoToken::Unavailable { .. }));
    assert_eq!(provider.asked(), 3);
}
