//! How to test a layer: over a service that is always ready, which shows whether it does its work; and over `Strict`, which shows what it
//! does to the service inside.

use std::fmt;
use std::panic;
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::base::BoxError;
use stonework::testing::{Breach, Scripted, Step, Strict};
use tokio::time::timeout;
use tower::util::Either;
use tower::{Service, ServiceExt};

type Inner = Scripted<Request<Body>, Response<Body>>;
/// What the layer is put around: one type for both, so that a layer is written down once.
type Under = Either<Inner, Strict<Inner>>;

/// What was found out about a layer.
pub(crate) struct Found {
    /// It does its work, over a service that is always ready.
    pub(crate) works: bool,
    /// What is wrong with it over `Strict`, if anything is.
    pub(crate) wrong: Option<Wrong>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Wrong {
    /// It broke the contract.
    Broke(Breach),
    /// A call had no answer in a minute, of virtual time.
    Waits,
    /// It has ended, and a place that it took is still taken.
    Keeps,
}

/// Try a layer in both ways.
pub(crate) async fn examine<S>(layer: impl Fn(Under) -> S) -> Result<Found, BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let always = Inner::script(|_, _| Step::Answer(Response::default()));
    let seen = always.seen();
    layer(Either::Left(always)).oneshot(Request::default()).await?;
    let works = seen.with(|requests| requests[0].headers().contains_key("x-signature"));

    // The first call is never answered. There is room for one, and it is never ready at once.
    let first_hangs =
        Inner::script(|call, _| if call == 1 { Step::Hang } else { Step::Answer(Response::default()) });
    let strict = Strict::new(first_hangs).capacity(1).pending_first(1);
    let ledger = strict.ledger();
    // In a task of its own, for `Strict` panics; and in silence, for it says the same in its ledger.
    let told = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let callers = tokio::spawn(timeout(Duration::from_secs(60), callers(layer(Either::Right(strict)))));
    let ended = callers.await;
    panic::set_hook(told);

    let kept = ledger.reservations_out() + ledger.in_flight() + ledger.waiting();
    let wrong = match (ledger.breaches().first(), ended) {
        (Some(breach), _) => Some(Wrong::Broke(*breach)),
        (None, Err(panicked)) => return Err(panicked.into()),
        (None, Ok(Err(_))) => Some(Wrong::Waits),
        (None, Ok(Ok(answered))) => {
            answered?;
            (kept > 0).then_some(Wrong::Keeps)
        }
    };
    Ok(Found { works, wrong })
}

/// Callers as they are.
async fn callers<S>(mut layer: S) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Error = BoxError> + Clone,
{
    // One gives up while the service works.
    let call = layer.ready().await?.call(Request::default());
    let given_up = timeout(Duration::from_secs(1), call).await;
    // One makes it ready, and changes his mind.
    layer.ready().await?;
    let clone = layer.clone();
    drop(layer);
    // And one has a clone, and wants an answer.
    clone.oneshot(Request::default()).await?;
    match given_up {
        Err(_) => Ok(()),
        Ok(_) => Err("a call was answered that nobody had answered".into()),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.works { "works; and then: " } else { "does not work; and then: " })?;
        match &self.wrong {
            None => f.write_str("keeps the contract, and everything comes home"),
            // The rule, and how to mend it: each in a line of its own.
            Some(Wrong::Broke(breach)) => {
                f.write_str(&breach.to_string().replace(" To mend it", "\n    To mend it"))
            }
            Some(Wrong::Waits) => f.write_str("waits for ever"),
            Some(Wrong::Keeps) => f.write_str("keeps a place for ever"),
        }
    }
}
