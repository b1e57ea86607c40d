//! The options: each is declared here, and nowhere else.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::setting::{DurabilityName, EngineName, Kind, LogFormat, LogLevel, PoolName, Setting};
use crate::options::{Index, KEY_BYTES_MAX, ReadPath, SEGMENT_BYTES, VALUE_BYTES_MAX};

/// What there is to know about an option without its type.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    /// As in the file; the flag has hyphens, the variable is in capitals behind `KVS_`.
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    /// What stands for its value in help.
    pub(crate) placeholder: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    expected: &'static str,
    range: Option<RangeInclusive<u64>>,
    parse: fn(&mut Config, &str) -> Option<()>,
    show: fn(&Config) -> Option<String>,
    number: fn(&Config) -> Option<u64>,
}

impl OptionSpec {
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    pub(crate) fn variable(&self) -> String {
        format!("KVS_{}", self.name.to_ascii_uppercase())
    }

    /// Its value, as it would be typed; none: it is not set.
    pub(crate) fn show(&self, config: &Config) -> Option<String> {
        (self.show)(config)
    }

    /// Puts a value into the configuration, or says what it must be.
    pub(super) fn read(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let parsed = (self.parse)(config, text);
        let number = (self.number)(config).unwrap_or_default();
        let is_in_range = self.range.as_ref().is_none_or(|range| range.contains(&number));
        parsed.filter(|()| is_in_range).ok_or_else(|| self.expected())
    }

