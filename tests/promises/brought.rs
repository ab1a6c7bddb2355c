//! Settings in a file for which a program brings the other half: keys, secrets, a store.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::base::{ClientAuth, PrincipalKey};
use stonework::client::{Client, ClientSettings, InvalidClient};
use stonework::idempotency::{IdempotencyLayer, IdempotencySettings, InvalidIdempotency, MemoryStore};
use stonework::jwt::{
    Algorithm, IntrospectLayer, IntrospectSettings, Introspector, InvalidJwt, JwtLayer, JwtSettings, Key,
    Verifier,
};
use stonework::limit::{KeyedRateLimiter, Quota};
use stonework::oauth::{BearerLayer, InvalidOauth, TokenSettings, TokenSource};
use stonework::server::{InvalidServer, Server, ServerBuilder, ServerSettings};
use stonework::testing::{ScriptedServer, respond};
use tower::service_fn;

const SECRET: &[u8] = b"the secret of a test, of 32 byte";
const URL: &str = "https://id.example/token";

fn server(text: &str) -> ServerSettings {
    toml::from_str(text).expect("settings of a server")
}

fn client(text: &str) -> ClientSettings {
    toml::from_str(text).expect("settings of a client")
}

fn verifier(settings: JwtSettings) -> Result<JwtLayer, InvalidJwt> {
    let keys = Key::secret(Algorithm::Hs256, SECRET).expect("a key");
    let verifier = Verifier::builder().keys(keys).algorithms([Algorithm::Hs256]).any_issuer().any_audience();
    Ok(JwtLayer::new(verifier.settings(settings).build()?))
}

fn introspector(settings: IntrospectSettings) -> Result<IntrospectLayer, InvalidJwt> {
    let builder = Introspector::builder("https://id.example/introspect", ClientAuth::basic("me", "s3cret"));
    let introspector = builder.audiences(["https://api.example"]).settings(settings).build(Client::new())?;
    Ok(IntrospectLayer::new(introspector))
}

fn bearer(settings: TokenSettings) -> Result<BearerLayer, InvalidOauth> {
    let source = TokenSource::builder(URL, ClientAuth::basic("me", "s3cret")).settings(settings);
    BearerLayer::new(source.build(Client::new())?, ["https://stock.example"])
}

/// What is said of a builder that is asked to listen.
async fn refused(builder: ServerBuilder) -> Option<InvalidServer> {
    builder.bind("127.0.0.1:0").await.map(drop).map_err(|error| error.invalid().expect("a setting")).err()
}

async fn told_by(builder: ServerBuilder) -> String {
    refused(builder).await.expect("it is refused").to_string()
}

#[tokio::test]
async fn what_a_file_says_reaches_the_layer_that_the_program_makes_and_without_a_word_the_defaults_do() {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    for (text, jwt, keyed) in [
        ("", JwtSettings::new(), IdempotencySettings::new()),
        (
            "[jwt]\nleeway = '5s'\n[idempotency]\nretry_after = '3s'",
            JwtSettings::new().leeway(Duration::from_secs(5)),
            IdempotencySettings::new().retry_after(Duration::from_secs(3)),
        ),
        ("[jwt]\n[idempotency]", JwtSettings::new(), IdempotencySettings::new()),
    ] {
        let (one, other) = (Arc::clone(&seen), Arc::clone(&seen));
        let builder = Server::builder()
            .settings(server(text))
            .jwt_with(move |settings| {
                one.lock().unwrap().insert("jwt", format!("{settings:?}"));
                verifier(settings)
            })
            .idempotency_with(move |settings| {
                other.lock().unwrap().insert("idempotency", format!("{settings:?}"));
                IdempotencyLayer::new(MemoryStore::new()).settings(settings)
            });
        assert!(seen.lock().unwrap().is_empty(), "not before it listens: the settings may be set later");
        let told = builder.bind("127.0.0.1:0").await.unwrap().explain();
        assert!(
            told.contains("tokens: looked at here") && told.contains("keyed requests are done once"),
            "{told}"
        );
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(
            seen,
            BTreeMap::from([("idempotency", format!("{keyed:?}")), ("jwt", format!("{jwt:?}"))])
        );
    }

    let asked =
        Server::builder().settings(server("[introspect]\ntimeout = '1s'")).introspect_with(introspector);
    assert!(asked.bind("127.0.0.1:0").await.unwrap().explain().contains("tokens: asked for"));
    let built =
        Client::builder().settings(client("[bearer]\nfetch_timeout = '1s'")).bearer_with(bearer).build();
    assert!(built.unwrap().explain().contains("auth: tokens for https://stock.example:443"));
}

