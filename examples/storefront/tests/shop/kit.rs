//! A shop to ask, and programs that do.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use stonework::Body;
use stonework::client::{Client, ClientSettings};
use stonework::observe::Prometheus;
use stonework::server::ServerHandle;
use storefront::scratch::Scratch;
use storefront::{Books, DEMO_USERS, Database, Options, application, new_key};
use tokio::sync::Semaphore;

/// The same tests over a file, and over a server of PostgreSQL.
macro_rules! over_both {
    ($($test:ident),+ $(,)?) => {
        mod over_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(&storefront::scratch::Scratch::new(None).await.unwrap()).await;
                }
            )+
        }

        mod over_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let Some(server) = crate::postgres::Server::shared() else { return };
                    let _turn = crate::kit::POSTGRES.acquire().await.unwrap();
                    super::$test(&storefront::scratch::Scratch::new(Some(&server.url())).await.unwrap()).await;
                }
            )+
        }
    };
}
pub(crate) use over_both;

/// The server of the tests takes sixty sessions, and each test has two instances with five of them, and a few beside them.
pub(crate) static POSTGRES: Semaphore = Semaphore::const_new(3);

/// An instance of the shop, in this process.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    database: Database,
    client: Client,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Shop {
    /// As it is.
    pub(crate) async fn open(scratch: &Scratch) -> Self {
        Self::with(scratch, &new_key().unwrap(), true).await
    }

    pub(crate) async fn with(scratch: &Scratch, key: &[u8], idempotency: bool) -> Self {
        let database = Database::open(scratch.url()).await.unwrap();
        let options = Options { name: "test".to_owned(), key: key.to_vec(), idempotency, log: false };
        let metrics = Prometheus::with_recorder().0;
        let (builder, router) = application(&options, database.clone(), metrics).unwrap();
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        tokio::spawn(server.serve(router));
        // Each request once and as it is, so that what is answered is what is seen.
        let settings = ClientSettings::new().without_retry().without_breaker().without_deadline_header();
        let client = Client::builder().settings(settings).build().unwrap();
        Self { address, handle, database, client }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self.client.send(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (status, fields) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, fields, text: answer.text().await.unwrap() }
    }

    /// The same until it is not for now. Where others keep the processors busy, a password may take longer than a request may.
    pub(crate) async fn ask_again(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        for _ in 0..20 {
            let answer = self.ask(method, path, fields, body).await;
            if !matches!(answer.status, 503 | 504) {
                return answer;
            }
        }
        panic!("{method} {path} is not answered");
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    /// The token of the user of this number.
    pub(crate) async fn log_in(&self, user: usize) -> String {
        let (user, password) = DEMO_USERS[user];
        let credentials = json!({ "user": user, "password": password }).to_string();
        let answer =
            self.ask_again("POST", "/login", &[("content-type", "application/json")], &credentials).await;
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// An order with this key.
    pub(crate) async fn order(&self, token: &str, key: &str, order: &Value) -> Answer {
        let fields = [
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".to_owned()),
            ("idempotency-key", key.to_owned()),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask("POST", "/orders", &fields, &order.to_string()).await
    }

    pub(crate) async fn books(&self) -> Books {
        self.database.books().await.unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.handle.shut_down();
    }
}

// ───────────────────────────────────────────────────────────────────────────── programs of others

/// Whether there is this program; or the test fails, if none may be missing.
pub(crate) fn need(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let started =
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = started.is_ok_and(|status| status.success());
    if !is_there {
        assert!(
            std::env::var("STONEWORK_JUDGES").as_deref() != Ok("1"),
            "{program} {arguments:?} does not run, and nothing may be missing"
        );
        eprintln!("skipped: {program} {arguments:?} does not run");
    }
    is_there
}

/// A file of this package, or of the repository.
pub(crate) fn file(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}
