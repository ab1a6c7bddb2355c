//! A bad line: it breaks every connection sooner or later, and of some it swallows the answers before.

use std::net::SocketAddr;
use std::time::Duration;

use stonework::base::{BoxError, Rng};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// No connection lives for longer.
const LIVES: Duration = Duration::from_millis(300);

/// Before this port. It lasts as long as the program.
pub(crate) async fn before(port: u16, rng: Rng) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (lives, is_mute) = (rng.duration_below(LIVES), rng.below(4) == 0);
            tokio::spawn(timeout(lives, pass(near, port, is_mute)));
        }
    });
    Ok(address)
}

/// Both ways, until either side ends; whoever waits for the rest sees a connection that has broken off.
async fn pass(mut near: TcpStream, port: u16, is_mute: bool) -> Result<(), BoxError> {
    let mut far = TcpStream::connect(("127.0.0.1", port)).await?;
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let back = async {
        if is_mute { copy(&mut from_far, &mut sink()).await } else { copy(&mut from_far, &mut to_near).await }
    };
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        _ = back => {}
    }
    Ok(())
}