#[tokio::test]
async fn a_file_that_names_what_the_program_does_not_bring_is_refused_by_the_name_of_the_field() {
    let keyed = || IdempotencyLayer::new(MemoryStore::new());
    for (text, builder, field, setter) in [
        ("[jwt]", Server::builder(), "jwt", "jwt_with"),
        ("[introspect]", Server::builder(), "introspect", "introspect_with"),
        ("[idempotency]", Server::builder(), "idempotency", "idempotency_with"),
        // A layer that was made already goes by settings of its own, and the last of two is the one that counts.
        ("[jwt]", Server::builder().jwt(verifier(JwtSettings::new()).unwrap()), "jwt", "jwt_with"),
        ("[jwt]", Server::builder().jwt_with(verifier).introspect_with(introspector), "jwt", "jwt_with"),
        (
            "[jwt]",
            Server::builder().jwt_with(verifier).jwt(verifier(JwtSettings::new()).unwrap()),
            "jwt",
            "jwt_with",
        ),
        ("[idempotency]", Server::builder().idempotency(keyed()), "idempotency", "idempotency_with"),
    ] {
        let refused = refused(builder.settings(server(text))).await.expect("it is refused");
        assert!(
            matches!(refused, InvalidServer::NotBrought { field: its, setter: to, .. } if (its, to) == (field, setter)),
            "{text}: {refused:?}"
        );
        let said = refused.to_string();
        assert!(said.contains(&format!("`{field}`")) && said.contains(&format!("`{setter}`")), "{said}");
    }
    for builder in [
        Client::builder(),
        Client::builder().bearer_with(bearer).bearer(bearer(TokenSettings::new()).unwrap()),
    ] {
        let refused = builder.settings(client("[bearer]")).build().map(drop).unwrap_err();
        assert!(
            matches!(refused, InvalidClient::NotBrought { field: "bearer", setter: "bearer_with", .. }),
            "{refused:?}"
        );
    }
    // Nobody would tell senders apart.
    let limiter = || KeyedRateLimiter::<PrincipalKey>::new(Quota::per_second(1)).unwrap();
    for (text, builder, field) in [
        ("principal_rate_limit = { amount = 1, per = '1s' }", Server::builder(), "principal_rate_limit"),
        ("", Server::builder().principal_rate_limiter(limiter()), "principal_rate_limiter"),
    ] {
        let of_nobody = refused(builder.settings(server(text))).await;
        assert!(
            matches!(of_nobody, Some(InvalidServer::NoSenders { field: its, .. }) if its == field),
            "{of_nobody:?}"
        );
        let knows = Server::builder().principal_rate_limiter(limiter()).settings(server(text));
        assert_eq!(refused(knows.introspect_with(introspector)).await, None);
    }
    // Where the file says nothing, nothing has to be brought.
    assert_eq!(refused(Server::builder().settings(server(""))).await, None);
    assert!(Client::builder().settings(client("")).build().is_ok());
}

#[tokio::test]
async fn what_cannot_be_is_named_where_it_is_read_and_where_it_is_made() {
    let told = |text: &str| toml::from_str::<ServerSettings>(text).unwrap_err().message().to_owned();
    assert!(told("jtw = {}").starts_with("unknown field `jtw`"));
    assert!(told("[jwt]\nleway = '5s'").starts_with("unknown field `leway`"));
    assert!(told("[jwt]\nleeway = '1h'").contains("`leeway`"));
    assert!(told("[introspect]\ntimeout = 5").contains("a duration with its unit"));
    assert!(told("[idempotency]\nmethods = ['GET']").contains("`methods`"));
    // Nobody is let in by a word.
    assert!(told("jwt = 'off'").contains("invalid type"), "{}", told("jwt = 'off'"));
    let told = |text: &str| toml::from_str::<ClientSettings>(text).unwrap_err().message().to_owned();
    assert!(told("[bearer]\nfetch_timout = '5s'").starts_with("unknown field `fetch_timout`"));
    assert!(told("[bearer]\nfetch_timeout = '0s'").contains("`fetch_timeout`"));

    // The same in code, before anything is made of it.
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    let settings = ServerSettings::new().jwt(JwtSettings::new().cache(1));
    let builder = Server::builder().settings(settings).jwt_with(move |settings| {
        counts.fetch_add(1, Ordering::SeqCst);
        verifier(settings)
    });
    assert_eq!(told_by(builder).await, "`jwt`: `cache` is too small: at least 2");
    assert_eq!(made.load(Ordering::SeqCst), 0);
    let settings = ServerSettings::new().idempotency(IdempotencySettings::new().methods([]));
    let builder = Server::builder().settings(settings);
    assert_eq!(refused(builder).await, Some(InvalidServer::Idempotency(InvalidIdempotency::NoMethod)));
    let settings = ServerSettings::new().introspect(IntrospectSettings::new().max_at_once(0));
    assert_eq!(
        told_by(Server::builder().settings(settings)).await,
        "`introspect`: `max_at_once` is too small: at least 1"
    );
    // And what the program's own half cannot be.
    let builder = Server::builder().jwt_with(|settings| {
        let keys = Key::secret(Algorithm::Hs256, SECRET).expect("a key");
        let verifier = Verifier::builder().keys(keys).algorithms([]).any_issuer().any_audience();
        Ok(JwtLayer::new(verifier.settings(settings).build()?))
    });
    assert_eq!(told_by(builder).await, "`jwt`: `algorithms` is empty, or a text in it is");
    let no_origin = |_| Err(InvalidOauth::Empty { field: "origins" });
    let refused = Client::builder().bearer_with(no_origin).build().map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "`bearer`: `origins` is empty");
}

