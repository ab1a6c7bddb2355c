use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How an HTTP/2 client begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is known which HTTP the client speaks: the preface of HTTP/2, or the first byte that is not of it.
/// Nothing, if the client says nothing and leaves.
///
/// Hyper's own detection has no limit of time, and a client that says nothing would be waited for until the end of
/// days. Read here, that wait is the caller's to limit.
pub(super) async fn greeting(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut first = [0; PREFACE.len()];
    let mut read = 0;
    while read < PREFACE.len() && first[..read] == PREFACE[..read] {
        match client.read(&mut first[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(Bytes::copy_from_slice(&first[..read]))
}

/// What a client says next, however little that is. Nothing, if it leaves.
pub(super) async fn next_bytes(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut next = [0; PREFACE.len()];
    let read = client.read(&mut next).await?;
    Ok(Bytes::copy_from_slice(&next[..read]))
}

/// Whether that is how an HTTP/2 client begins.
pub(super) fn is_http2(greeting: &[u8]) -> bool {
    greeting == PREFACE
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn left_of(mut sent: &[u8]) -> (Bytes, usize) {
        (greeting(&mut sent).await.unwrap(), sent.len())
    }

    #[tokio::test]
    async fn the_first_byte_that_is_not_of_the_preface_ends_the_greeting() {
        assert_eq!(left_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore").await, (Bytes::from_static(PREFACE), 4));
        assert_eq!(left_of(b"GET /").await, ("GET /".into(), 0));
        assert_eq!(left_of(b"").await, (Bytes::new(), 0));
        // A method that begins like the preface, one byte at a time.
        let mut slow = in_two(b"P", b"UT / HTTP/1.1");
        assert_eq!(greeting(&mut slow).await.unwrap(), "PUT / HTTP/1.1");
    }

    fn in_two(first: &'static [u8], second: &'static [u8]) -> impl AsyncRead + Unpin {
        first.chain(second)
    }
}
