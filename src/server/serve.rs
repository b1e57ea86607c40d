//! `serve`: from a configuration to a server that runs, and back to the end of the process.
//!
//! 1. What is wrong with the configuration or the address is found before a file is touched.
//! 2. The engine is opened, while `/healthz` is answered already.
//! 3. Connections are served until a signal asks for the end, and a while longer.
//! 4. The engine is closed, which makes everything durable.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{error, info, warn};

use super::admin::{self, Watched};
use super::config::{Config, Loaded};
use super::listener::{self, BACKLOG};
use super::metrics::Metrics;
use super::password::{Password, PasswordError};
use super::shutdown::{Shutdown, on_signals};
use super::slow_log::SlowLog;
use super::tls::{Tls, TlsError};
use super::{descriptors, logging, notify};
use crate::engine::KvsEngine;
use crate::error::KvsError;

/// Everything that serving connections needs.
pub struct Started {
    pub(crate) listener: TcpListener,
    pub(crate) config: Arc<Config>,
    pub(crate) engine: Arc<dyn KvsEngine>,
    /// With it, every connection begins with TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// With it, every client has to give it.
    pub(crate) password: Option<Arc<Password>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) slow_log: Arc<SlowLog>,
    /// When to stop accepting, and when to give up waiting.
    pub(crate) shutdown: Shutdown,
}

/// Why a server does not run, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be had: another process listens there, or it is not this machine's.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system answered.
        source: io::Error,
    },
    /// Everybody who can reach the address could read and write everything.
    #[error(
        "{addr} can be reached from outside, and there is no password: set password_file or \
         KVS_PASSWORD, or say --insecure"
    )]
    NoPassword {
        /// The address.
        addr: SocketAddr,
    },
    /// The password cannot be had.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The engine cannot be opened, or could not be closed.
    #[error("cannot {action} the engine: {source}")]
    Engine {
        /// "open" or "close".
        action: &'static str,
        /// What it answered.
        source: KvsError,
    },
    /// The operating system takes no signal handlers.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// A second signal came before the connections had ended. What was acknowledged is kept as
    /// after a kill.
    #[error("ended by a second signal")]
    Interrupted,
}

/// Runs a server until a signal ends it. `password` is the variable `KVS_PASSWORD`; `open_engine`
/// may block; `run` serves the connections until the shutdown says that it is time to end.
///
/// # Errors
/// [`ServeError`].
pub async fn serve<O, R, F>(
    loaded: Loaded,
    password: Option<OsString>,
    command_names: &'static [&'static str],
    open_engine: O,
    run: R,
) -> Result<(), ServeError>
where
    O: FnOnce(&Config) -> crate::Result<Arc<dyn KvsEngine>> + Send + 'static,
    R: FnOnce(Started) -> F,
    F: Future<Output = ()>,
{
    logging::start(&loaded.config);
    info!("kvs-server {} on {}", env!("CARGO_PKG_VERSION"), loaded.config.addr);
    info!("configuration: {}", loaded.summary());
    let config = Arc::new(loaded.config);
    descriptors::provide(&config);
    let secrets = secrets(&config, password)?;
    let shutdown = Shutdown::new();
    let mut tasks = JoinSet::new();
    let on_hangup = reload(secrets.0.clone());
    tasks.spawn(on_signals(shutdown.clone(), on_hangup).map_err(ServeError::Signals)?);
    let metrics = Arc::new(Metrics::new(command_names));
    serve_until(config, secrets, metrics, shutdown, open_engine, run).await
}

/// As `serve`, until `run` asks for the end, without signals and a log.
pub(crate) async fn serve_while<O, R>(
    config: Config,
    password: Option<OsString>,
    command_names: &'static [&'static str],
    open_engine: O,
    run: R,
) -> Result<(), ServeError>
where
    O: FnOnce(&Config) -> crate::Result<Arc<dyn KvsEngine>> + Send + 'static,
    R: AsyncFnOnce(Started),
{
    let config = Arc::new(config);
    let secrets = secrets(&config, password)?;
    let metrics = Arc::new(Metrics::new(command_names));
    let run = |started| run(started);
    serve_until(config, secrets, metrics, Shutdown::new(), open_engine, run).await
}

/// The certificate and the password, where there are any.
type Secrets = (Option<Arc<Tls>>, Option<Arc<Password>>);

fn secrets(config: &Config, password: Option<OsString>) -> Result<Secrets, ServeError> {
    let password = Password::load(config.password_file.as_deref(), password)?.map(Arc::new);
    let tls = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(cert_file), Some(key_file)) => Some(Arc::new(Tls::load(cert_file, key_file)?)),
        _ => None,
    };
    Ok((tls, password))
}

