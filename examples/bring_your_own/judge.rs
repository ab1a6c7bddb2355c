//! A judgement of one's own: for an API that answers 200 whatever happens, and says in a header what is wrong.

use http::{HeaderValue, Request, Response};
use stonework::Body;
use stonework::base::{BoxError, CircuitState, Classify, ClassifyHttp, Error, Outcome};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::retry::RetryLayer;
use stonework::testing::{Scripted, Step};
use tower::{Layer, ServiceExt};

use crate::kit::Verdict;

/// By `x-problem`: `busy`, `yours`, or what is broken; as HTTP has it, where there is none.
#[derive(Clone, Copy, Debug)]
struct ByProblem;

impl<B> Classify<Response<B>> for ByProblem {
    fn classify(&self, result: Result<&Response<B>, &Error>) -> Outcome {
        let problem = result.ok().and_then(|response| response.headers().get("x-problem"));
        match problem.map(HeaderValue::as_bytes) {
            Some(b"busy") => Outcome::Overload,
            // What is wrong with the request is wrong with it the second time, too, and says nothing about the service.
            Some(b"yours") => Outcome::Success,
            Some(_) => Outcome::Failure,
            None => ClassifyHttp.classify(result),
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── what comes of it

type Api = Scripted<Request<Body>, Response<Body>>;

/// Has this problem with its first call, or with each.
fn api(problem: &'static str, always: bool) -> Api {
    Api::script(move |call, _| {
        let mut answer = Response::new(Body::empty());
        if always || call == 1 {
            answer.headers_mut().insert("x-problem", HeaderValue::from_static(problem));
        }
        Step::Answer(answer)
    })
}

fn get() -> Request<Body> {
    Request::new(Body::empty())
}

/// How often it is asked for one call.
async fn attempts<C>(problem: &'static str, judge: C) -> Result<usize, BoxError>
where
    C: Classify<Response<Body>> + Clone,
{
    let api = api(problem, false);
    let seen = api.seen();
    RetryLayer::new().classify(judge).layer(api).oneshot(get()).await?;
    Ok(seen.count())
}

/// What a circuit thinks of it after as many calls as it needs to think anything.
async fn circuit<C>(problem: &'static str, judge: C) -> Result<CircuitState, BoxError>
where
    C: Classify<Response<Body>> + Clone,
{
    // The least that its settings judge by default.
    const CALLS: usize = 20;
    let breaker = Breaker::new(BreakerSettings::new())?;
    let service = BreakerLayer::from(breaker.clone()).classify(judge).layer(api(problem, true));
    for _ in 0..CALLS {
        // The answer is dropped, and with it its body: so the call is over, and counts.
        drop(service.clone().oneshot(get()).await?);
    }
    Ok(breaker.state())
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("What counts as failed: an API that answers 200 and says in `x-problem` what is wrong\n");
    println!("  x-problem  attempts by HTTP  by ours   circuit by HTTP  by ours");
    let mut rows = Vec::new();
    for problem in ["broken", "busy", "yours"] {
        let (http, ours) = (attempts(problem, ClassifyHttp).await?, attempts(problem, ByProblem).await?);
        let (blind, sees) = (circuit(problem, ClassifyHttp).await?, circuit(problem, ByProblem).await?);
        println!("  {problem:<9}  {http:>16}  {ours:>7}   {blind:>15}  {sees:>7}");
        rows.push((http, ours, blind, sees));
    }
    println!();
    let [broken, busy, yours] = [rows[0], rows[1], rows[2]];
    let unseen =
        |row: (usize, usize, CircuitState, CircuitState)| row.0 == 1 && row.2 == CircuitState::Closed;
    verdict
        .claim(rows.iter().all(|row| unseen(*row)), "judged by its status, every such answer is a success");
    verdict.claim((broken.1, busy.1) == (2, 2), "by ours, what is broken or busy is asked again");
    verdict.claim(yours.1 == 1, "and what is the caller's fault is not");
    verdict.claim(
        (broken.3, busy.3, yours.3) == (CircuitState::Open, CircuitState::Closed, CircuitState::Closed),
        "the circuit judges by the same: it opens for what is broken, and for nothing else",
    );
    Ok(())
}
