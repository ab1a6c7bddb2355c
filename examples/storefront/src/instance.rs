//! An instance of the application server as a process of its own: from within, [`run`], and for those who start, kill and stop it,
//! [`Instance`].

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use stonework::base::BoxError;
use stonework::observe::Prometheus;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::{Database, Options, application};

/// In which variables of its environment a process finds what must not stand in its command line, which everybody on the machine can read.
const DATABASE: &str = "DATABASE_URL";
const KEY: &str = "STOREFRONT_KEY";

/// To begin and to end: tables are made, four passwords hashed, and what was begun is finished.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process that [`Instance::start`] starts. It says in a line where it listens, serves until it is told to stop or whoever started it is gone,
/// and says in another line how that went.
///
/// # Errors
///
/// If it cannot begin.
pub async fn run(name: &str, address: &str, idempotency: bool) -> Result<(), BoxError> {
    let key = from_hex(&std::env::var(KEY)?).ok_or("the key is not in hexadecimal digits")?;
    let options = Options { name: name.to_owned(), key, idempotency, log: false };
    let database = Database::open(&std::env::var(DATABASE)?).await?;
    let (builder, router) = application(&options, database, Prometheus::install()?)?;
    let server = builder.stop_on_signals().bind(address).await?;
    println!("{}", server.local_addr());
    let report = server.serve_until(router, let_go()).await;
    // Whoever started it may be gone, and nobody hears it then.
    let _ = writeln!(io::stdout(), "{} {}", report.finished, report.aborted + report.detached as u64);
    Ok(())
}

/// Done when nobody holds the other end of our input. So no instance outlives who started it, however that ends.
async fn let_go() {
    let (tell, told) = oneshot::channel::<()>();
    // A thread, and no task: one that reads would keep the runtime from ending.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(tell);
    });
    let _ = told.await;
}

/// What instances have in common, which makes them one shop.
#[derive(Clone)]
pub struct Setup {
    /// What is started.
    pub program: PathBuf,
    /// Their database.
    pub database: String,
    /// What all of them sign tokens with.
    pub key: Vec<u8>,
    /// Whether keys are of account.
    pub idempotency: bool,
}

/// An instance, seen from outside.
#[derive(Debug)]
pub struct Instance {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    name: String,
    address: SocketAddr,
}

impl Instance {
    /// Here; port 0 is any.
    ///
    /// # Errors
    ///
    /// If it does not begin in time.
    pub async fn start(setup: &Setup, name: &str, address: &str) -> Result<Self, BoxError> {
        let mut process = Command::new(&setup.program)
            .args(["server", name, address])
            .args(if setup.idempotency { None } else { Some("--without-idempotency") })
            .env(DATABASE, &setup.database)
            .env(KEY, to_hex(&setup.key))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut said = BufReader::new(process.stdout.take().ok_or("it has an output")?).lines();
        let line = timeout(PATIENCE, said.next_line()).await??.ok_or("the instance did not begin")?;
        Ok(Self { process, said, name: name.to_owned(), address: line.parse()? })
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the system calls it.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process.id()
    }

    /// In the middle of whatever it does, with SIGKILL; and begin anew in the same place.
    ///
    /// # Errors
    ///
    /// If it does not begin in time.
    pub async fn kill_and_restart(&mut self, setup: &Setup) -> Result<(), BoxError> {
        self.process.kill().await?;
        *self = Self::start(setup, &self.name, &self.address.to_string()).await?;
        Ok(())
    }

    /// Let it finish what it has begun, and begin anew in the same place.
    ///
    /// # Errors
    ///
    /// If it does not end well, or begin, in time.
    pub async fn restart(&mut self, setup: &Setup) -> Result<Ending, BoxError> {
        let ending = self.end().await?;
        *self = Self::start(setup, &self.name, &self.address.to_string()).await?;
        Ok(ending)
    }

    /// Let it finish what it has begun.
    ///
    /// # Errors
    ///
    /// If it does not end well, and in time.
    pub async fn stop(mut self) -> Result<Ending, BoxError> {
        self.end().await
    }

    async fn end(&mut self) -> Result<Ending, BoxError> {
        drop(self.process.stdin.take());
        let said = timeout(PATIENCE, self.said.next_line()).await??.ok_or("it said nothing")?;
        let status = timeout(PATIENCE, self.process.wait()).await??;
        if !status.success() {
            return Err(format!("it ended with {status}").into());
        }
        let (finished, cut_off) = said.split_once(' ').ok_or("it said something else")?;
        Ok(Ending { finished: finished.parse()?, cut_off: cut_off.parse()? })
    }
}

/// What became of the requests that an instance had when it was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// They were answered.
    pub finished: u64,
    /// They were not, though there were ten seconds for it.
    pub cut_off: u64,
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
