//! The table of layers: one row for each layer in each of its modes.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use stonework::Call;
use stonework::base::{Backoff, BoxError};
use stonework::retry::{CollectLayer, ResumeLayer, RetryLayer, RetrySettings};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

use crate::kit::{Boxed, Inner, Row, Seen, Traits, Wire};

/// Different, so that a test can tell which of them ran out.
const CALL: Duration = Duration::from_secs(60);
const ATTEMPT: Duration = Duration::from_secs(20);
/// The pause before each retry.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

const CALL_LIMIT: Traits = Traits { always_ready: true, limit: Some(CALL), retries: false };
const ATTEMPT_LIMIT: Traits = Traits { always_ready: false, limit: Some(ATTEMPT), retries: false };
const PASSES: Traits = Traits { always_ready: false, limit: None, retries: false };
const RETRIES: Traits = Traits { always_ready: false, limit: None, retries: true };

const fn off(traits: Traits) -> Traits {
    Traits { limit: None, ..traits }
}

fn retry() -> RetryLayer {
    let backoff = Backoff::constant(PAUSE).expect("more than zero");
    RetryLayer::from(RetrySettings::new().backoff(backoff))
}

/// A row: the layer, its mode, how it is made, what it does. The name of the layer is its type, which is checked.
macro_rules! rows {
    ($seal:path; $($layer:ident $mode:literal = $make:expr => $traits:expr;)*) => {
        vec![$(
            Row {
                layer: stringify!($layer),
                mode: $mode,
                traits: $traits,
                wrap: |inner| {
                    let layer = named(stringify!($layer), $make);
                    $seal(layer.layer(inner))
                },
            },
        )*]
    };
}

/// The layer itself, if that is its name.
fn named<L>(name: &str, layer: L) -> L {
    let path = std::any::type_name::<L>();
    let path = path.split('<').next().unwrap_or(path);
    assert_eq!(path.rsplit("::").next(), Some(name), "a row has the name of another layer");
    layer
}

/// Over `http::Request` and `http::Response`.
pub(crate) fn http() -> Vec<Row<Http>> {
    rows! { seal_http;
        TimeoutLayer "" = TimeoutLayer::new(CALL) => CALL_LIMIT;
        TimeoutLayer ".answer()" = TimeoutLayer::new(CALL).answer() => CALL_LIMIT;
        TimeoutLayer ".plain()" = TimeoutLayer::new(CALL).plain() => CALL_LIMIT;
        TimeoutLayer ".when(false)" = TimeoutLayer::new(CALL).when(false) => off(CALL_LIMIT);
        TimeoutLayer ".answer().when(false)" = TimeoutLayer::new(CALL).answer().when(false) => off(CALL_LIMIT);
        AttemptTimeoutLayer "" = AttemptTimeoutLayer::new(ATTEMPT) => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".answer()" = AttemptTimeoutLayer::new(ATTEMPT).answer() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".plain()" = AttemptTimeoutLayer::new(ATTEMPT).plain() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".when(false)" = AttemptTimeoutLayer::new(ATTEMPT).when(false) => off(ATTEMPT_LIMIT);
        RetryLayer "" = retry() => RETRIES;
        CollectLayer "" = CollectLayer::new(64 * 1024) => PASSES;
        CollectLayer ".when(false)" = CollectLayer::new(64 * 1024).when(false) => PASSES;
        ResumeLayer "" = ResumeLayer::new() => PASSES;
        ResumeLayer ".when(false)" = ResumeLayer::new().when(false) => PASSES;
    }
}

/// Over requests that are not HTTP: what is generic, in the modes that do not need it.
pub(crate) fn text() -> Vec<Row<Text>> {
    rows! { seal_text;
        TimeoutLayer "" = TimeoutLayer::new(CALL) => CALL_LIMIT;
        TimeoutLayer ".plain()" = TimeoutLayer::new(CALL).plain() => CALL_LIMIT;
        TimeoutLayer ".when(false)" = TimeoutLayer::new(CALL).when(false) => off(CALL_LIMIT);
        AttemptTimeoutLayer "" = AttemptTimeoutLayer::new(ATTEMPT) => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".plain()" = AttemptTimeoutLayer::new(ATTEMPT).plain() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".when(false)" = AttemptTimeoutLayer::new(ATTEMPT).when(false) => off(ATTEMPT_LIMIT);
    }
}

pub(crate) struct Http;

pub(crate) type HttpRequest = Request<Full<Bytes>>;
pub(crate) type HttpAnswer = Response<UnsyncBoxBody<Bytes, BoxError>>;

pub(crate) fn seal_http<S, B>(service: S) -> Boxed<Http>
where
    S: Service<HttpRequest, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let one_type = |answer: Response<B>| answer.map(|body| body.map_err(Into::into).boxed_unsync());
    BoxCloneSyncService::new(service.map_response(one_type).map_err(Into::into))
}

impl Wire for Http {
    type Request = HttpRequest;
    type Bottom = Response<Full<Bytes>>;
    type Answer = HttpAnswer;

    fn request() -> HttpRequest {
        Request::put("/thing").body(Full::from("content")).expect("a request")
    }

    fn once() -> HttpRequest {
        let mut request = Self::request();
        Call::edit(request.extensions_mut(), Call::never_retry);
        request
    }

    fn good() -> Self::Bottom {
        Response::new(Full::from("done"))
    }

    fn bad() -> Self::Bottom {
        Response::builder().status(StatusCode::BAD_GATEWAY).body(Full::default()).expect("a response")
    }

    fn seal(bottom: Inner<Self>) -> Boxed<Self> {
        seal_http(bottom)
    }

    fn read(answer: &HttpAnswer) -> Seen {
        match answer.status() {
            StatusCode::OK => Seen::Good,
            StatusCode::GATEWAY_TIMEOUT => Seen::Late,
            _ => Seen::Bad,
        }
    }
}

pub(crate) struct Text;

fn seal_text<S>(service: S) -> Boxed<Text>
where
    S: Service<String, Response = String> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

impl Wire for Text {
    type Request = String;
    type Bottom = String;
    type Answer = String;

    fn request() -> String {
        "request".to_owned()
    }

    fn once() -> String {
        Self::request()
    }

    fn good() -> String {
        "good".to_owned()
    }

    fn bad() -> String {
        "bad".to_owned()
    }

    fn seal(bottom: Inner<Self>) -> Boxed<Self> {
        seal_text(bottom)
    }

    fn read(answer: &String) -> Seen {
        if answer == "good" { Seen::Good } else { Seen::Bad }
    }
}
