use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig, RootCertStore};

use super::{Alpn, ConnectError, Offer, Stream, Target};

/// Whom to trust over TLS, and as whom to appear. It is given to [`ConnectorBuilder::tls`](super::ConnectorBuilder::tls).
///
/// TLS 1.3 and 1.2, by rustls with the cryptography of AWS-LC, whatever else the program has installed. Sessions are resumed; nothing
/// is sent before the handshake is over (no 0-RTT), since it could be sent twice. What a host is trusted by are the roots that Mozilla
/// trusts, as they were when `webpki-roots` was released: no file of the machine is read. A certificate has to be for the host that was
/// asked for, be it a name or an address, and there is no way to skip that.
///
/// ```no_run
/// use stonework::connect::{ClientTls, Connector};
///
/// let ours = std::fs::read("/etc/ssl/orders-ca.pem")?;
/// let tls = ClientTls::new().add_roots_pem(&ours)?;
/// let connector = Connector::builder().tls(tls).build()?;
/// # let _ = connector;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a connector is built with it"]
pub struct ClientTls {
    roots: RootCertStore,
    identity: Option<Arc<SingleCertAndKey>>,
}

/// Certificates that cannot be used. It shows nothing of what is in them.
///
/// ```
/// use stonework::connect::{ClientTls, InvalidTls};
///
/// let error = ClientTls::new().roots_pem(b"not a certificate").unwrap_err();
/// assert!(matches!(error, InvalidTls::NoCertificate));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// A certificate cannot be read, or is none that could vouch for others where it is to do that.
    #[error("a certificate cannot be read: its PEM is damaged, or what is in it is no X.509")]
    Certificate,
    /// The private key cannot be read, or is of a kind that is not known.
    #[error(
        "the private key cannot be read: its PEM is damaged (is it all in one line?), or it is encrypted, or none of \
         RSA, ECDSA and Ed25519"
    )]
    Key,
    /// The private key does not belong to the first certificate.
    #[error("the private key does not belong to the first certificate")]
    Mismatch,
    /// There is no certificate.
    #[error("there is no certificate: no `BEGIN CERTIFICATE`")]
    NoCertificate,
    /// There is no private key.
    #[error(
        "there is no private key: no `BEGIN PRIVATE KEY`, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`"
    )]
    NoKey,
}

impl ClientTls {
    /// Trusting the roots that Mozilla trusts, and appearing as nobody.
    pub fn new() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self { roots, identity: None }
    }

    /// Trust these, and no others: PEM (RFC 7468) of any number of certificates. Other sections are skipped.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], if one cannot be read or there is none.
    pub fn roots_pem(self, pem: &[u8]) -> Result<Self, InvalidTls> {
        Self { roots: RootCertStore::empty(), ..self }.add_roots_pem(pem)
    }

    /// Trust these, too: see [`roots_pem`](Self::roots_pem).
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], if one cannot be read or there is none.
    pub fn add_roots_pem(mut self, pem: &[u8]) -> Result<Self, InvalidTls> {
        for root in chain(pem)? {
            self.roots.add(root).map_err(|_| InvalidTls::Certificate)?;
        }
        Ok(self)
    }

    /// Appear as this one, where a host asks for a certificate: the certificate, followed by those that vouch for it, and its private
    /// key, which may be in PKCS #8, PKCS #1 or SEC 1, and not encrypted. Both may be the same text.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], which names what is wrong.
    pub fn client_certificate_pem(mut self, cert_chain: &[u8], key: &[u8]) -> Result<Self, InvalidTls> {
        let chain = chain(cert_chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound if !is_encrypted(key) => InvalidTls::NoKey,
            _ => InvalidTls::Key,
        })?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => InvalidTls::Mismatch,
            rustls::Error::InvalidCertificate(_) => InvalidTls::Certificate,
            _ => InvalidTls::Key,
        })?;
        self.identity = Some(Arc::new(SingleCertAndKey::from(certified)));
        Ok(self)
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| InvalidTls::Certificate)?;
    if chain.is_empty() { Err(InvalidTls::NoCertificate) } else { Ok(chain) }
}

fn is_encrypted(pem: &[u8]) -> bool {
    const LABEL: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    pem.windows(LABEL.len()).any(|text| text == LABEL)
}

/// One configuration for each offer; sessions are shared.
pub(super) struct Handshakes {
    http1: TlsConnector,
    http2: TlsConnector,
    either: TlsConnector,
}

impl Handshakes {
    pub(super) fn new(tls: &ClientTls) -> Self {
        // Named, since the choice of rustls panics in a program in whose tree are two of them.
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .with_root_certificates(tls.roots.clone());
        let mut config = match &tls.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::clone(identity) as Arc<dyn ResolvesClientCert>)
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(256);
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let (http1, http2) = (b"http/1.1".as_slice(), b"h2".as_slice());
        Self { http1: offering(&[http1]), http2: offering(&[http2]), either: offering(&[http2, http1]) }
    }

    pub(super) async fn with(
        &self,
        target: &Target,
        offer: Offer,
        io: Stream,
    ) -> Result<(TlsStream<Stream>, Option<Alpn>), ConnectError> {
        let connector = match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
            Offer::Either => &self.either,
        };
        let failed = |source| ConnectError::Tls { target: target.clone(), source };
        // A name that ends with a dot is the same name, but not in a certificate.
        let host = target.host().strip_suffix('.').unwrap_or(target.host());
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = connector.connect(name, io).await.map_err(failed)?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(Alpn::Http2),
            Some(b"http/1.1") => Some(Alpn::Http1),
            _ => None,
        };
        Ok((stream, protocol))
    }
}

/// Whether the same handshake would fail again: one of both does not trust the other.
pub(super) fn is_final(error: &io::Error) -> bool {
    let said = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        said,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::AlertReceived(
                    AlertDescription::AccessDenied
                        | AlertDescription::BadCertificate
                        | AlertDescription::CertificateExpired
                        | AlertDescription::CertificateRequired
                        | AlertDescription::CertificateRevoked
                        | AlertDescription::CertificateUnknown
                        | AlertDescription::UnknownCA
                        | AlertDescription::UnsupportedCertificate
                )
        )
    ) || error.kind() == io::ErrorKind::InvalidInput
}
