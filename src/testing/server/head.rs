use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};

/// The longest head that is read, in bytes.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) raw: Bytes,
    pub(super) framing: Framing,
}

/// How the end of the request body is found. RFC 9112 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
}

/// Takes one head off the front of `buffer`. `None` asks for more bytes.
pub(super) fn take_head(buffer: &mut BytesMut) -> Result<Option<Head>, String> {
    // RFC 9112 §2.2: empty lines before a request line are skipped.
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        if buffer.len() > LONGEST_HEAD {
            return Err(format!("a head of more than {LONGEST_HEAD} bytes"));
        }
        return Ok(None);
    };
    let raw = buffer.split_to(end + 4).freeze();
    parse(raw).map(Some)
}

fn parse(raw: Bytes) -> Result<Head, String> {
    let text = text(&raw);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(format!("not a request line: {first:?}"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(format!("not HTTP/1: {first:?}"));
    }
    let method = method.parse().map_err(|_| format!("not a method: {first:?}"))?;
    // As it was sent; elsewhere characters are bytes.
    let target: Vec<u8> = target.chars().filter_map(|char| u8::try_from(char).ok()).collect();
    let target = String::from_utf8_lossy(&target).into_owned();

    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = header_line(line)?;
        headers.append(name, value);
    }
    let framing = framing(&headers)?;
    Ok(Head { method, target, headers, raw, framing })
}

/// As many characters as there are bytes: a field's value may have any above 127 (RFC 9110 §5.5).
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

pub(super) fn header_line(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let bad = || format!("not a header line: {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(bad)?;
    let name = name.parse().map_err(|_| bad())?;
    let value: Option<Vec<u8>> =
        value.trim_matches([' ', '\t']).chars().map(|char| u8::try_from(char).ok()).collect();
    let value = HeaderValue::from_bytes(&value.ok_or_else(bad)?).map_err(|_| bad())?;
    Ok((name, value))
}

fn framing(headers: &HeaderMap) -> Result<Framing, String> {
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) {
            return Err("both transfer-encoding and content-length".to_owned());
        }
        return codings_end_in_chunked(headers).map(|()| Framing::Chunked);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(Framing::Length(0)) };
    if lengths.next().is_some() {
        return Err("more than one content-length".to_owned());
    }
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok());
    length.map(Framing::Length).ok_or_else(|| "a content-length that is no number".to_owned())
}

/// The codings of all fields are one list, at whose end and nowhere else stands `chunked` (RFC 9112 §6.1).
fn codings_end_in_chunked(headers: &HeaderMap) -> Result<(), String> {
    let fields = headers.get_all(TRANSFER_ENCODING).iter().map(|field| text(field.as_bytes()));
    let list = fields.collect::<Vec<_>>().join(", ").to_ascii_lowercase();
    let mut codings = list.split(',').map(str::trim).filter(|coding| !coding.is_empty()).rev();
    if codings.next() == Some("chunked") && codings.all(|coding| coding != "chunked") {
        Ok(())
    } else {
        Err(format!("transfer-encoding {list:?} does not end in chunked, once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, String> {
        take_head(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_taken_off_the_front_and_the_rest_stays() {
        let mut buffer = BytesMut::from("\r\nPUT /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        let head = take_head(&mut buffer).expect("valid").expect("whole");
        assert_eq!((head.method, head.target.as_str()), (Method::PUT, "/a?b"));
        assert_eq!(
            (head.framing, &head.headers["host"]),
            (Framing::Length(3), &HeaderValue::from_static("x"))
        );
        assert!(head.raw.starts_with(b"PUT /a?b HTTP/1.1\r\nHost: x\r\n"));
        assert_eq!(&buffer[..], b"abc");
    }

    #[test]
    fn a_part_of_a_head_asks_for_more() {
        assert!(head("GET / HTTP/1.1\r\nHost: x\r\n").expect("so far valid").is_none());
    }

    #[test]
    fn what_is_not_http_1_is_refused_with_the_line_that_says_so() {
        for (text, reason) in [
            ("hello\r\n\r\n", "not a request line: \"hello\""),
            ("PRI * HTTP/2.0\r\n\r\n", "not HTTP/1: \"PRI * HTTP/2.0\""),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "not a header line: \"no colon\""),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "a content-length that is no number"),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                "more than one content-length",
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "both transfer-encoding and content-length",
            ),
        ] {
            assert_eq!(head(text).expect_err("refused"), reason, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_a_value_all_the_same() {
        let mut buffer = BytesMut::from(&b"GET / HTTP/1.1\r\nx-name: caf\xe9\r\n\r\n"[..]);
        let head = take_head(&mut buffer).expect("valid").expect("whole");
        assert_eq!(head.headers["x-name"].as_bytes(), b"caf\xe9");
    }

    #[test]
    fn a_body_is_chunked_where_that_is_the_last_coding_of_all_fields() {
        for (fields, is_chunked) in [
            (&["chunked"][..], true),
            (&["gzip, Chunked"], true),
            (&["gzip", "chunked"], true),
            (&["chunked", "gzip"], false),
            (&["chunked", "chunked"], false),
            (&["xchunked"], false),
            (&[""], false),
        ] {
            let fields: String =
                fields.iter().map(|field| format!("Transfer-Encoding: {field}\r\n")).collect();
            let head = head(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
            let framing = head.map(|head| head.expect("whole").framing);
            assert_eq!(framing == Ok(Framing::Chunked), is_chunked, "{fields:?} {framing:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused() {
        let endless = "x".repeat(LONGEST_HEAD + 1);
        assert!(head(&endless).expect_err("refused").starts_with("a head of more than"));
    }
}
