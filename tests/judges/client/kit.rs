//! Callers, what became of their calls, and the programs that they call.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use stonework::base::Delivery;
use stonework::client::{Client, ClientSettings, Response};
use stonework::connect::{ClientTls, Connector};
use stonework::{Body, Error};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// ───────────────────────────────────────────────────────────────────────────── programs

/// A folder for what a program reads and writes.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("stonework-client-{}-{}", std::process::id(), next(&NEXT));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path is text").to_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program with children of its own, which is told to end: killed, it would leave them behind.
pub(super) struct Program(Child);

impl Program {
    pub(super) fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(super) fn signal(&self, signal: &str) {
        if let Some(id) = self.0.id() {
            let _ = std::process::Command::new("kill").args([format!("-{signal}"), id.to_string()]).status();
        }
    }

    pub(super) async fn end(&mut self, signal: &str) {
        self.signal(signal);
        timeout(PATIENCE, self.0.wait()).await.expect("it should end").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal("TERM");
    }
}

/// Two ports that nobody listens on.
pub(super) fn free_ports() -> (u16, u16) {
    // Both at once, or they might be the same.
    let [one, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    (one.local_addr().unwrap().port(), other.local_addr().unwrap().port())
}

/// Wait until somebody listens there.
pub(super) async fn listens(port: u16) {
    let there = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(ms(5)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("it should listen");
}

// ───────────────────────────────────────────────────────────────────────────── clients

/// A certificate for this machine, for which only itself vouches.
pub(super) struct Certificate {
    cert: String,
    key: String,
}

impl Certificate {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// As `cert.pem` and `key.pem`, and both as `both.pem`.
    pub(super) fn put_into(&self, folder: &Folder) {
        folder.write("cert.pem", &self.cert);
        folder.write("key.pem", &self.key);
        folder.write("both.pem", &format!("{}{}", self.cert, self.key));
    }

    pub(super) fn client(&self, settings: ClientSettings) -> Client {
        let tls = ClientTls::new().roots_pem(self.cert.as_bytes()).unwrap();
        let connector = Connector::builder().tls(tls).build().unwrap();
        Client::builder().settings(settings).connector(connector).build().unwrap()
    }
}

/// A client for each way to speak to a server that has a port without TLS and one with it.
pub(super) fn clients(
    certificate: &Certificate,
    settings: &ClientSettings,
    (plain, tls): (u16, u16),
) -> Vec<(&'static str, Client, String)> {
    let client = |settings| certificate.client(settings);
    vec![
        ("1.1", client(settings.clone()), format!("http://127.0.0.1:{plain}")),
        ("1.1 over TLS", client(settings.clone().http1_only()), format!("https://127.0.0.1:{tls}")),
        ("2 over TLS", client(settings.clone()), format!("https://127.0.0.1:{tls}")),
    ]
}

// ───────────────────────────────────────────────────────────────────────────── callers

/// What became of the calls of many callers.
#[derive(Debug, Default)]
pub(super) struct Calls {
    reads: usize,
    /// The GETs that failed.
    failed: Vec<String>,
    /// Each POST: its name, and how far it got if it failed.
    works: Vec<(String, Option<Delivery>)>,
    /// What their callers were told.
    told: Vec<String>,
}

/// Call through each of these clients from so many tasks for so long: GETs, and POSTs without a key, with a pause of up to so much
/// between two calls.
pub(super) async fn calls(
    clients: Vec<(&'static str, Client, String)>,
    callers: usize,
    pauses: Duration,
    time: Duration,
) -> Vec<(&'static str, Calls)> {
    let over = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for (name, client, url) in clients {
        for nth in 0..callers {
            let (client, url, over) = (client.clone(), url.clone(), Arc::clone(&over));
            running.push((name, tokio::spawn(caller(client, url, nth, pauses, over))));
        }
    }
    sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut all: Vec<(&str, Calls)> = Vec::new();
    for (name, caller) in running {
        let made = timeout(PATIENCE, caller).await.expect("every call ends").unwrap();
        match all.last_mut() {
            Some((last, calls)) if *last == name => calls.add(made),
            _ => all.push((name, made)),
        }
    }
    all
}

async fn caller(client: Client, url: String, nth: usize, pauses: Duration, over: Arc<AtomicBool>) -> Calls {
    let mut calls = Calls::default();
    let mut dice = nth as u64 + 1;
    while !over.load(Ordering::Relaxed) {
        calls.get(&client, &url).await;
        sleep(pause(&mut dice, pauses)).await;
        calls.post(&client, &url).await;
        sleep(pause(&mut dice, pauses)).await;
    }
    calls
}

/// Another one each time, and the same in each run (Knuth's multiplier for 64 bits).
fn pause(dice: &mut u64, most: Duration) -> Duration {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    most.mul_f64((*dice >> 33) as f64 / (1_u64 << 31) as f64)
}

impl Calls {
    pub(super) async fn get(&mut self, client: &Client, url: &str) {
        self.reads += 1;
        match content(client.get(format!("{url}/")).send().await).await {
            Ok(text) if text == "hello" => {}
            Ok(text) => self.failed.push(text),
            Err(error) => self.failed.push(format!("{:?} {error:#}", error.delivery())),
        }
    }

    /// How far it got, if it failed.
    pub(super) async fn post(&mut self, client: &Client, url: &str) -> Option<Delivery> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let work = format!("work-{}", next(&NEXT));
        let request = client.post(format!("{url}/")).header("x-work", work.clone()).body(Body::from("work"));
        let error = content(request.send().await).await.err();
        self.told.extend(error.as_ref().map(|error| format!("{error:#}")));
        let far = error.map(|error| error.delivery());
        self.works.push((work, far));
        far
    }

    pub(super) fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.failed.extend(other.failed);
        self.works.extend(other.works);
        self.told.extend(other.told);
    }

    /// How many POSTs failed of which nobody knows whether they were received.
    pub(super) fn unknown(&self) -> usize {
        self.works.iter().filter(|(_, far)| *far == Some(Delivery::Unknown)).count()
    }

    /// Compares what was told with what the server has done: what has an answer was done once, what was not sent or was refused was not
    /// done, and what nobody knows was done once at most.
    #[track_caller]
    pub(super) fn check_told(&self, what: &str, done: &Done) {
        eprintln!("{what}: {} GETs, {} POSTs, {} unknown", self.reads, self.works.len(), self.unknown());
        for (work, far) in &self.works {
            let times = done.times(work);
            let truly = match far {
                None => times == 1,
                Some(Delivery::NotSent | Delivery::Refused) => times == 0,
                Some(_) => times <= 1,
            };
            assert!(truly, "{what}: {work} {far:?} was done {times} times");
        }
        assert!(!self.works.is_empty(), "{what}: there was something to do");
    }

    /// And where calls are tried again: no GET fails, and no POST but those of which nobody knows whether they were done.
    #[track_caller]
    pub(super) fn check(&self, what: &str, done: &Done) {
        self.check_told(what, done);
        assert!(self.failed.is_empty(), "{what}: {} GETs failed: {:?}", self.failed.len(), self.failed[0]);
        for (work, far) in &self.works {
            assert!(matches!(far, None | Some(Delivery::Unknown)), "{what}: {work} {far:?} was given up");
        }
    }

    /// The same where every call has to succeed.
    #[track_caller]
    pub(super) fn check_all(&self, what: &str, done: &Done) {
        self.check(what, done);
        assert_eq!(self.unknown(), 0, "{what}: no POST is lost, and these are: {:?}", self.told);
    }
}

/// The text of an answer with 200.
async fn content(answer: Result<Response, Error>) -> Result<String, Error> {
    let answer = answer?;
    let status = answer.status();
    assert_eq!(status, 200, "{}", answer.text().await?);
    answer.text().await
}

/// How often a server has done each piece of work.
#[derive(Clone, Debug, Default)]
pub(super) struct Done(HashMap<String, usize>);

impl Done {
    /// From a file with the name of a piece of work at the beginning of each line.
    pub(super) fn written(file: impl AsRef<Path>) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self::of(text.lines().filter_map(|line| line.split(' ').next()))
    }

    pub(super) fn of<'a>(works: impl IntoIterator<Item = &'a str>) -> Self {
        let mut done = HashMap::new();
        for work in works {
            *done.entry(work.to_owned()).or_default() += 1;
        }
        Self(done)
    }

    pub(super) fn times(&self, work: &str) -> usize {
        self.0.get(work).copied().unwrap_or_default()
    }
}

fn next(counter: &AtomicUsize) -> usize {
    counter.fetch_add(1, Ordering::Relaxed)
}
