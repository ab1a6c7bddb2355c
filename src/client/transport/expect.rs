use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::EXPECT;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use tokio::time::sleep;

use super::host::Host;
use super::upload::{Gate, Upload};
use crate::client::Informational;

/// How long a body is held back for a server that does not say that it wants it. Most that know nothing of expectations say nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request whose body is held back until its server says that it wants it (RFC 9110, section 10.1.1).
pub(super) struct Held {
    gate: Arc<Gate>,
    /// The request without its body and without the expectation, if that is ours.
    spare: Option<Request<()>>,
}

/// Hold the body of this request back, if it is large or its caller says so. The hook hears what the server says before its answer.
pub(super) fn hold(
    request: &mut Request<Upload>,
    hook: Option<Informational>,
    host: &Host,
    expects: bool,
) -> Option<Held> {
    let held = if expects { expectation(request, host) } else { None };
    if held.is_some() || hook.is_some() {
        let gate = held.as_ref().map(|held| Arc::clone(&held.gate));
        hyper::ext::on_informational(request, move |said| {
            if let (Some(gate), StatusCode::CONTINUE) = (&gate, said.status()) {
                gate.open();
            }
            if let Some(hook) = &hook {
                hook.hear(said.status(), said.headers());
            }
        });
    }
    held
}

fn expectation(request: &mut Request<Upload>, host: &Host) -> Option<Held> {
    if request.body().is_end_stream() {
        return None;
    }
    if let Some(value) = request.headers().get(EXPECT) {
        let asked = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if !asked {
            return None;
        }
        return request.body_mut().hold().map(|gate| Held { gate, spare: None });
    }
    let size = request.body().size_hint().exact()?;
    host.core.settings.expect_continue.filter(|most| size >= *most)?;
    let mut spare = Request::new(());
    spare.method_mut().clone_from(request.method());
    spare.uri_mut().clone_from(request.uri());
    *spare.version_mut() = request.version();
    spare.headers_mut().clone_from(request.headers());
    spare.extensions_mut().clone_from(request.extensions());
    request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
    request.body_mut().hold().map(|gate| Held { gate, spare: Some(spare) })
}

impl Held {
    /// Wait for the answer, and let the body go if nothing is said about it.
    pub(super) async fn with<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        let mut patience = pin!(sleep(PATIENCE));
        let mut patient = true;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            if patient && patience.as_mut().poll(cx).is_ready() {
                patient = false;
                self.gate.open();
            }
            Poll::Pending
        })
        .await
    }

    /// The request as it was, if the expectation was ours and nothing of the body has been taken.
    pub(super) fn take_back(self) -> Option<Request<Upload>> {
        let spare = self.spare?;
        let body = self.gate.take_back()?;
        Some(spare.map(|()| Upload::again(body)))
    }
}
