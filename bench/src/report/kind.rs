//! What a report is about: whose names, rows and notes it has.

use serde::{Deserialize, Serialize};

use crate::engines;
use crate::report::metrics::{METRICS, Metric, SERVER_MEMORY, SERVER_TIMED};
use crate::server;

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The store beside other embedded ones.
    #[default]
    Embedded,
    /// `kvs-server` beside other servers.
    Server,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Kind::Embedded => "KVS and other embedded stores",
            Kind::Server => "KVS and Redis as servers",
        }
    }

    /// What can be measured, in the order of the tables.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Kind::Embedded => engines::NAMES,
            Kind::Server => server::NAMES,
        }
    }

    /// The rows of the tables.
    pub fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        let (rows, more) = match self {
            Kind::Embedded => (METRICS, None),
            Kind::Server => (SERVER_TIMED.as_flattened(), Some(&SERVER_MEMORY)),
        };
        rows.iter().chain(more)
    }

    /// What a reader of the tables must know.
    pub fn notes(self) -> &'static [&'static str] {
        match self {
            Kind::Embedded => engines::NOTES,
            Kind::Server => server::NOTES,
        }
    }

    pub fn scale_title(self, scale: &str) -> String {
        match (self, scale) {
            (Kind::Server, keys) => format!("{keys} keys of 16 bytes, values of 100 bytes"),
            (_, "small") => "100 k keys of 16 bytes, values of 100 bytes".into(),
            (_, "1m") => "1 M keys of 16 bytes, values of 100 bytes".into(),
            (_, "5m") => "5 M keys of 24 bytes, values of 150 bytes".into(),
            (_, other) => other.into(),
        }
    }
}
