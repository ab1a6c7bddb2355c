use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use tokio::time::Instant;

use super::{Resolve, Resolved};
use crate::base::{Alarm, Error, Kind};

/// How long the addresses of one family wait for those of the other (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Asks name servers itself, with [hickory](https://docs.rs/hickory-resolver): it knows how long an answer is good for, waits in no thread, and
/// reads none of the system's other sources but the file of hosts.
///
/// For addresses of both families it asks at once; when one is answered, the other has 50 ms more, and what is not whole then is good for
/// a second. IPv6 goes first.
///
/// ```
/// use stonework::connect::{Connector, HickoryResolver};
///
/// // Another one than the machine is set to.
/// let resolver = HickoryResolver::with_name_servers([([192, 0, 2, 53], 53).into()])?;
/// let connector = Connector::builder().resolver(resolver).build()?;
/// # let _ = connector;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HickoryResolver {
    resolver: TokioResolver,
}

impl HickoryResolver {
    /// With the name servers of the system, as in `/etc/resolv.conf`, which is read now.
    ///
    /// ```no_run
    /// use stonework::connect::{Connector, HickoryResolver};
    ///
    /// let connector = Connector::builder().resolver(HickoryResolver::from_system()?).build()?;
    /// # let _ = connector;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub fn from_system() -> Result<Self, Error> {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            configure(builder.options_mut());
            builder.build()
        });
        built.map(|resolver| Self { resolver }).map_err(invalid)
    }

    /// With these name servers, over UDP and, where an answer is too long for that, TCP. Names are asked for as they are, with nothing
    /// appended.
    ///
    /// # Errors
    ///
    /// If hickory refuses them.
    pub fn with_name_servers(servers: impl IntoIterator<Item = SocketAddr>) -> Result<Self, Error> {
        let servers = servers.into_iter().map(|server| {
            let at_its_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_its_port);
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        configure(builder.options_mut());
        builder.build().map(|resolver| Self { resolver }).map_err(invalid)
    }

    async fn ask(&self, host: &str, family: RecordType) -> Result<Resolved, NetError> {
        let found = match self.resolver.lookup(host, family).await {
            // The name is there, with addresses of the other family or none at all.
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => {
                return Ok(Resolved::new([]));
            }
            found => found?,
        };
        let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
        // An alias on the way there may end earlier than the address.
        let ttl = found.answers().iter().map(|record| record.ttl).min();
        let ttl = ttl.map(|secs| Duration::from_secs(secs.into()));
        Ok(Resolved { ttl, ..Resolved::new(addresses) })
    }
}

fn configure(options: &mut ResolverOpts) {
    // What was answered is remembered by whoever asks.
    options.cache_size = 0;
}

fn invalid(error: NetError) -> Error {
    Error::new(Kind::Invalid, error)
}

impl Resolve for HickoryResolver {
    async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
        let (v6, v4) = (self.ask(host, RecordType::AAAA), self.ask(host, RecordType::A));
        put_together(both(v6, v4).await).map_err(|error| Error::new(Kind::Connect, error))
    }
}

/// What both say; nothing of one that had the resolution delay after the other found something, and said nothing.
async fn both<E>(
    one: impl Future<Output = Result<Resolved, E>>,
    other: impl Future<Output = Result<Resolved, E>>,
) -> [Option<Result<Resolved, E>>; 2] {
    let (mut one, mut other, mut alarm) = (pin!(one), pin!(other), pin!(Alarm::new()));
    let mut said = [None, None];
    let mut until = None;
    poll_fn(move |cx| {
        let [first, second] = &mut said;
        if first.is_none() {
            if let Poll::Ready(found) = one.as_mut().poll(cx) {
                *first = Some(found);
            }
        }
        if second.is_none() {
            if let Poll::Ready(found) = other.as_mut().poll(cx) {
                *second = Some(found);
            }
        }
        if first.is_some() && second.is_some() {
            return Poll::Ready([first.take(), second.take()]);
        }
        let has_some = |said: &Option<Result<Resolved, E>>| {
            matches!(said, Some(Ok(found)) if !found.addresses.is_empty())
        };
        if has_some(first) || has_some(second) {
            let until = *until.get_or_insert_with(|| Instant::now() + RESOLUTION_DELAY);
            if alarm.as_mut().poll_until(cx, until).is_ready() {
                return Poll::Ready([first.take(), second.take()]);
            }
        }
        Poll::Pending
    })
    .await
}

fn put_together<E>(said: [Option<Result<Resolved, E>>; 2]) -> Result<Resolved, E> {
    let (mut whole, mut failed) = (Resolved::new([]), None);
    let mut is_whole = true;
    for said in said {
        match said {
            Some(Ok(found)) => {
                whole.addresses.extend(found.addresses);
                whole.ttl = [whole.ttl, found.ttl].into_iter().flatten().min();
            }
            Some(Err(error)) => (failed, is_whole) = (failed.or(Some(error)), false),
            None => is_whole = false,
        }
    }
    match failed {
        Some(error) if whole.addresses.is_empty() => Err(error),
        // So that it is asked for again as soon as may be.
        _ if !is_whole => Ok(whole.with_ttl(Duration::ZERO).in_part()),
        _ => Ok(whole),
    }
}

impl fmt::Debug for HickoryResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HickoryResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    type Said = Result<Resolved, &'static str>;

    async fn after(delay: Duration, said: Said) -> Said {
        sleep(delay).await;
        said
    }

    fn v6() -> Resolved {
        Resolved::new([IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]).with_ttl(9000 * MS)
    }

    fn v4() -> Resolved {
        Resolved::new([IpAddr::from([10, 0, 0, 1])]).with_ttl(5000 * MS)
    }

    #[tokio::test(start_paused = true)]
    async fn one_family_waits_for_the_other_for_50_ms_and_for_a_failure_as_long_as_it_takes() {
        let both_of = |ttl: Duration| Resolved::new([v6().addresses, v4().addresses].concat()).with_ttl(ttl);
        let none = || Resolved::new([]);
        let part = |found: Resolved| found.with_ttl(Duration::ZERO).in_part();
        for (one, other, expected, took) in [
            ((10 * MS, Ok(v6())), (30 * MS, Ok(v4())), Ok(both_of(5000 * MS)), 30 * MS),
            ((59 * MS, Ok(v6())), (10 * MS, Ok(v4())), Ok(both_of(5000 * MS)), 59 * MS),
            ((10 * MS, Ok(v6())), (61 * MS, Ok(v4())), Ok(part(v6())), 60 * MS),
            ((900 * MS, Ok(v6())), (10 * MS, Ok(v4())), Ok(part(v4())), 60 * MS),
            ((900 * MS, Ok(v6())), (10 * MS, Ok(none())), Ok(v6()), 900 * MS),
            ((900 * MS, Ok(v6())), (10 * MS, Err("servfail")), Ok(part(v6())), 900 * MS),
            ((10 * MS, Ok(none())), (900 * MS, Ok(v4())), Ok(v4()), 900 * MS),
            ((10 * MS, Ok(none())), (20 * MS, Ok(none())), Ok(none()), 20 * MS),
            ((10 * MS, Err("one")), (20 * MS, Err("other")), Err("one"), 20 * MS),
            ((10 * MS, Ok(none())), (20 * MS, Err("other")), Err("other"), 20 * MS),
        ] {
            let begin = Instant::now();
            let said = both(after(one.0, one.1.clone()), after(other.0, other.1.clone())).await;
            assert_eq!(put_together(said), expected, "{one:?} {other:?}");
            assert_eq!(begin.elapsed(), took, "{one:?} {other:?}");
        }
    }
}
