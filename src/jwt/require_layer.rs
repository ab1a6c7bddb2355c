use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::InvalidJwt;
use super::checked::CheckedFuture;
use super::require::{self, Requirement};
use crate::base::{Answer, Event, Http, Mode, Observe, Observer, Plain, Principal, Problem, TokenRefused};

/// Lets requests in whose sender may do what a route is for. It goes inside a [`JwtLayer`](super::JwtLayer), or whatever else inserts a
/// [`Principal`]; where there is none, nobody is let in.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::jwt::InvalidJwt> {
/// use axum::{Router, body::Body, routing::{get, post}};
/// use http::Request;
/// use stonework::jwt::RequireLayer;
/// use tower::ServiceExt;
///
/// let app: Router = Router::new()
///     .route("/orders", post(|| async { "done" }).layer(RequireLayer::scopes(["orders:write"])?.answer()))
///     .route("/audit", get(|| async { "log" }).layer(RequireLayer::any_role(["auditor", "admin"])?.answer()));
///
/// // Nobody knows who this is.
/// let answer = app.oneshot(Request::post("/orders").body(Body::empty()).unwrap()).await.unwrap();
/// assert_eq!((answer.status().as_u16(), &answer.headers()["www-authenticate"]), (401, &"Bearer scope=\"orders:write\"".parse().unwrap()));
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequireLayer<M = Http> {
    settings: Settings<M>,
}

#[derive(Clone)]
struct Settings<M> {
    /// Nothing, if the layer is switched off.
    rule: Option<Arc<Rule>>,
    mode: M,
}

struct Rule {
    requirement: Requirement,
    realm: Option<Arc<str>>,
    observe: Observe,
}

impl RequireLayer {
    /// All of these scopes.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if there is none, or one is none (RFC 6749, section 3.3).
    pub fn scopes(scopes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidJwt> {
        Requirement::scopes(scopes, true).map(Self::of)
    }

    /// Any of these scopes. A refusal names the first.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if there is none, or one is none (RFC 6749, section 3.3).
    pub fn any_scope(scopes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidJwt> {
        Requirement::scopes(scopes, false).map(Self::of)
    }

    /// All of these roles.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if there is none, or one is empty.
    pub fn roles(roles: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidJwt> {
        Requirement::roles(roles, true).map(Self::of)
    }

    /// Any of these roles.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if there is none, or one is empty.
    pub fn any_role(roles: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidJwt> {
        Requirement::roles(roles, false).map(Self::of)
    }

    fn of(requirement: Requirement) -> Self {
        let rule = Rule { requirement, realm: None, observe: Observe::default() };
        Self { settings: Settings { rule: Some(Arc::new(rule)), mode: Http } }
    }

    /// Say in refusals what tokens are needed for (RFC 9110, section 11.5). Default: nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], as for [`JwtLayer`](super::JwtLayer::realm).
    pub fn realm(self, realm: impl Into<Arc<str>>) -> Result<Self, InvalidJwt> {
        let realm = require::realm(realm.into())?;
        Ok(self.changed(|rule| Rule { realm: Some(realm), ..rule }))
    }

    /// Tell this one who is refused.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.changed(|rule| Rule { observe: Observe::by(observer), ..rule })
    }

    fn changed(mut self, change: impl FnOnce(Rule) -> Rule) -> Self {
        self.settings.rule = self.settings.rule.map(|rule| {
            let Rule { requirement, realm, observe } = &*rule;
            let (requirement, realm, observe) = (requirement.clone(), realm.clone(), observe.clone());
            Arc::new(change(Rule { requirement, realm, observe }))
        });
        self
    }
}

impl<M> RequireLayer<M> {
    /// Refuse with a response as RFC 6750 has it, 403 or 401, and leave the inner error type alone: for servers.
    pub fn answer(self) -> RequireLayer<Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> RequireLayer<Answer<R>> {
        self.mode(Answer::with(refuse))
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> RequireLayer<Plain> {
        self.mode(Plain)
    }

    /// With `false`, switch the layer off; its type stays the same. **Everybody is then let in.**
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.settings.rule = None;
        }
        self
    }

    fn mode<N>(self, mode: N) -> RequireLayer<N> {
        RequireLayer { settings: Settings { rule: self.settings.rule, mode } }
    }
}

impl<M: Clone> Clone for RequireLayer<M> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<M> fmt::Debug for RequireLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.settings.rule.as_deref().map(|rule| &rule.requirement);
        f.debug_struct("RequireLayer").field("requirement", &rule).finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for RequireLayer<M> {
    type Service = RequireService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService { inner, settings: self.settings.clone() }
    }
}

/// Lets requests in whose sender may do what a route is for. See [`RequireLayer`].
pub struct RequireService<S, M = Http> {
    inner: S,
    settings: Settings<M>,
}

impl<S: Clone, M: Clone> Clone for RequireService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: self.settings.clone() }
    }
}

impl<S, B, M> Service<Request<B>> for RequireService<S, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = CheckedFuture<S, Request<B>, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        if self.settings.rule.is_some() {
            // It is decided in the call, which waits for the inner service, too.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(|error| self.settings.mode.fail(error))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (asked, mode) = (self.settings.mode.ask(&request), self.settings.mode.clone());
        let Some(rule) = &self.settings.rule else {
            return CheckedFuture::called(self.inner.call(request), asked, mode);
        };
        match rule.requirement.check(Principal::of(request.extensions())) {
            Ok(()) => CheckedFuture::admitted(&mut self.inner, request, asked, mode),
            Err(fault) => {
                let refused =
                    TokenRefused::new(fault).in_realm(rule.realm.clone()).needing(rule.requirement.scope());
                let field = || refused.field().map(Arc::from);
                rule.observe.note(|| Event::TokenRefused { why: fault, field: field() });
                CheckedFuture::refused(refused.into(), asked, mode)
            }
        }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for RequireService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.settings.rule.as_deref().map(|rule| &rule.requirement);
        f.debug_struct("RequireService")
            .field("inner", &self.inner)
            .field("requirement", &rule)
            .finish_non_exhaustive()
    }
}
