//! A server of PostgreSQL that is ours alone: in a folder and on a port of its own, stopped and removed when it is dropped.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use stonework::base::{Backoff, Jitter};
use stonework::pool::{Pool, PoolSettings};
use stonework_databases::{Postgres, Session};
use tokio::time::{Instant, sleep};

/// Nothing takes longer, unless it waits for something that does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// None, if PostgreSQL is not installed, which is said; or the test fails, if nothing may be missing.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("stonework-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Self { programs, folder, port };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&server.folder));
        }
        run(server.program("initdb").args([
            "--auth=trust",
            "--username=postgres",
            "--no-sync",
            "--no-locale",
        ]));
        Some(server)
    }

    /// One that runs, for all tests that leave it running.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::new()?);
        server.start();
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    pub(crate) fn start(&self) {
        let folder = self.folder.display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB -c max_connections=60",
            self.port
        );
        let log = self.folder.join("log");
        run(self.program("pg_ctl").args(["--wait", "--silent", "start", "-o", &options, "-l"]).arg(log));
    }

    /// Those who are connected are cut off.
    pub(crate) fn stop(&self) {
        run(self.program("pg_ctl").args(["--wait", "--silent", "stop", "-m", "fast"]));
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        // It does not run as root.
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(self.folder.join("data")).current_dir("/");
        command
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?connect_timeout=5", self.port)
    }

    /// Sessions under this name.
    pub(crate) fn manager(&self, name: &str) -> Postgres {
        Postgres::new(&self.url()).unwrap().named(name)
    }

    /// A session that belongs to no pool.
    pub(crate) async fn aside(&self) -> Session {
        use stonework::pool::Manage;
        self.manager("aside").connect().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As far as it goes: this may be a panic, and it may be down.
        let _ =
            quiet(self.program("pg_ctl").args(["--wait", "--silent", "stop", "-m", "immediate"])).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian's of the highest version, else those that are found.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = debian
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, path)| path.join("initdb").exists())
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = || std::env::split_paths(&path).find(|path| path.join("initdb").exists());
    let found = versions.pop().map(|(_, path)| path).or_else(elsewhere);
    if found.is_none() {
        assert!(
            std::env::var("STONEWORK_JUDGES").as_deref() != Ok("1"),
            "there is no PostgreSQL, and none may be missing"
        );
        eprintln!("skipped: there is no PostgreSQL");
    }
    found
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|this| this.uid() == 0)
}

/// A server inherits what its starter has, and would keep a pipe open.
fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn run(command: &mut Command) {
    let status = quiet(command).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

// ───────────────────────────────────────────────────────────────────────────── pools

pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// Settings that tests can wait for.
pub(crate) fn settings(max: usize) -> PoolSettings {
    let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_millis(200)).unwrap();
    PoolSettings::new().max(max).wait_timeout(WAIT).backoff(backoff.jitter(Jitter::Equal))
}

pub(crate) fn pool(server: &Server, name: &str, settings: PoolSettings) -> Pool<Postgres> {
    Pool::builder(server.manager(name)).settings(settings).name(name).build().unwrap()
}

/// As many as the pool may have can be had at once, and no more are open.
pub(crate) async fn is_whole(pool: &Pool<Postgres>) {
    let mut held = Vec::new();
    for _ in 0..pool.stats().max() {
        held.push(pool.get().await.unwrap());
    }
    assert!(pool.try_get().is_none());
    assert_eq!(pool.stats().open(), pool.stats().max());
    for session in &held {
        assert_eq!(session.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    }
    held.into_iter().for_each(stonework::pool::Pooled::put_back);
    assert_eq!(pool.stats().in_use(), 0);
}

/// How many sessions of this name the server has.
pub(crate) async fn sessions(aside: &Session, name: &str) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    aside.query_one(count, &[&name]).await.unwrap().get(0)
}

/// Until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
