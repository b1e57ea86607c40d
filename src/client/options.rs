//! `ClientOptions`: how a client connects, waits and tries again.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::blocking::BlockingKvsClient;
use super::error::Result;
use super::{KvsClient, transport};
use crate::protocol::frame::{FRAME_BYTES_LIMIT, FRAME_BYTES_MAX};

/// The longest time that can be waited for: a year.
const TIMEOUT_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

/// How to connect to a server: a builder that ends in [`connect`](ClientOptions::connect).
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kvs::client::ClientError> {
/// use kvs::client::ClientOptions;
/// let client = ClientOptions::new().timeout_ms(2_000).connect("127.0.0.1:4000").await?;
/// client.ping().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) delay: Duration,
    pub(crate) delay_max: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) frame_bytes_max: usize,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            delay: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            in_flight_max: 1024,
            frame_bytes_max: FRAME_BYTES_MAX,
            password: None,
            ca_file: None,
            server_name: None,
        }
    }
}

/// Everything but the password.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("in_flight_max", &self.in_flight_max)
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("ca_file", &self.ca_file)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// The defaults.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn new() -> ClientOptions {
        ClientOptions::default()
    }

    /// How long a call waits for its answer, with all that is tried again, in milliseconds.
    /// Default: 10,000.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().timeout_ms(500);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> ClientOptions {
        self.timeout = Duration::from_millis(ms.clamp(1, TIMEOUT_MS_MAX));
        self
    }

    /// How long one attempt to connect takes at most, with TLS and password, in milliseconds.
    /// Default: 5,000.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().connect_timeout_ms(500);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn connect_timeout_ms(mut self, ms: u64) -> ClientOptions {
        self.connect_timeout = Duration::from_millis(ms.clamp(1, TIMEOUT_MS_MAX));
        self
    }

    /// How long to wait before connecting again, in milliseconds: `first` after the first failure,
    /// twice as long after each further one, at most `longest`, and a random part of that. Default:
    /// 50 and 5,000.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().reconnect_delay_ms(10, 1_000);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn reconnect_delay_ms(mut self, first: u64, longest: u64) -> ClientOptions {
        self.delay = Duration::from_millis(first.clamp(1, TIMEOUT_MS_MAX));
        self.delay_max = Duration::from_millis(longest.max(first).clamp(1, TIMEOUT_MS_MAX));
        self
    }

    /// How many requests may be without an answer at once; further calls wait. The server's own
    /// limit holds too. Default: 1,024.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().requests_in_flight_max(64);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn requests_in_flight_max(mut self, requests: usize) -> ClientOptions {
        self.in_flight_max = requests.clamp(1, 1 << 20);
        self
    }

    /// The largest answer that is taken, in bytes, from 1 MiB to a little more than the largest
    /// value. Default: 64 MiB.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().answer_bytes_max(512 << 20);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> ClientOptions {
        self.frame_bytes_max = bytes.clamp(1 << 20, FRAME_BYTES_LIMIT);
        self
    }

    /// The password that the server wants.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().password("from a file");
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> ClientOptions {
        self.password = Some(password.into());
        self
    }

    /// Speak TLS, and trust the certificates in this PEM file, and no others.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().ca_file("ca.pem");
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> ClientOptions {
        self.ca_file = Some(path.into());
        self
    }

    /// The name in the server's certificate. Default: the host of the address.
    ///
    /// ```
    /// let options = kvs::client::ClientOptions::new().ca_file("ca.pem").server_name("kvs.test");
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> ClientOptions {
        self.server_name = Some(name.into());
        self
    }

    /// Connects to the server at `addr`, a host and a port with a colon between. It is tried once.
    ///
    /// # Errors
    /// [`ClientError::Connect`](super::ClientError::Connect),
    /// [`ClientError::NotKvs`](super::ClientError::NotKvs),
    /// [`ClientError::CaFile`](super::ClientError::CaFile),
    /// [`ClientError::ServerName`](super::ClientError::ServerName), and what the server refuses:
    /// `AuthRequired`, `WrongPassword`, `TooManyConnections`, `UnsupportedProtocol`,
    /// `ShuttingDown`.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and network.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::client::ClientOptions::new().connect("127.0.0.1:4000").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(&self, addr: impl fmt::Display) -> Result<KvsClient> {
        let transport = transport::Transport::new(addr.to_string(), self)?;
        KvsClient::start(transport, self.clone()).await
    }

    /// The same for a client that blocks.
    ///
    /// # Errors
    /// As [`connect`](ClientOptions::connect), and
    /// [`ClientError::Runtime`](super::ClientError::Runtime).
    ///
    /// # Panics
    /// Inside of a tokio runtime.
    ///
    /// ```no_run
    /// let client = kvs::client::ClientOptions::new().connect_blocking("127.0.0.1:4000")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn connect_blocking(&self, addr: impl fmt::Display) -> Result<BlockingKvsClient> {
        BlockingKvsClient::start(addr, self)
    }
}
