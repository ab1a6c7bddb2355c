//! From `bb8`: the manager keeps its shape, and what comes back unasked is not used again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bb8::ManageConnection;
use stonework::base::{BoxError, PoolClose};
use stonework::pool::{Manage, Pool, PoolSettings};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::kit::Verdict;
use crate::lines::{ALICE, BOB, Line, exchange, gives_up, serve};
use crate::stage::{chapter, scene};

/// Both managers: where the server is.
#[derive(Clone, Copy)]
struct Lines(SocketAddr);

impl ManageConnection for Lines {
    type Connection = Line;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Line> {
        Ok(BufReader::new(TcpStream::connect(self.0).await?))
    }

    async fn is_valid(&self, _: &mut Line) -> io::Result<()> {
        Ok(())
    }

    /// It looks well.
    fn has_broken(&self, _: &mut Line) -> bool {
        false
    }
}

impl Manage for Lines {
    type Object = Line;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Line> {
        Ok(BufReader::new(TcpStream::connect(self.0).await?))
    }
}

/// How long a caller waits for a connection.
const WAIT: Duration = Duration::from_millis(300);

async fn before(lines: Lines) -> Result<bb8::Pool<Lines>, BoxError> {
    Ok(bb8::Pool::builder().max_size(1).connection_timeout(WAIT).build(lines).await?)
}

fn after(lines: Lines) -> Result<Pool<Lines>, BoxError> {
    Ok(Pool::builder(lines).settings(PoolSettings::new().max(1).wait_timeout(WAIT)).name("lines").build()?)
}

async fn ask_before(pool: &bb8::Pool<Lines>, question: &str) -> Result<String, BoxError> {
    let mut line = pool.get().await?;
    Ok(exchange(&mut line, question).await?)
}

async fn ask_after(pool: &Pool<Lines>, question: &str) -> Result<String, BoxError> {
    // It goes back when this has come to its end, and only then.
    Ok(pool.with(async |line| exchange(line, question).await).await??)
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("bb8 → pool::Pool with the same connections");
    let (server, heard) = serve().await?;
    let lines = Lines(server);
    let (old, new) = (before(lines).await?, after(lines)?);

    scene("Alice asks for her balance and gives up before the answer comes; then Bob asks for his");
    gives_up(ask_before(&old, ALICE), &heard).await?;
    let one = ask_before(&old, BOB).await?;
    println!("    before  Bob is answered: {one}");
    gives_up(ask_after(&new, ALICE), &heard).await?;
    let two = ask_after(&new, BOB).await?;
    println!("    after   Bob is answered: {two}");
    verdict.claim(one == format!("of {ALICE}"), "before, with this manager, he is told hers");
    let closed = new.stats().closed(PoolClose::Dropped);
    verdict.claim(
        two == format!("of {BOB}") && closed == 1,
        "after, he is told his: what was given up in the middle is closed",
    );

    scene("one keeps the only connection, and another waits");
    let (old, new) = (before(lines).await?, after(lines)?);
    let (_kept, began) = (old.get().await?, Instant::now());
    let one = old.get().await.err().map(|error| error.to_string());
    println!("    before  after {:.0?}: {one:?}", began.elapsed());
    let (_kept, began) = (new.get().await?, Instant::now());
    let two = new.get().await.err();
    let waited = began.elapsed();
    println!("    after   after {waited:.0?}: {:?}", two.as_ref().map(|error| format!("{error:#}")));
    let same = one.is_some() && two.as_ref().is_some_and(|error| error.is_timeout()) && waited >= WAIT;
    verdict.claim(same, "both wait for as long as they were told, and say so");
    Ok(())
}