#[test]
fn settings_of_both_halves_are_written_as_they_were_read_and_not_at_all_if_nothing_was_said() {
    let text =
        "[jwt]\nrequired_claims = ['sub']\n[introspect]\ncache = 'off'\n[idempotency]\nrequired = true";
    let settings = server(text);
    assert_eq!(server(&toml::to_string(&settings).unwrap()), settings);
    assert_ne!(settings, ServerSettings::new());
    let settings = client("[bearer]\ndefault_lifetime = '10m'");
    assert_eq!(client(&toml::to_string(&settings).unwrap()), settings);
    for text in [toml::to_string(&ServerSettings::new()), toml::to_string(&ClientSettings::new())] {
        let text = text.unwrap();
        assert!(
            ["jwt", "introspect", "idempotency", "bearer"].iter().all(|field| !text.contains(field)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_server_and_a_client_of_one_file_keep_to_it() {
    let settings = server("drain_timeout = '0s'\n[idempotency]\nrequired = true\n[jwt]\nmax_token_size = 64");
    let builder = Server::builder().settings(settings);
    let builder = builder.jwt_with(|settings| Ok(verifier(settings)?.optional()));
    let builder =
        builder.idempotency_with(|settings| IdempotencyLayer::new(MemoryStore::new()).settings(settings));
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/orders", server.local_addr());
    let done = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&done);
    let running = tokio::spawn(server.serve(service_fn(move |_: Request<Body>| {
        let number = counts.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Infallible>(Response::new(Body::from(format!("number {number}")))) }
    })));

    let client = Client::new();
    let post = |key: Option<&'static str>| {
        let request = client.post(&uri).body("work");
        match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    };
    assert_eq!(post(None).send().await.unwrap().status(), 400, "keys are required");
    let first = post(Some("\"a\"")).send().await.unwrap().text().await.unwrap();
    let again = post(Some("\"a\"")).send().await.unwrap().text().await.unwrap();
    assert_eq!((first, again, done.load(Ordering::SeqCst)), ("number 0".into(), "number 0".into(), 1));
    let long = post(Some("\"b\"")).header("authorization", format!("Bearer {}", "x".repeat(65)));
    assert_eq!(long.send().await.unwrap().status(), 401, "longer than a token may be");
    running.abort();
}

#[tokio::test]
async fn tokens_of_a_client_are_got_as_its_file_says_by_each_clone_of_its_builder() {
    // A token that its server gives for no time at all is kept as long as the file says.
    let issuer = ScriptedServer::start(|_| {
        let body = r#"{"access_token":"of-the-file","token_type":"Bearer"}"#;
        respond(200).header("content-type", "application/json").body(body).keep_alive()
    })
    .await;
    let api = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    let (at, origin) = (issuer.uri("/token").to_string(), api.uri("/").to_string());
    let builder = Client::builder().settings(client("[bearer]\ndefault_lifetime = '1h'")).bearer_with(
        move |settings| {
            assert_eq!(settings, TokenSettings::new().default_lifetime(Duration::from_secs(3600)));
            let source = TokenSource::builder(&*at, ClientAuth::basic("me", "s3cret")).allow_plain_http();
            BearerLayer::new(source.settings(settings).build(Client::new())?, [origin.trim_end_matches('/')])
        },
    );
    for client in [builder.clone().build().unwrap(), builder.build().unwrap()] {
        client.get(api.uri("/")).send().await.unwrap();
    }
    let seen = api.seen();
    assert!(seen.iter().all(|request| request.header("authorization") == Some("Bearer of-the-file")));
    assert_eq!((seen.len(), issuer.seen().len()), (2, 2), "each has a source of its own");
}
