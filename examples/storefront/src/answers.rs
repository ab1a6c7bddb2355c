//! What a request is answered that cannot be done: problem details (RFC 9457), whoever refuses it.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use stonework::Error;
use stonework::base::{Asked, Problem, Refuse};

use crate::database::DatabaseError;

/// A refusal, which is a response.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// With this status, and a sentence for the person who reads it.
    Because(StatusCode, Cow<'static, str>),
    /// By something of stonework's, which knows its status and when to come back.
    By(Error),
}

impl Refusal {
    pub(crate) fn because(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Because(status, why.into())
    }

    pub(crate) fn unauthorized(why: &'static str) -> Self {
        Self::because(StatusCode::UNAUTHORIZED, why)
    }

    /// Our own fault. What it is stands in the log, and not in the answer.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a handler failed");
        Self::because(StatusCode::INTERNAL_SERVER_ERROR, "it is our fault")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Because(status, why) => (status, why),
            Self::By(error) => return Problem.refuse(Asked::default(), &error).map(Body::from),
        };
        let title = status.canonical_reason().unwrap_or_default();
        let problem = serde_json::json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": why,
        });
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            // RFC 9110, section 11.6.1: it says what would help.
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // It is for now. A client that asks again does so then.
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            // No connection in time, or too many who wait for one.
            DatabaseError::Pool(error) => Self::By(error),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database could not do it");
                Self::because(StatusCode::SERVICE_UNAVAILABLE, "the database could not do it")
            }
        }
    }
}

/// Nothing has this path.
pub(crate) async fn not_found() -> Refusal {
    Refusal::because(StatusCode::NOT_FOUND, "there is nothing here")
}

/// Something has this path, and does not know this method. Which ones it knows stands in `Allow`.
pub(crate) async fn not_allowed() -> Refusal {
    Refusal::because(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done with this")
}

// ───────────────────────────────────────────────────────────────────────────── what is wrong with a request

/// The body of a request, in JSON. As axum has it, but for the form of its refusals.
pub(crate) struct Read<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Read<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let read = axum::Json::from_request(request, state).await;
        let axum::Json(value) =
            read.map_err(|wrong: JsonRejection| Refusal::because(wrong.status(), wrong.body_text()))?;
        Ok(Self(value))
    }
}

/// What stands behind the `?`, likewise.
pub(crate) struct Asks<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asks<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Query::from_request_parts(parts, state).await;
        let Query(value) =
            read.map_err(|wrong: QueryRejection| Refusal::because(wrong.status(), wrong.body_text()))?;
        Ok(Self(value))
    }
}

/// What the path names, likewise.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Path::from_request_parts(parts, state).await;
        let Path(name) =
            read.map_err(|wrong: PathRejection| Refusal::because(wrong.status(), wrong.body_text()))?;
        Ok(Self(name))
    }
}
