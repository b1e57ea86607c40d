//! `KvsServer`: a configuration, and the server that it makes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::LazyLock;

use super::config::{Config, ConfigError, Loaded};
use super::open_engine::open_engine;
use super::run::run;
use super::serve::{ServeError, Started, serve, serve_while};

/// What is counted, by the numbers of the commands.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(super::command_names);

/// A server that was configured and does not run yet.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{KvsClient, KvsServer};
/// let mut config = kvs::server::Config::default();
/// config.addr = "127.0.0.1:0".parse()?;
/// config.dir = dir.path().to_owned();
/// let server = KvsServer::new(config)?;
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// let work = async |addr: std::net::SocketAddr| {
///     let client = KvsClient::connect(addr.to_string()).await?;
///     client.set("key", "value").await?;
///     client.get("key").await
/// };
/// let found = server.run_while(work).await??;
/// assert_eq!(found.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KvsServer {
    loaded: Loaded,
    password: Option<OsString>,
}

impl KvsServer {
    /// A server with this configuration. Nothing is opened yet.
    ///
    /// # Errors
    /// [`ConfigError`] if its options do not go together.
    ///
    /// ```
    /// let mut config = kvs::server::Config::default();
    /// config.tls_cert_file = Some("cert.pem".into());
    /// assert!(kvs::KvsServer::new(config).is_err(), "there is no key");
    /// ```
    pub fn new(config: Config) -> Result<KvsServer, ConfigError> {
        Loaded::of(config).map(KvsServer::from)
    }

    /// With a password that clients have to give, instead of the one in
    /// [`password_file`](Config::password_file); an empty one is none.
    ///
    /// ```
    /// let server = kvs::KvsServer::new(kvs::server::Config::default())?.password("hush");
    /// # let _ = server;
    /// # Ok::<(), kvs::server::config::ConfigError>(())
    /// ```
    #[must_use]
    pub fn password(mut self, password: impl Into<OsString>) -> KvsServer {
        self.password = Some(password.into());
        self
    }

    /// Serves until a signal ends the process: what the program `kvs-server` does. It writes a log
    /// to standard error and takes SIGTERM, SIGINT and SIGHUP for itself. On return, everything
    /// that was acknowledged is durable.
    ///
    /// # Errors
    /// [`ServeError`].
    ///
    /// ```no_run
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// kvs::KvsServer::new(kvs::server::Config::default())?.run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(self) -> Result<(), ServeError> {
        serve(self.loaded, self.password, &NAMES, open_engine, run).await
    }

    /// Serves while `work` is at it, which is given the address that clients can connect to; its
    /// outcome is the answer. Signals and the log are left to the program. On return, everything
    /// that was acknowledged is durable.
    ///
    /// # Errors
    /// [`ServeError`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let runtime = tokio::runtime::Runtime::new()?;
    /// let mut config = kvs::server::Config::default();
    /// (config.addr, config.dir) = ("127.0.0.1:0".parse()?, dir.path().to_owned());
    /// let server = kvs::KvsServer::new(config)?;
    /// let port = runtime.block_on(server.run_while(async |addr| addr.port()))?;
    /// assert_ne!(port, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn run_while<T>(
        self,
        work: impl AsyncFnOnce(SocketAddr) -> T,
    ) -> Result<T, ServeError> {
        let (config, mut outcome) = (self.loaded.config, None);
        let serve = async |started: Started| {
            let shutdown = started.shutdown.clone();
            let Ok(addr) = started.listener.local_addr() else {
                return;
            };
            let work = async {
                outcome = Some(work(addr).await);
                shutdown.request();
            };
            tokio::join!(run(started), work);
        };
        serve_while(config, self.password, &NAMES, open_engine, serve).await?;
        outcome.ok_or(ServeError::Interrupted)
    }
}

/// As it was read from a command line.
impl From<Loaded> for KvsServer {
    fn from(loaded: Loaded) -> KvsServer {
        KvsServer { loaded, password: None }
    }
}
