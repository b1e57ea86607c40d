//! TLS: a certificate and its key from PEM files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// The certificate that the server shows, and the files that it came from.
pub(crate) struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read the {what} in {}: {}", path.display(), reason(source))]
    Pem {
        /// What it was to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// The certificate and the key do not go together, or are of a kind that is not supported.
    #[error("cannot use the certificate in {} with the key in {}: {source}",
        cert_file.display(), key_file.display())]
    Unusable {
        /// The file with the certificate.
        cert_file: PathBuf,
        /// The file with the key.
        key_file: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads both files.
    pub(crate) fn load(cert_file: &Path, key_file: &Path) -> Result<Tls, TlsError> {
        let current = RwLock::new(Arc::new(read(cert_file, key_file)?));
        Ok(Tls { cert_file: cert_file.to_owned(), key_file: key_file.to_owned(), current })
    }

    /// Reads both files again, for the connections that come. After an error all is as it was.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(read(&self.cert_file, &self.key_file)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What makes a TLS connection of a TCP connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<ServerConfig, TlsError> {
    let pem = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain =
        CertificateDer::pem_file_iter(cert_file).and_then(Iterator::collect::<Result<_, _>>);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(pem("certificate", cert_file))?;
    if chain.is_empty() {
        return Err(pem("certificate", cert_file)(PemError::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(pem("private key", key_file))?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Unusable {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            source,
        })
}

fn reason(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "there is none in it".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::{Path, PathBuf};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::{Arc, Tls, ring};

    pub(in super::super) fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
    }

    pub(in super::super) fn connector() -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(data("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_certificate_gets_through() {
        let tls = Tls::load(&data("server.pem"), &data("server.key")).unwrap();
        tls.reload().unwrap();
        let (near, far) = duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector();
        let (server, client) = tokio::join!(tls.acceptor().accept(near), async {
            let mut client = connector.connect(name, far).await?;
            client.write_all(b"hello").await?;
            client.flush().await?;
            Ok::<_, std::io::Error>(client)
        });
        let mut hello = [0; 5];
        server.unwrap().read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        drop(client.unwrap());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let error = |cert: &Path, key: &Path| Tls::load(cert, key).err().unwrap().to_string();
        let (cert, key) = (data("server.pem"), data("server.key"));
        let missing = error(&data("none.pem"), &key);
        assert!(missing.starts_with("cannot read the certificate in /"), "{missing}");
        assert!(missing.ends_with("none.pem: No such file or directory (os error 2)"), "{missing}");
        let none = error(&key, &key);
        assert!(none.ends_with("server.key: there is none in it"), "{none}");
        let none = error(&cert, &cert);
        assert!(none.starts_with("cannot read the private key in /"), "{none}");
        let other = error(&data("ca.pem"), &key);
        assert!(other.starts_with("cannot use the certificate in /"), "{other}");
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [cert, key] = ["server.pem", "server.key"].map(|name| {
            let path = dir.path().join(name);
            std::fs::copy(data(name), &path).unwrap();
            path
        });
        let tls = Tls::load(&cert, &key).unwrap();
        let before = Arc::clone(&tls.current.read().unwrap());
        std::fs::write(&key, "no key").unwrap();
        assert!(tls.reload().is_err());
        assert!(Arc::ptr_eq(&before, &tls.current.read().unwrap()));
        std::fs::copy(data("server.key"), &key).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current.read().unwrap()));
    }
}
