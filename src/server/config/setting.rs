//! What an option can hold, and how that is spelled: the same way in a flag, a variable and a
//! file.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::options::{Index, ReadPath};

/// Which of TOML's types spells a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Factor,
    Switch,
}

/// A type that an option can have.
pub(crate) trait Setting: Sized {
    const KIND: Kind;
    /// What a text must be to be one.
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<Self>;

    /// As `parse` reads it; none: it is not set.
    fn show(&self) -> Option<String>;

    /// For the range of an option.
    fn number(&self) -> Option<u64> {
        None
    }
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Setting for $type {
            const KIND: Kind = Kind::Number;
            const EXPECTED: &'static str = "a whole number that is not too large";

            fn parse(text: &str) -> Option<$type> {
                // Rust takes a sign; TOML does not for what is not negative.
                text.parse().ok().filter(|_| !text.starts_with('+'))
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn number(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }
        }
    )+};
}

numbers!(u32 u64 usize);

impl Setting for f64 {
    const KIND: Kind = Kind::Factor;
    const EXPECTED: &'static str = "a number";

    fn parse(text: &str) -> Option<f64> {
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    fn show(&self) -> Option<String> {
        // With a point, so that TOML too takes it for a float.
        Some(format!("{self:?}"))
    }
}

impl Setting for bool {
    const KIND: Kind = Kind::Switch;
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<bool> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for SocketAddr {
    const KIND: Kind = Kind::Text;
    const EXPECTED: &'static str = "an IP address and a port, as in 127.0.0.1:4000 or [::1]:4000";

    fn parse(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for PathBuf {
    const KIND: Kind = Kind::Text;
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<PathBuf> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string_lossy().into_owned())
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Option<Option<T>> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }

    fn number(&self) -> Option<u64> {
        self.as_ref().and_then(T::number)
    }
}

/// Implements `Setting` for a type with a name for each of its values.
macro_rules! names {
    ($type:ty, $expected:literal, $($name:literal = $value:path),+) => {
        impl Setting for $type {
            const KIND: Kind = Kind::Text;
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<$type> {
                match text {
                    $($name => Some($value),)+
                    _ => None,
                }
            }

            fn show(&self) -> Option<String> {
                match self {
                    $($value => Some($name.to_owned()),)+
                }
            }
        }
    };
}

/// The name of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineName {
    /// This library's store.
    Kvs,
    /// The sled engine.
    Sled,
    /// Keys in memory only: nothing outlives the process.
    Memory,
}

impl EngineName {
    /// As on the command line and in the file `ENGINE`.
    ///
    /// ```
    /// assert_eq!(kvs::server::config::EngineName::Sled.as_str(), "sled");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EngineName::Kvs => "kvs",
            EngineName::Sled => "sled",
            EngineName::Memory => "memory",
        }
    }
}

names!(
    EngineName,
    "kvs, sled or memory",
    "kvs" = EngineName::Kvs,
    "sled" = EngineName::Sled,
    "memory" = EngineName::Memory
);

/// The name of a thread pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolName {
    /// Threads that share one queue.
    Shared,
    /// The pool of the crate `rayon`.
    Rayon,
    /// A new thread for each job.
    Naive,
}

names!(
    PoolName,
    "shared, rayon or naive",
    "shared" = PoolName::Shared,
    "rayon" = PoolName::Rayon,
    "naive" = PoolName::Naive
);

/// The name of a [`Durability`](crate::Durability).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityName {
    /// As [`Durability::Os`](crate::Durability::Os).
    Os,
    /// As [`Durability::Interval`](crate::Durability::Interval).
    Interval,
    /// As [`Durability::Always`](crate::Durability::Always).
    Always,
}

names!(
    DurabilityName,
    "os, interval or always",
    "os" = DurabilityName::Os,
    "interval" = DurabilityName::Interval,
    "always" = DurabilityName::Always
);

names!(Index, "hash or ordered", "hash" = Index::Hash, "ordered" = Index::Ordered);
names!(ReadPath, "mapped or pread", "mapped" = ReadPath::Mapped, "pread" = ReadPath::Pread);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object for each line.
    Json,
}

names!(LogFormat, "text or json", "text" = LogFormat::Text, "json" = LogFormat::Json);

/// The least important lines that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What does not work any more.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens once or seldom.
    Info,
    /// What happens for each connection.
    Debug,
    /// Everything.
    Trace,
}

names!(
    LogLevel,
    "error, warn, info, debug or trace",
    "error" = LogLevel::Error,
    "warn" = LogLevel::Warn,
    "info" = LogLevel::Info,
    "debug" = LogLevel::Debug,
    "trace" = LogLevel::Trace
);
