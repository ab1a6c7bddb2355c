//! A tunnel through a proxy: `CONNECT` (RFC 9110, section 9.3.6).

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head::{self, MOST};
use super::proxy::Server;
use super::{ConnectError, Stream, Target};

/// Have `proxy`, which is at the other end of `io`, make a tunnel to `to`.
pub(super) async fn tunnel(proxy: &Server, to: &Target, mut io: Stream) -> Result<Stream, ConnectError> {
    let failed = |source| ConnectError::ProxyFailed { proxy: proxy.target.clone(), source };
    let request = request(proxy, to).map_err(failed)?;
    io.write_all(&request).await.map_err(failed)?;
    io.flush().await.map_err(failed)?;

    let mut read = Vec::with_capacity(1 << 10);
    // Of heads that came before the one that counts.
    let mut passed = 0;
    loop {
        match head::read(&read[passed..]).map_err(|flaw| failed(flaw.into()))? {
            Some((status, length)) if status.is_informational() && status.as_u16() != 101 => passed += length,
            Some((status, length)) if status.is_success() => {
                // It has no content, whatever it says of its length: what follows is from the other end of the tunnel.
                let early = Bytes::from(read).slice(passed + length..);
                return Ok(io.with_early(early));
            }
            Some((status, _)) => {
                return Err(ConnectError::ProxyRefused { proxy: proxy.target.clone(), status });
            }
            None => {
                let room = (MOST - read.len().min(MOST)) as u64;
                let some = (&mut io).take(room).read_buf(&mut read).await.map_err(failed)?;
                if some == 0 {
                    let flaw = if room == 0 {
                        head::Flaw::TooLong.into()
                    } else {
                        io::ErrorKind::UnexpectedEof.into()
                    };
                    return Err(failed(flaw));
                }
            }
        }
    }
}

fn request(proxy: &Server, to: &Target) -> io::Result<Vec<u8>> {
    // Whatever else stood there would be read as something else.
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:".contains(&byte);
    if to.host().is_empty() || !to.host().bytes().all(is_host) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the host is no name and no address"));
    }
    let authority = to.authority();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    Ok(request)
}
