//! An answer as bytes, and back. Nothing here waits, locks or reads a clock.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};

/// The layout that is written. Whoever reads another one does not guess.
const VERSION: u8 = 1;

/// An answer that is kept: status, header fields, body and trailers. How it comes back is how it was, byte for byte.
///
/// Left out is what belongs to one connection or one moment: the fields that are hop-by-hop (RFC 9110, section 7.6.1) or named by `Connection`,
/// `Date`, and `Set-Cookie`, which is for the one who asked first. Extensions of the response are not kept either.
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use stonework::idempotency::Record;
///
/// let response = Response::builder().status(201).header("location", "/charges/7").header("set-cookie", "a=b");
/// let record = Record::new(&response.body(Bytes::from("charged")).unwrap());
/// let again = Record::decode(&record.encode()).unwrap().response();
/// assert_eq!((again.status().as_u16(), &again.headers()["location"]), (201, &"/charges/7".parse().unwrap()));
/// assert!(!again.headers().contains_key("set-cookie"));
/// assert_eq!(again.body(), "charged");
/// ```
///
/// Its `Debug` shows the status and sizes, and nothing of what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Record {
    /// Of an answer that is all there.
    #[must_use]
    pub fn new(response: &Response<Bytes>) -> Self {
        let headers = lasting(response.headers());
        Self { status: response.status(), headers, body: response.body().clone(), trailers: None }
    }

    /// The same, of its parts.
    pub(super) fn of(head: &Parts, body: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { status: head.status, headers: lasting(&head.headers), body, trailers }
    }

    /// With these fields behind its body.
    #[must_use]
    pub fn trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// The answer, but for its [trailers](Self::take_trailers).
    #[must_use]
    pub fn response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The fields behind its body, if it has some.
    pub const fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// As bytes, for a [`Store`](super::Store).
    ///
    /// They are, in this order, and numbers with the highest byte first: the version, 1, in one byte; the status in two; the header fields; the length
    /// of the body in four, and the body; 0, or 1 and the trailers. Fields are how many there are, in four bytes, and for each the length of its name in
    /// four, its name, the length of its value in four, and its value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let trailers = self.trailers.as_ref().map_or(0, size);
        let mut out = BytesMut::with_capacity(8 + size(&self.headers) + self.body.len() + trailers);
        out.put_u8(VERSION);
        out.put_u16(self.status.as_u16());
        put_fields(&mut out, &self.headers);
        put_part(&mut out, &self.body);
        out.put_u8(u8::from(self.trailers.is_some()));
        if let Some(trailers) = &self.trailers {
            put_fields(&mut out, trailers);
        }
        out.freeze()
    }

    /// What [`encode`](Self::encode) wrote, in this version of the crate or an earlier one. The body is not copied.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord`] for anything else, whoever wrote it.
    pub fn decode(bytes: &Bytes) -> Result<Self, InvalidRecord> {
        let mut rest = bytes.clone();
        match rest.try_get_u8() {
            Ok(VERSION) => {}
            Ok(version) => return Err(InvalidRecord::Version(version)),
            Err(_) => return Err(InvalidRecord::Malformed),
        }
        Self::first_version(&mut rest).filter(|_| rest.is_empty()).ok_or(InvalidRecord::Malformed)
    }

    fn first_version(rest: &mut Bytes) -> Option<Self> {
        let status = StatusCode::from_u16(rest.try_get_u16().ok()?).ok()?;
        let headers = fields(rest)?;
        let body = part(rest)?;
        let trailers = match rest.try_get_u8().ok()? {
            0 => None,
            1 => Some(fields(rest)?),
            _ => return None,
        };
        Some(Self { status, headers, body, trailers })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("status", &self.status)
            .field("fields", &self.headers.len())
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Bytes that are no [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// They cannot be read.
    #[error("a kept answer cannot be read")]
    Malformed,
    /// They were written by a later version of this crate.
    #[error("a kept answer is of version {0}, and this is version {VERSION}")]
    Version(u8),
}

/// Those that are the same for whoever asks, whenever.
fn lasting(headers: &HeaderMap) -> HeaderMap {
    // RFC 9110, section 7.6.1, and those that RFC 2616 had.
    const OF_A_HOP: [HeaderName; 9] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-connection"),
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is_named = |name: &HeaderName| named.iter().any(|word| word.eq_ignore_ascii_case(name.as_str()));
    let passes = |name: &HeaderName| {
        let of_the_moment = *name == header::DATE || *name == header::SET_COOKIE;
        !of_the_moment && !OF_A_HOP.contains(name) && !is_named(name)
    };
    let fields = headers.iter().filter(|(name, _)| passes(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn size(fields: &HeaderMap) -> usize {
    4 + fields.iter().map(|(name, value)| 8 + name.as_str().len() + value.len()).sum::<usize>()
}

fn put_fields(out: &mut BytesMut, fields: &HeaderMap) {
    out.put_u32(length(fields.len()));
    for (name, value) in fields {
        put_part(out, name.as_str().as_bytes());
        put_part(out, value.as_bytes());
    }
}

fn put_part(out: &mut BytesMut, part: &[u8]) {
    out.put_u32(length(part.len()));
    out.put_slice(part);
}

/// More than fits is more than any store holds; such a record is not read again, which is the safe way to fail.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn fields(rest: &mut Bytes) -> Option<HeaderMap> {
    let many = rest.try_get_u32().ok()?;
    let mut fields = HeaderMap::new();
    // No room is made for what was only announced.
    for _ in 0..many {
        let name = HeaderName::from_bytes(&part(rest)?).ok()?;
        let value = HeaderValue::from_maybe_shared(part(rest)?).ok()?;
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

fn part(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lines: &[(&'static str, &'static [u8])], body: &'static [u8]) -> Record {
        let mut response = Response::new(Bytes::from_static(body));
        for (name, value) in lines {
            response.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Record::new(&response)
    }

    #[test]
    fn what_was_encoded_comes_back_byte_for_byte() {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
        let odd = record(
            &[("x-odd", b"\xff\x80\t"), ("x-two", b"b"), ("x-two", b"a"), ("x-empty", b"")],
            b"\0\xff\n",
        );
        for record in [
            odd.clone(),
            odd.trailers(trailers),
            record(&[], b""),
            record(&[], b"").trailers(HeaderMap::new()),
        ] {
            let mut again = Record::decode(&record.encode()).unwrap();
            assert_eq!(again, record);
            assert_eq!(again.take_trailers(), record.trailers);
            let two: Vec<_> = again.headers.get_all("x-two").iter().collect();
            assert!(two.is_empty() || two == ["b", "a"]);
        }
    }

    #[test]
    fn what_belongs_to_a_connection_or_a_moment_is_not_kept() {
        let record = record(
            &[
                ("connection", b"close, X-Hop"),
                ("connection", b"x-other"),
                ("x-hop", b"1"),
                ("x-other", b"1"),
                ("keep-alive", b"timeout=5"),
                ("transfer-encoding", b"chunked"),
                ("trailer", b"x"),
                ("upgrade", b"h2c"),
                ("date", b"Sat, 21 Nov 2026 12:00:00 GMT"),
                ("set-cookie", b"a=b"),
                ("content-type", b"text/plain"),
            ],
            b"body",
        );
        let kept: Vec<_> = record.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(kept, ["content-type"]);
    }

    #[test]
    fn what_is_cut_off_or_goes_on_or_is_of_another_version_is_no_record() {
        let whole = record(&[("content-type", b"text/plain")], b"body").trailers(HeaderMap::new()).encode();
        for length in 0..whole.len() {
            let cut = whole.slice(..length);
            assert_eq!(Record::decode(&cut).unwrap_err(), InvalidRecord::Malformed, "{length}");
        }
        let longer = Bytes::from([&whole[..], b"\0"].concat());
        assert_eq!(Record::decode(&longer).unwrap_err(), InvalidRecord::Malformed);
        let mut newer = whole.to_vec();
        newer[0] = 2;
        assert_eq!(Record::decode(&newer.into()).unwrap_err(), InvalidRecord::Version(2));
    }

    #[test]
    fn a_record_is_laid_out_as_it_is_documented() {
        let record = record(&[("a", b"b")], b"cd");
        let expected = b"\x01\x00\xc8\0\0\0\x01\0\0\0\x01a\0\0\0\x01b\0\0\0\x02cd\0";
        assert_eq!(&record.encode()[..], expected, "records are read by later versions");
        assert!(!format!("{record:?}").contains("cd"));
    }

    #[test]
    fn room_is_made_for_as_much_as_is_written() {
        type Lines = &'static [(&'static str, &'static [u8])];
        const THREE: Lines = &[("x-two", b"bb"), ("x-two", b""), ("x", b"12345")];
        for lines in [&[], &THREE[..1], THREE] {
            let (fields, mut out) = (record(lines, b"").headers, BytesMut::new());
            put_fields(&mut out, &fields);
            assert_eq!(size(&fields), out.len());
        }
    }

    #[test]
    fn fields_without_end_are_refused_and_take_no_room() {
        let mut endless = BytesMut::from(&b"\x01\x00\xc8"[..]);
        endless.put_u32(u32::MAX);
        assert_eq!(Record::decode(&endless.clone().freeze()).unwrap_err(), InvalidRecord::Malformed);
        // As many as there can be, and then some: a map of fields has a limit of its own.
        for number in 0..100_000 {
            put_part(&mut endless, format!("x-{number}").as_bytes());
            put_part(&mut endless, b"");
        }
        assert_eq!(Record::decode(&endless.freeze()).unwrap_err(), InvalidRecord::Malformed);
    }
}
