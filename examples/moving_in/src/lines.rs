//! A server that answers questions over a line, one after the other, as a database does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stonework::base::BoxError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

/// To such a server.
pub(crate) type Line = BufReader<TcpStream>;

pub(crate) async fn exchange(line: &mut Line, question: &str) -> io::Result<String> {
    line.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    line.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

/// How long the server thinks.
const THINKS: Duration = Duration::from_millis(50);

/// And when it has heard Alice.
pub(crate) async fn serve() -> io::Result<(SocketAddr, Arc<Notify>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, heard) = (listener.local_addr()?, Arc::new(Notify::new()));
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut line, hears) = (BufReader::new(stream), Arc::clone(&hears));
            tokio::spawn(async move {
                let mut question = String::new();
                while line.read_line(&mut question).await? > 0 {
                    if question.starts_with(ALICE) {
                        hears.notify_one();
                    }
                    sleep(THINKS).await;
                    line.write_all(format!("of {question}").as_bytes()).await?;
                    question.clear();
                }
                io::Result::Ok(())
            });
        }
    });
    Ok((address, heard))
}

pub(crate) const ALICE: &str = "Alice's balance";
pub(crate) const BOB: &str = "Bob's balance";

/// She is gone as soon as the server has heard her.
pub(crate) async fn gives_up(
    asking: impl Future<Output = Result<String, BoxError>>,
    heard: &Notify,
) -> Result<(), BoxError> {
    tokio::select! {
        biased;
        () = heard.notified() => Ok(()),
        answer = asking => Err(format!("there was an answer already: {answer:?}").into()),
    }
}
