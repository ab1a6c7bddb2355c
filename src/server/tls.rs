use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fmt, fs, io};

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// What clients are offered, by ALPN (RFC 7301). One that asks for something else is refused; one that does not ask may speak
/// any of these. `curl --http1.0` asks for the last.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The certificate of a server, and its key. It is given to [`ServerBuilder::tls`](super::ServerBuilder::tls); clones are of
/// the same certificate, so with one of them it can be replaced while the server runs.
///
/// TLS 1.3 and 1.2, by rustls with the cryptography of AWS-LC, whatever else the program has installed. Clients are
/// offered `h2`, then `http/1.1` and `http/1.0`, and are asked for no certificates. Nothing is accepted before the handshake is over (no
/// 0-RTT), since it could be sent twice.
///
/// ```no_run
/// # async fn run(service: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use stonework::server::{Server, ServerTls};
///
/// let tls = ServerTls::from_pem_files("/etc/tls/tls.crt", "/etc/tls/tls.key")?;
/// let server = Server::builder().tls(tls.clone()).bind("[::]:443").await?;
/// // Whoever renews the certificate replaces the files; once an hour is often enough to see it.
/// tokio::spawn(async move {
///     loop {
///         tokio::time::sleep(Duration::from_secs(60 * 60)).await;
///         if let Err(error) = tls.reload() {
///             eprintln!("the old certificate stays: {error}");
///         }
///     }
/// });
/// server.serve(service).await;
/// # Ok(()) }
/// ```
///
/// A certificate that clients do not trust is for them to refuse: of its names and dates nothing is checked here.
#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    current: RwLock<Arc<ServerConfig>>,
    /// The chain and the key.
    files: Option<[PathBuf; 2]>,
}

/// A certificate and its key that cannot be used. It shows nothing of what is in them: see [`ServerTls::from_pem`].
///
/// ```
/// use stonework::server::{InvalidTls, ServerTls};
///
/// let error = ServerTls::from_pem(b"not a certificate", b"nor a key").unwrap_err();
/// assert!(matches!(error, InvalidTls::NoCertificate));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// A certificate cannot be read.
    #[error("a certificate cannot be read: its PEM is damaged, or what is in it is no X.509")]
    Certificate,
    /// The private key cannot be read, or is of a kind that is not known.
    #[error(
        "the private key cannot be read: its PEM is damaged (is it all in one line?), or it is encrypted, or none of \
         RSA, ECDSA and Ed25519"
    )]
    Key,
    /// The private key does not belong to the certificate of the server, which is the first one.
    #[error("the private key does not belong to the first certificate")]
    Mismatch,
    /// There is no certificate.
    #[error("there is no certificate: no `BEGIN CERTIFICATE`")]
    NoCertificate,
    /// There are no files to read again.
    #[error("it was not made from files, so there are none to read again")]
    NoFiles,
    /// There is no private key.
    #[error(
        "there is no private key: no `BEGIN PRIVATE KEY`, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`"
    )]
    NoKey,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    #[non_exhaustive]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ServerTls {
    /// From PEM (RFC 7468): the certificate of the server, followed by those that vouch for it, and its private key, which may
    /// be in PKCS #8, PKCS #1 or SEC 1, and not encrypted. Other sections are skipped, so both may be the same text.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], which names what is wrong.
    pub fn from_pem(cert_chain: &[u8], key: &[u8]) -> Result<Self, InvalidTls> {
        Ok(Self::new(configure(cert_chain, key)?, None))
    }

    /// From two files of such PEM, which may be the same. They are read there and then, which blocks the thread, and again
    /// by [`reload`](Self::reload).
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], which names what is wrong, and the file if it cannot be read.
    pub fn from_pem_files(cert_chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, InvalidTls> {
        let files = [cert_chain.as_ref().to_owned(), key.as_ref().to_owned()];
        Ok(Self::new(configure_from(&files)?, Some(files)))
    }

    /// Read the files again, and have new connections use what is in them. Established ones go on; sessions of before are
    /// not resumed. It blocks the thread for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], as from the beginning, and then everything stays as it was: try again later. So it is
    /// [`Mismatch`](InvalidTls::Mismatch) between the replacement of one file and that of the other.
    /// [`NoFiles`](InvalidTls::NoFiles), if it was made from none.
    pub fn reload(&self) -> Result<(), InvalidTls> {
        let files = self.inner.files.as_ref().ok_or(InvalidTls::NoFiles)?;
        self.replace(configure_from(files)?);
        Ok(())
    }

    /// Have new connections use these, as after [`reload`](Self::reload). Files, if there are any, stay those of before.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], as from the beginning, and then everything stays as it was.
    pub fn replace_pem(&self, cert_chain: &[u8], key: &[u8]) -> Result<(), InvalidTls> {
        self.replace(configure(cert_chain, key)?);
        Ok(())
    }

    fn new(config: ServerConfig, files: Option<[PathBuf; 2]>) -> Self {
        Self { inner: Arc::new(Inner { current: RwLock::new(Arc::new(config)), files }) }
    }

    fn replace(&self, config: ServerConfig) {
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        tracing::info!("the certificate of the server was replaced");
    }

    /// What a handshake that begins now uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.inner.files).finish_non_exhaustive()
    }
}

fn configure_from([cert_chain, key]: &[PathBuf; 2]) -> Result<ServerConfig, InvalidTls> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| InvalidTls::Unreadable { path: path.clone(), source })
    };
    configure(&read(cert_chain)?, &read(key)?)
}

// No foreign error is passed on: that of a key in one line would quote all of it.
fn configure(cert_chain: &[u8], key: &[u8]) -> Result<ServerConfig, InvalidTls> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert_chain).collect();
    let chain = chain.map_err(|_| InvalidTls::Certificate)?;
    if chain.is_empty() {
        return Err(InvalidTls::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound if !is_encrypted(key) => InvalidTls::NoKey,
        _ => InvalidTls::Key,
    })?;
    // Named, since the choice of rustls panics in a program in whose tree are two of them.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let built = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = built.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => InvalidTls::Mismatch,
        rustls::Error::InvalidCertificate(_) => InvalidTls::Certificate,
        _ => InvalidTls::Key,
    })?;
    config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
    Ok(config)
}

fn is_encrypted(pem: &[u8]) -> bool {
    const LABEL: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    pem.windows(LABEL.len()).any(|text| text == LABEL)
}
