//! The small messages of `grpc.health.v1.Health`, as a server and as a client has them, and who is asked for. Nothing here waits, locks or reads a clock.

use bytes::Bytes;

use super::HealthStatus;
use crate::base::GrpcStatus;

/// Where all methods of the service are.
pub(super) const PREFIX: &str = "/grpc.health.v1.Health/";
/// The names that are known in every process, but for the empty one: as Kubernetes' gRPC probes can ask for them.
pub(super) const KNOWN: [&str; 3] = ["liveness", "readiness", "startup"];
/// The most of a request that is read: a name, and what a later version may add to it.
pub(super) const LARGEST: usize = 4096;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    Check,
    List,
    Watch,
}

impl Method {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "Check" => Some(Self::Check),
            "List" => Some(Self::List),
            "Watch" => Some(Self::Watch),
            _ => None,
        }
    }
}

/// Which of the answers a service name asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    Live,
    Ready,
    Started,
}

impl Of {
    /// The empty name stands for the whole server.
    pub(super) fn named<'a>(name: &str, mut services: impl Iterator<Item = &'a str>) -> Option<Self> {
        match name {
            "" | "readiness" => Some(Self::Ready),
            "liveness" => Some(Self::Live),
            "startup" => Some(Self::Started),
            name => services.any(|service| service == name).then_some(Self::Ready),
        }
    }

    pub(super) const fn serving(self, status: HealthStatus) -> Serving {
        let good = match self {
            Self::Live => status.live,
            Self::Ready => status.ready,
            Self::Started => status.started,
        };
        if good { Serving::Yes } else { Serving::No }
    }
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Serving {
    Yes = 1,
    No = 2,
    Unknown = 3,
}

impl Serving {
    /// A `HealthCheckResponse` in its frame.
    pub(super) const fn frame(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Yes => &[0, 0, 0, 0, 2, 8, 1],
            Self::No => &[0, 0, 0, 0, 2, 8, 2],
            Self::Unknown => &[0, 0, 0, 0, 2, 8, 3],
        })
    }
}

/// A `HealthListResponse` in its frame.
pub(super) fn list<'a>(services: impl Iterator<Item = (&'a str, Serving)>) -> Bytes {
    let mut message = vec![0; 5];
    for (name, serving) in services {
        let mut entry = vec![0x0a];
        length(&mut entry, name.len());
        entry.extend_from_slice(name.as_bytes());
        entry.extend_from_slice(&[0x12, 2, 8, serving as u8]);
        message.push(0x0a);
        length(&mut message, entry.len());
        message.extend_from_slice(&entry);
    }
    // The names are ours, of a bounded length each; four gigabytes of them do not fit a program.
    let size = u32::try_from(message.len() - 5).unwrap_or(u32::MAX);
    message[1..5].copy_from_slice(&size.to_be_bytes());
    message.into()
}

fn length(to: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        to.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
}

/// A `HealthCheckRequest` for this service in its frame.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = vec![0; 5];
    if !service.is_empty() {
        message.push(0x0a);
        length(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let size = u32::try_from(message.len() - 5).unwrap_or(u32::MAX);
    message[1..5].copy_from_slice(&size.to_be_bytes());
    message.into()
}

/// The service that a `HealthCheckRequest` in its frame asks for.
pub(super) fn asked_for(body: &[u8]) -> Result<&str, GrpcStatus> {
    let mut service: &[u8] = &[];
    fields(unframed(body)?, |field, value| {
        if let (1, Value::Bytes(bytes)) = (field, value) {
            service = bytes;
        }
    })?;
    std::str::from_utf8(service).map_err(|_| GrpcStatus::Internal)
}

/// The `ServingStatus` that a `HealthCheckResponse` in its frame says, by its number: 0, if it says none.
pub(super) fn serving(body: &[u8]) -> Result<u64, GrpcStatus> {
    let mut status = 0;
    fields(unframed(body)?, |field, value| {
        if let (1, Value::Number(number)) = (field, value) {
            status = number;
        }
    })?;
    Ok(status)
}

/// What a field of a message has, as far as it matters here.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Each field of a message in turn: its number and what it has.
fn fields<'a>(mut message: &'a [u8], mut found: impl FnMut(u64, Value<'a>)) -> Result<(), GrpcStatus> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match (tag >> 3, tag & 7) {
            (0, _) => return Err(GrpcStatus::Internal),
            (_, 0) => Value::Number(varint(&mut message)?),
            (_, 1) => take(&mut message, 8).map(|_| Value::Other)?,
            (_, 2) => Value::Bytes(delimited(&mut message)?),
            (_, 5) => take(&mut message, 4).map(|_| Value::Other)?,
            _ => return Err(GrpcStatus::Internal),
        };
        found(tag >> 3, value);
    }
    Ok(())
}

