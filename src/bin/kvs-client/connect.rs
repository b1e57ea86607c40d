//! Which server, and how it is spoken to.

use std::path::PathBuf;

use kvs::cli::failure::Failure;
use kvs::client::{BlockingKvsClient, ClientOptions};

use crate::password;

/// The options that every command has.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The address of the server
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4000", global = true)]
    #[arg(value_parser = parse_addr)]
    pub addr: String,
    /// A file with the password that the server wants
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Speak TLS, and trust the certificates in this PEM file
    #[arg(long, value_name = "FILE", global = true)]
    tls_ca_file: Option<PathBuf>,
    /// The name in the server's certificate [default: the host of --addr]
    #[arg(long, value_name = "NAME", global = true, requires = "tls_ca_file")]
    tls_server_name: Option<String>,
    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, global = true)]
    timeout_ms: u64,
}

impl Args {
    /// Connects.
    pub fn connect(&self) -> Result<BlockingKvsClient, Failure> {
        Ok(self.options()?.connect_blocking(&self.addr)?)
    }

    /// How to connect.
    pub fn options(&self) -> Result<ClientOptions, Failure> {
        // Of the largest value: a person who asks for it wants it.
        let largest = kvs::protocol::frame::FRAME_BYTES_LIMIT;
        let mut options = ClientOptions::new()
            .timeout_ms(self.timeout_ms)
            .connect_timeout_ms(self.timeout_ms.min(5_000))
            .answer_bytes_max(largest);
        if let Some(password) = password::find(self.password_file.as_deref())? {
            options = options.password(password);
        }
        if let Some(path) = &self.tls_ca_file {
            options = options.ca_file(path);
        }
        if let Some(name) = &self.tls_server_name {
            options = options.server_name(name);
        }
        Ok(options)
    }
}

/// A host and a port, with a colon between.
fn parse_addr(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("it has no port; an address is IP:PORT")?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("it has no host; an address is IP:PORT".to_owned());
    }
    port.parse::<u16>().map_err(|_| "its port is no number from 0 to 65535".to_owned())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_addr;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:4000", "[::1]:4000", "localhost:0"] {
            assert!(parse_addr(good).is_ok(), "{good}");
        }
        for bad in ["", ":", ":4000", "localhost", "localhost:", "a:99999", "a b:1", "a:-1"] {
            assert!(parse_addr(bad).is_err(), "{bad}");
        }
    }
}