    /// What its value must be.
    pub(super) fn expected(&self) -> String {
        match &self.range {
            Some(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            None => self.expected.to_owned(),
        }
    }
}

macro_rules! options {
    ($($section:literal {$(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $default:expr, $placeholder:literal $(, $range:expr)?;
    )+})+) => {
        /// The configuration of a server, checked. Sizes are in bytes and times in the unit that
        /// stands last in the name.
        ///
        /// ```
        /// let mut config = kvs::server::Config::default();
        /// config.connections_max = 100;
        /// config.check()?;
        /// # Ok::<(), kvs::server::config::ConfigError>(())
        /// ```
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub struct Config {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
        }

        impl Default for Config {
            fn default() -> Config {
                Config { $($($name: $default,)+)+ }
            }
        }

        /// All options, in the order in which they are shown.
        pub(crate) static OPTIONS: &[OptionSpec] = &[$($(OptionSpec {
            name: stringify!($name),
            section: $section,
            placeholder: $placeholder,
            help: concat!($($doc),+),
            kind: <$type as Setting>::KIND,
            expected: <$type as Setting>::EXPECTED,
            range: options!(range $($range)?),
            parse: |config, text| {
                config.$name = <$type as Setting>::parse(text)?;
                Some(())
            },
            show: |config| config.$name.show(),
            number: |config| config.$name.number(),
        },)+)+];
    };
    (range) => { None };
    (range $range:expr) => { Some($range) };
}

/// A day, the longest of the times that end something.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const MIB: usize = 1 << 20;
/// The most bytes that a limit on memory can be.
const MEMORY_MAX: u64 = 1 << 40;

options! {
"Server" {
    /// The address that clients connect to.
    addr: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)), "IP:PORT";
    /// The directory that holds the data.
    dir: PathBuf = PathBuf::from("."), "DIR";
    /// The engine: kvs, sled or memory. If none is named, the one that the directory has, or
    /// else kvs.
    engine: Option<EngineName> = None, "NAME";
    /// How many threads serve connections; 0: one fewer than there are processors, two at least.
    worker_threads: u32 = 0, "N", 0..=1024;
    /// The thread pool that runs an engine that blocks: shared, rayon or naive.
    pool: PoolName = PoolName::Shared, "NAME";
    /// How many threads that pool has.
    pool_threads: u32 = 8, "N", 1..=1024;
    /// How long a shutdown waits for connections to end, in milliseconds.
    shutdown_timeout_ms: u64 = 10_000, "MS", 0..=DAY_MS;
}
"Store" {
    /// When a write is acknowledged that does not say so itself: os, once the operating system
    /// has it; interval, the same, with a sync every so often; always, once it is on the disk.
    durability: DurabilityName = DurabilityName::Interval, "NAME";
    /// The longest time between two syncs with the durability interval, in milliseconds.
    sync_interval_ms: u64 = 1000, "MS", 1..=DAY_MS;
    /// The size of a segment in bytes. If not set, it follows the size of the store.
    segment_bytes: Option<u64> = None, "BYTES", SEGMENT_BYTES;
    /// Segment files take at most this many times the live bytes, plus two segments; from 1.1
    /// to 100.
    space_amplification: f64 = 1.5, "FACTOR";
    /// The index in memory: hash, or ordered for ranges that need no sorting.
    index: Index = Index::Hash, "NAME";
    /// How records are read: mapped or pread.
    read_path: ReadPath = ReadPath::Mapped, "NAME";
    /// Whether mapped reads turn an I/O error into an error for that key, with a handler of
    /// SIGBUS. Without it, such an error ends the server.
    sigbus_guard: bool = true, "BOOL";
    /// The size in bytes of a file that is given up when the disk is full, so that removes and
    /// compaction go on; 0: none.
    ballast_bytes: u64 = 1 << 20, "BYTES", 0..=1 << 30;
    /// How many bytes snapshots may pin before the oldest one ends.
    snapshot_bytes: u64 = 1 << 30, "BYTES";
    /// How many of the last writes compaction leaves alone, for watches that are behind.
    retain_history: u64 = 0, "N";
    /// Whether compaction runs in the background.
    compaction: bool = true, "BOOL";
    /// Whether a directory without a store is an error, and none is made in it.
    must_exist: bool = false, "BOOL";
}
"Limits" {
    /// How many connections there can be at a time.
    connections_max: usize = 10_000, "N", 1..=1_000_000;
    /// The longest key in bytes.
    key_bytes_max: usize = KEY_BYTES_MAX, "BYTES", 1..=KEY_BYTES_MAX as u64;
    /// The longest value in bytes.
    value_bytes_max: usize = VALUE_BYTES_MAX, "BYTES", 1..=VALUE_BYTES_MAX as u64;
    /// The longest frame of the protocol KVS in bytes.
    frame_bytes_max: usize = 576 * MIB, "BYTES", 1024..=1 << 30;
    /// The most arguments of a command of the Redis protocol.
    arguments_max: usize = 1 << 20, "N", 16..=1 << 24;
    /// The most bytes of all arguments of a command of the Redis protocol.
    command_bytes_max: usize = 576 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// The most bytes of the commands that a transaction queues.
    multi_bytes_max: usize = 64 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// The most arguments of a command before a client has given the password.
    unauthenticated_arguments_max: usize = 10, "N", 5..=1 << 20;
    /// The longest argument in bytes before a client has given the password.
    unauthenticated_argument_bytes_max: usize = 16 << 10, "BYTES", 1024..=MEMORY_MAX;
    /// The most bytes that are kept of what a client sends, or of what it does not read, before
    /// it has given the password.
    unauthenticated_buffer_bytes_max: usize = MIB, "BYTES", 16 << 10..=MEMORY_MAX;
    /// Where replies that a client does not read have so many bytes, nothing more is read from
    /// it.
    output_high_water_bytes: usize = 64 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// Where replies that a client does not read have so many bytes, its connection is closed.
    output_bytes_per_connection_max: usize = 640 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// The most bytes of the replies of all connections; the one that asks for more is closed.
    output_bytes_max: usize = 2048 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// The most bytes of requests that have not come to their end, of all connections; the one
    /// that sends more is closed.
    input_bytes_max: usize = 2048 * MIB, "BYTES", 1024..=MEMORY_MAX;
    /// How many scans there can be at a time that have to sort all keys first: those of the engine
    /// kvs with the index hash. One more is answered with BUSY.
    sorted_scans_max: usize = 16, "N", 1..=1024;
    /// After how long without a request a connection is closed, in milliseconds; 0: never.
    idle_timeout_ms: u64 = 0, "MS", 0..=365 * DAY_MS;
    /// How long a client has to finish the TLS handshake and to give the password, in
    /// milliseconds; 0: for ever.
    handshake_timeout_ms: u64 = 10_000, "MS", 0..=DAY_MS;
    /// How long a client has to send the rest of a request that it has begun, in milliseconds;
    /// 0: for ever.
    request_timeout_ms: u64 = 60_000, "MS", 0..=DAY_MS;
    /// After how long in silence the operating system asks whether the peer is still there, in
    /// milliseconds, rounded to seconds; 0: never.
    tcp_keepalive_ms: u64 = 300_000, "MS", 0..=DAY_MS;
}
"Security" {
    /// The certificate and its chain, in PEM. With it, both protocols are spoken over TLS only.
    tls_cert_file: Option<PathBuf> = None, "FILE";
    /// The private key of the certificate, in PEM.
    tls_key_file: Option<PathBuf> = None, "FILE";
    /// A file that holds the password that clients must give. The variable KVS_PASSWORD can hold
    /// it instead.
    password_file: Option<PathBuf> = None, "FILE";
    /// Whether everybody who can reach the server may use it: without this, an address that is
    /// not loopback needs a password, and the one for metrics must be loopback.
    insecure: bool = false, "BOOL";
}
"Operation" {
    /// The address of the HTTP server for /metrics, /healthz and /readyz. If not set, there is
    /// none.
    admin_addr: Option<SocketAddr> = None, "IP:PORT";
    /// How the log is written to standard error: text or json.
    log_format: LogFormat = LogFormat::Text, "NAME";
    /// The least important lines that are logged: error, warn, info, debug or trace.
    log_level: LogLevel = LogLevel::Info, "NAME";
    /// From how many microseconds on a command is noted in the log of slow commands.
    slow_log_us: u64 = 10_000, "US";
    /// How many commands that log keeps; 0: none, and nothing is noted.
    slow_log_entries: usize = 128, "N", 0..=1 << 20;
}
}
