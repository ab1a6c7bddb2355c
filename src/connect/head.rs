//! What did a proxy answer? Nothing here waits, locks or reads a clock.

use std::io;

use http::StatusCode;

/// The most that a proxy may say before there is a tunnel.
pub(super) const MOST: usize = 16 << 10;
/// The most fields of a head.
const FIELDS: usize = 100;

/// What cannot be the answer of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("its answer is no HTTP/1.1")]
    NoHttp,
    #[error("its answer has no end within {MOST} bytes")]
    TooLong,
}

impl From<Flaw> for io::Error {
    fn from(flaw: Flaw) -> Self {
        Self::new(io::ErrorKind::InvalidData, flaw)
    }
}

/// The status of the head at the beginning of these bytes, and how long it is; nothing, if it is not complete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(StatusCode, usize)>, Flaw> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let status = head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Flaw::NoHttp)?;
            Ok(Some((status, length)))
        }
        Ok(httparse::Status::Partial) if bytes.len() >= MOST => Err(Flaw::TooLong),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Flaw::TooLong),
        Err(_) => Err(Flaw::NoHttp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_wherever_it_is_cut() {
        let head = "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy.test\r\n\r\n";
        let whole = format!("{head}early");
        for cut in 0..whole.len() {
            let expected = (cut >= head.len()).then_some((StatusCode::OK, head.len()));
            assert_eq!(read(&whole.as_bytes()[..cut]), Ok(expected), "{cut}");
        }
        assert_eq!(read(b"HTTP/1.0 407 \r\n\r\n"), Ok(Some((StatusCode::PROXY_AUTHENTICATION_REQUIRED, 17))));
    }

    #[test]
    fn what_is_no_answer_or_never_ends_is_seen() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 200 x\r\na b: c\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(Flaw::NoHttp), "{text}");
        }
        let long = format!("HTTP/1.1 200 x\r\na: {}", "x".repeat(MOST));
        assert_eq!(read(long.as_bytes()), Err(Flaw::TooLong));
        assert_eq!(read(&long.as_bytes()[..MOST - 1]), Ok(None));
        let many = format!("HTTP/1.1 200 x\r\n{}", "a: b\r\n".repeat(FIELDS + 1));
        assert_eq!(read(many.as_bytes()), Err(Flaw::TooLong));
    }
}
