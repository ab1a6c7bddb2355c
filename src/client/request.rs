use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde::Serialize;

use super::basic::credentials;
use super::{Client, Informational, InvalidRequest, Response};
use crate::base::body::Body;
use crate::base::{Call, Deadline, Error, IDEMPOTENCY_KEY, IdempotencyKey, InvalidKey};

/// A request in the making. What is wrong with a part of it is told by [`send`](Self::send).
///
/// ```
/// use std::time::Duration;
/// use stonework::client::Client;
/// use stonework::testing::{ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
/// let server = ScriptedServer::start(|_| respond(201).body("made")).await;
/// let client = Client::new();
/// let answer = client
///     .post(server.uri("/orders"))
///     .bearer("a token")
///     .json(&["bread", "salt"])
///     .keyed()
///     .deadline(Duration::from_secs(2))
///     .send()
///     .await?
///     .error_for_status()?;
/// assert_eq!(answer.text().await?, "made");
/// assert_eq!(server.seen()[0].body.kept, br#"["bread","salt"]"#);
/// # Ok(()) }
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    request: Request<Body>,
    deadline: Option<Duration>,
    /// The first part that was wrong.
    invalid: Option<InvalidRequest>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: Method, uri: Option<Uri>) -> Self {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let invalid = match uri {
            Some(uri) => {
                *request.uri_mut() = uri;
                None
            }
            None => Some(InvalidRequest::Uri),
        };
        Self { client, request, deadline: None, invalid }
    }

    /// Add a header; one of the same name stays.
    pub fn header<N: TryInto<HeaderName>, V: TryInto<HeaderValue>>(self, name: N, value: V) -> Self {
        let Ok(name) = name.try_into() else { return self.reject(InvalidRequest::HeaderName) };
        self.edit(|request| match value.try_into() {
            Ok(value) => {
                request.headers_mut().append(name, value);
                Ok(())
            }
            Err(_) => Err(InvalidRequest::HeaderValue(name)),
        })
    }

    /// Put these headers in the place of those with the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.edit(|request| {
            request.headers_mut().extend(headers);
            Ok(())
        })
    }

    /// Add this value to the query of the URI, in the form of `application/x-www-form-urlencoded`: a struct with plain fields, a map, or
    /// pairs. What is in the query already stays in front of it. `None` is left out; a list or a struct within the value is
    /// [not valid](InvalidRequest::Query).
    ///
    /// ```
    /// # use stonework::client::Client;
    /// # use stonework::testing::{ScriptedServer, respond};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
    /// # let server = ScriptedServer::start(|_| respond(200)).await;
    /// let request = Client::new().get(server.uri("/search?q=a")).query(&[("page", "2"), ("name", "B & C")]);
    /// request.send().await?;
    /// assert_eq!(server.seen()[0].target, "/search?q=a&page=2&name=B+%26+C");
    /// # Ok(()) }
    /// ```
    pub fn query<T: Serialize + ?Sized>(self, value: &T) -> Self {
        // What is wrong with the URI has been told, and goes first.
        if self.invalid.is_some() {
            return self;
        }
        self.edit(|request| {
            let more = serde_urlencoded::to_string(value);
            let more = more.map_err(|error| InvalidRequest::Query(error.into()))?;
            if !more.is_empty() {
                *request.uri_mut() = with_query(request.uri(), &more).ok_or(InvalidRequest::Uri)?;
            }
            Ok(())
        })
    }

    /// Authorize with a user name and a password (RFC 7617), in UTF-8. The header is marked as sensitive: it is not shown in debug
    /// output, and goes to no other origin. It keeps nothing secret on the way; that is for TLS.
    ///
    /// ```
    /// # use stonework::client::Client;
    /// # use stonework::testing::{ScriptedServer, respond};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
    /// # let server = ScriptedServer::start(|_| respond(200)).await;
    /// Client::new().get(server.uri("/")).basic_auth("Aladdin", "open sesame").send().await?;
    /// assert_eq!(server.seen()[0].header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    /// # Ok(()) }
    /// ```
    pub fn basic_auth(self, user: impl fmt::Display, password: impl fmt::Display) -> Self {
        self.edit(|request| {
            let value =
                credentials(&user.to_string(), &password.to_string()).ok_or(InvalidRequest::Credentials)?;
            request.headers_mut().insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Authorize with this token (RFC 6750). The header is marked as sensitive: it is not shown in debug output.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.edit(|request| {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| InvalidRequest::HeaderValue(AUTHORIZATION))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Set the body. Default: empty. Its length is told to the server if it is known; a stream goes out in chunks.
    ///
    /// If you set `content-length` yourself, it has to be right: a stream that turns out shorter is an error of
    /// [`Kind::Body`](crate::base::Kind::Body), and what is beyond it is not sent.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.edit(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Set the body to this value as a form, and `content-type` to `application/x-www-form-urlencoded` unless there is one. What the
    /// value may be is said at [`query`](Self::query).
    ///
    /// ```
    /// # use stonework::client::Client;
    /// # use stonework::testing::{ScriptedServer, respond};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
    /// # let server = ScriptedServer::start(|_| respond(200)).await;
    /// Client::new().post(server.uri("/")).form(&[("name", "B & C"), ("age", "7")]).send().await?;
    /// assert_eq!(server.seen()[0].body.kept, b"name=B+%26+C&age=7");
    /// # Ok(()) }
    /// ```
    pub fn form<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.edit(|request| {
            let form =
                serde_urlencoded::to_string(value).map_err(|error| InvalidRequest::Form(error.into()))?;
            *request.body_mut() = form.into();
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().entry(CONTENT_TYPE).or_insert(form);
            Ok(())
        })
    }

    /// Set the body to this value as JSON, and `content-type` to `application/json` unless there is one.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.edit(|request| {
            let json = serde_json::to_vec(value).map_err(|error| InvalidRequest::Json(error.into()))?;
            *request.body_mut() = json.into();
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(CONTENT_TYPE).or_insert(json);
            Ok(())
        })
    }

    /// Send this key with every attempt, which makes a request with any method safe to repeat: see
    /// [`Call::keyed`] for what that takes.
    pub fn idempotency_key<K: TryInto<IdempotencyKey>>(self, key: K) -> Self
    where
        K::Error: Into<InvalidKey>,
    {
        self.edit(|request| {
            let key = key.try_into().map_err(|error| InvalidRequest::IdempotencyKey(error.into()))?;
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.into());
            Ok(())
        })
    }

    /// Let `retry` make a key, the same for every attempt. See [`Call::keyed`].
    pub fn keyed(self) -> Self {
        self.call(Call::keyed)
    }

    /// Send this request once, whatever happens. See [`Call::never_retry`].
    pub fn never_retry(self) -> Self {
        self.call(Call::never_retry)
    }

    /// Send this request at most so many times, the first included; it can only lower what the client allows.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: the first attempt cannot be left out.
    pub fn attempts(self, attempts: u32) -> Self {
        self.call(|call| call.attempts(attempts))
    }

    /// Treat this request as idempotent although its method is not. **If that is wrong, its work may be done twice.**
    /// See [`Call::dangerously_assume_idempotent`].
    pub fn dangerously_assume_idempotent(self) -> Self {
        self.call(Call::dangerously_assume_idempotent)
    }

    /// Read the response body as a part of each attempt, up to so many bytes: one that breaks off is then an attempt that
    /// failed, and is retried as any other, and the limits of time cover it. With 0 the body is streamed, whatever the client does otherwise. See
    /// [`Call::collect_within`].
    pub fn collect_within(self, bytes: usize) -> Self {
        self.call(|call| call.collect_within(bytes))
    }

    /// Hear what the server says before its answer: `100 Continue`, `103 Early Hints` (RFC 8297) and any other status of 1xx but 101, with its
    /// headers, for each attempt. Over HTTP/1.1 only. It is called in the middle of a poll: do not block.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// # async fn run(client: Client) -> Result<(), stonework::Error> {
    /// let page = client
    ///     .get("http://example.com/")
    ///     .on_informational(|status, headers| println!("{status}: {:?}", headers.get("link")))
    ///     .send()
    ///     .await?;
    /// # let _ = page;
    /// # Ok(()) }
    /// ```
    pub fn on_informational(self, hook: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        self.edit(|request| {
            Informational::new(hook).go_with(request.extensions_mut());
            Ok(())
        })
    }

    /// Limit this call, counted from [`send`](Self::send). It can only shorten what the client allows. Requests that
    /// [`resume`](super::ClientSettings::resume) makes later, while the body is being read, have the client's limit.
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Send the request.
    ///
    /// # Errors
    ///
    /// As [`Client::send`]; and with an [`InvalidRequest`], not sent, if a part of the request is not valid.
    ///
    /// # Cancellation
    ///
    /// As [`Client::send`].
    pub async fn send(self) -> Result<Response, Error> {
        let Self { client, request, deadline, invalid } = self;
        if let Some(invalid) = invalid {
            return Err(invalid.into());
        }
        let answer = match deadline {
            None => client.begin(request).await?,
            Some(limit) => {
                // The call is made inside, where the deadline is in scope: so the layers see it, and the error tells
                // how many attempts there were.
                let call = async { client.begin(request).await };
                Deadline::within(limit).bound(call).await??
            }
        };
        Ok(client.response(answer))
    }

    fn call(self, change: impl FnOnce(Call) -> Call) -> Self {
        self.edit(|request| {
            Call::edit(request.extensions_mut(), change);
            Ok(())
        })
    }

    fn edit(mut self, change: impl FnOnce(&mut Request<Body>) -> Result<(), InvalidRequest>) -> Self {
        match change(&mut self.request) {
            Ok(()) => self,
            Err(invalid) => self.reject(invalid),
        }
    }

    fn reject(mut self, invalid: InvalidRequest) -> Self {
        self.invalid.get_or_insert(invalid);
        self
    }
}

/// The same URI with more in its query; nothing, if it is then too long.
fn with_query(uri: &Uri, more: &str) -> Option<Uri> {
    let path = uri.path();
    let longer = match uri.query() {
        Some(query) if !query.is_empty() => format!("{path}?{query}&{more}"),
        _ => format!("{path}?{more}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(longer).ok()?);
    Uri::from_parts(parts).ok()
}

/// Shows the method and the size of the body. URI and headers carry secrets.
impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", self.request.method())
            .field("body", self.request.body())
            .field("deadline", &self.deadline)
            .field("invalid", &self.invalid)
            .finish_non_exhaustive()
    }
}
