//! The first words of a connection: hello and the password.

use super::streams::STREAMS_MAX;
use super::{REQUESTS_MAX, Session};
use crate::options::BATCH_BYTES_MAX;
use crate::protocol::frame::{FRAME_BYTES_LIMIT, FRAME_BYTES_MAX, FRAME_BYTES_MIN, to_u64};
use crate::protocol::proto::VERSION;
use crate::protocol::proto::elements::ELEMENTS_MAX;
use crate::protocol::proto::messages::{
    Capabilities, Code, Error, HelloRequest, HelloResponse, Limits,
};

impl Session {
    pub(super) fn hello(&mut self, hello: HelloRequest) -> Result<HelloResponse, Error> {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let text = format!("the server speaks version {VERSION} of the protocol");
            return Err(Error::new(Code::UnsupportedProtocol, text));
        }
        let frame_bytes_max = match usize::try_from(hello.frame_bytes_max) {
            Ok(0) => FRAME_BYTES_MAX,
            Ok(bytes) => bytes.min(FRAME_BYTES_LIMIT),
            Err(_) => FRAME_BYTES_LIMIT,
        };
        if frame_bytes_max < FRAME_BYTES_MIN {
            // The answer to a write might not fit, and the write would be done.
            let text = format!("a client has to take frames of {FRAME_BYTES_MIN} bytes");
            let limit = Some(to_u64(FRAME_BYTES_MIN));
            return Err(Error { limit, ..Error::new(Code::InvalidRequest, text) });
        }
        self.has_said_hello = true;
        self.frame_bytes_max = frame_bytes_max;
        let mut about = self.peer.about();
        about.library = hello.software.into_bytes();
        about.library_version = hello.software_version.into_bytes();
        drop(about);
        let can = self.shared.engine.capabilities();
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
            limits: Some(self.limits()),
        })
    }

    fn limits(&self) -> Limits {
        let config = &self.shared.config;
        let to_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Limits {
            frame_bytes_max: to_u64(config.frame_bytes_max.min(FRAME_BYTES_LIMIT)),
            key_bytes_max: to_u64(config.key_bytes_max),
            value_bytes_max: to_u64(config.value_bytes_max),
            batch_bytes_max: to_u64(BATCH_BYTES_MAX),
            requests_in_flight_max: to_u32(REQUESTS_MAX),
            streams_max: to_u32(STREAMS_MAX),
            elements_max: to_u32(ELEMENTS_MAX),
        }
    }

    /// Where no password is wanted, any is right.
    pub(super) fn auth(&mut self, given: &[u8]) -> Result<(), Error> {
        if let Some(password) = &self.shared.password
            && !password.matches(given)
        {
            self.shared.metrics.failed_login();
            return Err(Error::new(Code::WrongPassword, "the password is not the right one"));
        }
        self.is_known = true;
        self.peer.wait_no_more();
        Ok(())
    }
}