/// The one message of a request or an answer.
pub(super) fn unframed(body: &[u8]) -> Result<&[u8], GrpcStatus> {
    let mut rest = body;
    let head = take(&mut rest, 5)?;
    let size = head[1..].iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    match head[0] {
        0 if size == rest.len() as u64 => Ok(rest),
        // Nobody told the client that it may compress.
        1 => Err(GrpcStatus::Unimplemented),
        _ => Err(GrpcStatus::Internal),
    }
}

fn delimited<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], GrpcStatus> {
    let size = varint(from)?;
    take(from, usize::try_from(size).map_err(|_| GrpcStatus::Internal)?)
}

fn varint(from: &mut &[u8]) -> Result<u64, GrpcStatus> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(GrpcStatus::Internal)
}

fn take<'a>(from: &mut &'a [u8], size: usize) -> Result<&'a [u8], GrpcStatus> {
    let (taken, rest) = from.split_at_checked(size).ok_or(GrpcStatus::Internal)?;
    *from = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
    }

    #[test]
    fn the_name_is_read_and_what_is_not_known_is_skipped() {
        assert_eq!(asked_for(&framed(b"")), Ok(""));
        assert_eq!(asked_for(&framed(b"\x0a\x01a")), Ok("a"));
        assert_eq!(asked_for(&framed(b"\x0a\x01a\x0a\x02bc")), Ok("bc"), "the last one counts");
        let unknown = b"\x10\xff\x01\x19\0\0\0\0\0\0\0\0\x22\x03xyz\x2d\0\0\0\0\x0a\x01a\x82\x01\x01q";
        assert_eq!(asked_for(&framed(unknown)), Ok("a"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for broken in [
            &b"\x0a"[..],
            b"\x0a\x02a",
            b"\x0a\x01\xff",
            b"\x0b\x0c",
            b"\x02\x00",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(asked_for(&framed(broken)), Err(GrpcStatus::Internal), "{broken:?}");
        }
        for frame in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x01", b"\0\0\0\0\0x", b"\x02\0\0\0\0"] {
            assert_eq!(asked_for(frame), Err(GrpcStatus::Internal), "{frame:?}");
        }
        assert_eq!(asked_for(b"\x01\0\0\0\0"), Err(GrpcStatus::Unimplemented), "compressed");
    }

    #[test]
    fn what_is_asked_is_understood_and_so_is_the_answer() {
        let long = "x".repeat(300);
        for name in ["", "a", "orders.v1.Orders", &long] {
            assert_eq!(asked_for(&request(name)), Ok(name));
        }
        for (answer, number) in [(Serving::Yes, 1), (Serving::No, 2), (Serving::Unknown, 3)] {
            assert_eq!(serving(&answer.frame()), Ok(number));
        }
        assert_eq!(serving(&framed(b"")), Ok(0), "the default is not sent");
        assert_eq!(serving(&framed(b"\x08\x01\x08\x02\x12\x01x")), Ok(2), "the last one counts");
        for broken in [&b""[..], b"\0\0\0\0\x02\x08", b"\0\0\0\0\x01\x08"] {
            assert_eq!(serving(broken), Err(GrpcStatus::Internal), "{broken:?}");
        }
    }

    #[test]
    fn a_list_is_a_map_of_names() {
        let list = list([("", Serving::Yes), ("a.B", Serving::No)].into_iter());
        assert_eq!(
            list,
            &b"\0\0\0\0\x13\x0a\x06\x0a\0\x12\x02\x08\x01\x0a\x09\x0a\x03a.B\x12\x02\x08\x02"[..]
        );
        let mut long = Vec::new();
        length(&mut long, 300);
        assert_eq!(long, [0xac, 0x02]);
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            for body in [&body[..], &framed(&body)] {
                let _ = asked_for(body);
                let _ = serving(body);
            }
        }
    }
}
