//! From an address to a stream of bytes: TCP, and TLS where it is asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::error::{ClientError, Result};
use super::options::ClientOptions;

/// After so long without a word the other side is asked whether it is still there, and then so
/// often.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What bytes go through.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Where the server is, and how it is spoken to.
pub(crate) struct Transport {
    pub(crate) addr: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Transport {
    /// Reads the CA file, if there is one.
    pub(crate) fn new(addr: String, options: &ClientOptions) -> Result<Transport> {
        let tls = match &options.ca_file {
            None => None,
            Some(path) => {
                let name = options.server_name.clone().unwrap_or_else(|| host(&addr).to_owned());
                let server_name = ServerName::try_from(name.clone())
                    .map_err(|_| ClientError::ServerName { name })?;
                Some((connector(path)?, server_name))
            }
        };
        Ok(Transport { addr, tls })
    }

    /// A new stream to the server.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Socket>> {
        self.open().await.map_err(|source| self.error(source))
    }

    /// That there is no connection.
    pub(crate) fn error(&self, source: io::Error) -> ClientError {
        ClientError::Connect { addr: self.addr.clone(), source: Arc::new(source) }
    }

    async fn open(&self) -> io::Result<Box<dyn Socket>> {
        let tcp = TcpStream::connect(&self.addr).await?;
        tcp.set_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), tcp).await?)),
        }
    }
}

/// The host of an address: `[::1]:4000` is on `::1`.
fn host(addr: &str) -> &str {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn connector(path: &Path) -> Result<TlsConnector> {
    let failure = |reason: String| ClientError::CaFile { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failure(pem(&error)))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failure(pem(&error)))?;
        roots.add(certificate).map_err(|error| failure(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failure("there is no certificate in it".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failure(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn pem(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        let cases = [("a.b:1", "a.b"), ("[::1]:4000", "::1"), ("1.2.3.4:5", "1.2.3.4"), ("x", "x")];
        for (addr, expected) in cases {
            assert_eq!(host(addr), expected);
        }
    }
}