/// As `serve`, until `shutdown` is asked for.
async fn serve_until<O, R, F>(
    config: Arc<Config>,
    (tls, password): Secrets,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    open_engine: O,
    run: R,
) -> Result<(), ServeError>
where
    O: FnOnce(&Config) -> crate::Result<Arc<dyn KvsEngine>> + Send + 'static,
    R: FnOnce(Started) -> F,
    F: Future<Output = ()>,
{
    check_door(&config, password.is_some())?;
    let at = |addr| move |source| ServeError::Listen { addr, source };
    let socket = listener::bind(config.addr).map_err(at(config.addr))?;
    let watched = Arc::new(Watched {
        metrics: Arc::clone(&metrics),
        shutdown: shutdown.clone(),
        engine: OnceLock::new(),
    });
    // They end with this function.
    let mut tasks = JoinSet::new();
    if let Some(addr) = config.admin_addr {
        let listener = listener::bind(addr).and_then(|socket| socket.listen(BACKLOG));
        let listener = listener.map_err(at(addr))?;
        info!("metrics on http://{}/metrics", listener.local_addr().map_err(at(addr))?);
        tasks.spawn(admin::run(listener, Arc::clone(&watched)));
    }
    if let Some(signs_of_life) = notify::watch() {
        tasks.spawn(signs_of_life);
    }
    notify::status("opening the engine");
    let Some(engine) = open(&config, &shutdown, open_engine).await? else {
        return Ok(());
    };
    let listener = socket.listen(BACKLOG).map_err(at(config.addr))?;
    let addr = listener.local_addr().map_err(at(config.addr))?;
    let started = Started {
        listener,
        engine: Arc::clone(&engine),
        tls,
        password,
        metrics,
        slow_log: Arc::new(SlowLog::new(config.slow_log_us, config.slow_log_entries)),
        shutdown: shutdown.clone(),
        config: Arc::clone(&config),
    };
    // It is set once: nobody has set it before.
    let _ = watched.engine.set(Arc::clone(&engine));
    info!("engine {} in {}", engine.name(), config.dir.display());
    info!("listening on {addr}");
    notify::ready(&format!("listening on {addr}"));
    run_out(run(started), &shutdown, config.shutdown_timeout_ms).await?;
    close(&*engine, &shutdown).await
}

/// Refuses to let everybody in who can reach the address, unless that is what is wanted.
fn check_door(config: &Config, has_password: bool) -> Result<(), ServeError> {
    let addr = config.addr;
    if addr.ip().is_loopback() || has_password {
        return Ok(());
    }
    if !config.insecure {
        return Err(ServeError::NoPassword { addr });
    }
    warn!("insecure: everybody who can reach {addr} can read and write everything");
    Ok(())
}

/// Opens the engine; none: the end was asked for meanwhile. An open that is given up is as if the
/// process was killed, which loses nothing.
async fn open<O>(
    config: &Arc<Config>,
    shutdown: &Shutdown,
    open_engine: O,
) -> Result<Option<Arc<dyn KvsEngine>>, ServeError>
where
    O: FnOnce(&Config) -> crate::Result<Arc<dyn KvsEngine>> + Send + 'static,
{
    let for_engine = Arc::clone(config);
    let opening = spawn_blocking(move || open_engine(&for_engine));
    let opened = tokio::select! {
        opened = opening => opened.unwrap_or(Err(KvsError::JobLost)),
        () = shutdown.draining() => return Ok(None),
    };
    opened.map(Some).map_err(|source| ServeError::Engine { action: "open", source })
}

/// Runs until `running` is done, or it has had its time after the end was asked for.
async fn run_out(
    running: impl Future<Output = ()>,
    shutdown: &Shutdown,
    timeout_ms: u64,
) -> Result<(), ServeError> {
    let patience = async {
        shutdown.draining().await;
        notify::stopping("waiting for connections to end");
        tokio::time::sleep(Duration::from_millis(timeout_ms)).await;
    };
    tokio::select! {
        () = running => {}
        () = patience => warn!("connections are cut off: they did not end in {timeout_ms} ms"),
        () = shutdown.over() => return Err(ServeError::Interrupted),
    }
    Ok(())
}

/// Closes the engine, which makes everything durable.
async fn close(engine: &dyn KvsEngine, shutdown: &Shutdown) -> Result<(), ServeError> {
    notify::stopping("closing the engine");
    tokio::select! {
        closed = engine.close() => {
            closed.map_err(|source| ServeError::Engine { action: "close", source })?;
        }
        () = shutdown.over() => return Err(ServeError::Interrupted),
    }
    info!("closed");
    Ok(())
}

/// What SIGHUP does: read the certificate again.
fn reload(tls: Option<Arc<Tls>>) -> impl Fn() + Send + 'static {
    move || match tls.as_ref().map(|tls| tls.reload()) {
        Some(Ok(())) => info!("SIGHUP: the certificate was read again"),
        Some(Err(error)) => error!("SIGHUP: the certificate stays as it was: {error}"),
        None => info!("SIGHUP: there is nothing to read again"),
    }
}

#[cfg(test)]
mod tests;
