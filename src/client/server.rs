//! What a server says of itself.

use crate::protocol::proto::messages::{HelloResponse, StatsResponse};

/// What a server said when it was connected to.
///
/// ```no_run
/// let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
/// let server = client.server();
/// println!("{} {} with the engine {}", server.software, server.version, server.engine);
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The name of the program.
    pub software: String,
    /// Its version.
    pub version: String,
    /// The name of its engine.
    pub engine: String,
    /// What is written outlives the process.
    pub is_durable: bool,
    /// Scans cost no sorting of all keys.
    pub is_ordered: bool,
    /// A scan shows the state of one moment.
    pub has_snapshots: bool,
    /// Changes can be watched.
    pub has_watch: bool,
    /// The longest key, in bytes. 0: it does not say.
    pub key_bytes_max: u64,
    /// The longest value, in bytes. 0: it does not say.
    pub value_bytes_max: u64,
}

impl From<&HelloResponse> for ServerInfo {
    fn from(hello: &HelloResponse) -> ServerInfo {
        let capabilities = hello.capabilities.unwrap_or_default();
        let limits = hello.limits.unwrap_or_default();
        ServerInfo {
            software: hello.software.clone(),
            version: hello.software_version.clone(),
            engine: hello.engine.clone(),
            is_durable: capabilities.durable,
            is_ordered: capabilities.ordered,
            has_snapshots: capabilities.snapshots,
            has_watch: capabilities.watch,
            key_bytes_max: limits.key_bytes_max,
            value_bytes_max: limits.value_bytes_max,
        }
    }
}

/// What a server counts.
///
/// ```no_run
/// let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
/// println!("{} keys", client.stats()?.keys);
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ServerStats {
    /// The keys that there are.
    pub keys: u64,
    /// Of those, the ones that expire some time.
    pub expiring_keys: u64,
    /// What the files take, in bytes.
    pub disk_bytes: u64,
    /// What the index takes in memory, in bytes.
    pub index_bytes: u64,
    /// Whatever else is counted.
    pub figures: Vec<ServerFigure>,
}

/// A figure of a server.
///
/// ```no_run
/// let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
/// for figure in client.stats()?.figures {
///     println!("{} {}", figure.name, figure.value);
/// }
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ServerFigure {
    /// Its name, in lower case with underlines, the unit last.
    pub name: String,
    /// What it counts, a sentence.
    pub help: String,
    /// Whether it only grows while the server lives.
    pub is_counter: bool,
    /// Its value.
    pub value: f64,
}

impl From<StatsResponse> for ServerStats {
    fn from(stats: StatsResponse) -> ServerStats {
        let figures = stats.figures.into_iter().map(|figure| ServerFigure {
            name: figure.name,
            help: figure.help,
            is_counter: figure.is_counter,
            value: figure.value,
        });
        ServerStats {
            keys: stats.keys,
            expiring_keys: stats.expiring_keys,
            disk_bytes: stats.disk_bytes,
            index_bytes: stats.index_bytes,
            figures: figures.collect(),
        }
    }
}
