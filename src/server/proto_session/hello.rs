//! The first words of a connection.

use super::streams::STREAMS_MAX;
use super::{REQUESTS_MAX, Session};
use crate::options::BATCH_BYTES_MAX;
use crate::protocol::frame::{FRAME_BYTES_MAX, to_u64};
use crate::protocol::proto::VERSION;
use crate::protocol::proto::elements::ELEMENTS_MAX;
use crate::protocol::proto::messages::{
    Capabilities, Code, Error, HelloRequest, HelloResponse, Limits,
};
use crate::protocol::proto::request::Refusal;

/// The smallest frame that a client may ask for: an error must fit into it.
const FRAME_BYTES_MIN: usize = 1024;

impl Session {
    pub(super) fn hello(
        &mut self,
        id: u64,
        hello: &HelloRequest,
    ) -> Result<HelloResponse, Refusal> {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let text = format!("the server speaks version {VERSION} of the protocol");
            return Err(Refusal { id, error: Error::new(Code::UnsupportedProtocol, text) });
        }
        self.has_said_hello = true;
        self.frame_bytes_max = match usize::try_from(hello.frame_bytes_max) {
            Ok(0) => FRAME_BYTES_MAX,
            Ok(bytes) => bytes.clamp(FRAME_BYTES_MIN, self.shared.config.frame_bytes_max),
            Err(_) => self.shared.config.frame_bytes_max,
        };
        let library = [hello.software.as_bytes(), hello.software_version.as_bytes()];
        let software = library.concat().escape_ascii().to_string();
        tracing::debug!(software, "a client of the protocol KVS");
        let can = self.shared.engine.capabilities();
        let config = &self.shared.config;
        Ok(HelloResponse {
            version: VERSION,
            software: "kvs-server".to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            auth_required: !self.is_known,
            engine: self.shared.engine.name().to_owned(),
            capabilities: Some(Capabilities {
                durable: can.durable,
                ordered: can.ordered,
                snapshots: can.snapshots,
                watch: can.watch,
            }),
            limits: Some(Limits {
                frame_bytes_max: to_u64(config.frame_bytes_max),
                key_bytes_max: to_u64(config.key_bytes_max),
                value_bytes_max: to_u64(config.value_bytes_max),
                batch_bytes_max: to_u64(BATCH_BYTES_MAX),
                requests_in_flight_max: u32::try_from(REQUESTS_MAX).unwrap_or(u32::MAX),
                streams_max: u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX),
                elements_max: u32::try_from(ELEMENTS_MAX).unwrap_or(u32::MAX),
            }),
        })
    }

    /// Without a password to give, any is right.
    pub(super) fn auth(&mut self, id: u64, password: &[u8]) -> Result<(), Refusal> {
        let is_right = match &self.shared.password {
            Some(wanted) => wanted.matches(password),
            None => true,
        };
        if !is_right {
            self.shared.metrics.failed_login();
            let error = Error::new(Code::WrongPassword, "the password is not the right one");
            return Err(Refusal { id, error });
        }
        self.is_known = true;
        Ok(())
    }
}
