//! What a source of tokens, and the layer over it, promise.

mod introspection;
mod layer;
mod proofs;
mod source;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use stonework::base::body::Body;
use stonework::base::{BoxError, ClientAuth, Error, Kind, Rng};
use stonework::oauth::{InvalidOauth, NoToken, TokenSettings, TokenSource};
use tokio::time::sleep;
use tower::Service;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const SECRET: &str = "hush-hush";

/// A server that gives tokens, `t1`, `t2`, …, in memory.
#[derive(Clone)]
struct Provider(Arc<Mutex<State>>);

struct State {
    says: Says,
    after: Duration,
    asked: Vec<Asked>,
}

/// What was sent.
#[derive(Clone, Debug)]
struct Asked {
    head: Request<()>,
    form: String,
}

#[derive(Clone)]
enum Says {
    /// A token, with this behind its type: `,"expires_in":3600`.
    Token(&'static str),
    /// Always this one.
    Same(&'static str),
    /// This status, with these fields, and this text.
    Status(u16, Option<(&'static str, &'static str)>, String),
    Unreachable,
    Never,
    Panics,
}

impl Provider {
    fn new(says: Says) -> Self {
        Self(Arc::new(Mutex::new(State { says, after: Duration::ZERO, asked: Vec::new() })))
    }

    /// Of tokens for an hour.
    fn hourly() -> Self {
        Self::new(Says::Token(r#","expires_in":3600"#))
    }

    fn says(&self, says: Says) {
        self.0.lock().unwrap().says = says;
    }

    fn takes(&self, after: Duration) {
        self.0.lock().unwrap().after = after;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }

    fn forms(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.iter().map(|asked| asked.form.clone()).collect()
    }

    fn last(&self) -> Asked {
        self.0.lock().unwrap().asked.last().expect("it was asked").clone()
    }

    fn source(&self) -> TokenSource {
        self.with(TokenSettings::new()).expect("valid settings")
    }

    fn with(&self, settings: TokenSettings) -> Result<TokenSource, InvalidOauth> {
        self.seeded(settings, 1)
    }

    fn seeded(&self, settings: TokenSettings, seed: u64) -> Result<TokenSource, InvalidOauth> {
        let auth = ClientAuth::basic("orders", SECRET);
        let builder = TokenSource::builder("https://id.example/token?tenant=1", auth);
        builder.settings(settings).rng(Rng::seeded(seed)).build(self.clone())
    }
}

impl Service<Request<Body>> for Provider {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let form = body.collect_up_to(10_000).await?;
            let form = String::from_utf8(form.to_vec())?;
            let (says, after, number) = {
                let mut state = this.0.lock().unwrap();
                state.asked.push(Asked { head: Request::from_parts(head, ()), form });
                (state.says.clone(), state.after, state.asked.len())
            };
            sleep(after).await;
            let token =
                |token: &str, more| format!(r#"{{"access_token":"{token}","token_type":"Bearer"{more}}}"#);
            let (status, field, text) = match says {
                Says::Token(more) => (200, None, token(&format!("t{number}"), more)),
                Says::Same(token_) => (200, None, token(token_, r#","expires_in":3600"#)),
                Says::Status(status, field, text) => (status, field, text),
                Says::Unreachable => return Err(Error::new(Kind::Connect, "unreachable").into()),
                Says::Never => pending().await,
                Says::Panics => panic!("as the script says"),
            };
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = StatusCode::from_u16(status)?;
            if let Some((name, value)) = field {
                response.headers_mut().insert(name, value.parse()?);
            }
            Ok(response)
        })
    }
}

async fn token(source: &TokenSource) -> Result<String, Error> {
    source.token().await.map(|token| token.secret().to_owned())
}

/// The one that there is.
async fn good(source: &TokenSource) -> String {
    token(source).await.expect("a token")
}

/// Why there is none.
async fn bad(source: &TokenSource) -> (Error, NoToken) {
    let error = token(source).await.expect_err("no token");
    let why = error.cause::<NoToken>().expect("it says why").clone();
    (error, why)
}

/// Let what was spawned run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
