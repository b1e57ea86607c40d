//! `Config`: every option of the server, declared once, and read from four places.
//!
//! A flag wins over a variable of the environment, that over the file, that over the default. What
//! a value is and where it came from stay together until all of it was checked, so that an error
//! names the place to mend.

mod setting;
mod source;
mod options;
mod error;
mod file;
mod environment;
mod flags;
mod check;
mod print;

use std::ffi::OsString;

use crate::options::{Durability, Options};

use options::OPTIONS;
use source::Given;

pub use error::ConfigError;
pub use options::Config;
pub use setting::{DurabilityName, EngineName, LogFormat, LogLevel, PoolName};
pub use source::Source;

/// What a command line asks for: a configuration that was checked, and where its values are from.
///
/// ```
/// use kvs::server::config::{Loaded, Source};
/// let variables = [("KVS_DIR".into(), "data".into())];
/// let loaded = Loaded::new(["kvs-server".into(), "--addr=127.0.0.1:0".into()], variables)?;
/// assert_eq!(loaded.config.addr.port(), 0);
/// assert_eq!(loaded.source("dir"), &Source::Variable("KVS_DIR".to_owned()));
/// assert_eq!(loaded.source("engine"), &Source::Default);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Whether it is only to be printed.
    pub print_config: bool,
    /// In the order of `OPTIONS`.
    sources: Vec<Source>,
}

impl Loaded {
    /// Reads a command line, the name of the program first, and an environment, and the file that
    /// one of them names.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place that is wrong. `--help` and `--version` are
    /// [`ConfigError::CommandLine`], too.
    pub fn new(
        arguments: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let typed = flags::read(arguments)?;
        let environment = environment::read(variables)?;
        let mut given = Vec::new();
        if let Some(path) = typed.config_file.or(environment.config_file) {
            given = file::read(&path)?;
        }
        given.extend(environment.given);
        given.extend(typed.given);
        Loaded::merge(given, typed.print_config)
    }

    /// What a program has put together.
    pub(crate) fn of(config: Config) -> Result<Loaded, ConfigError> {
        config.check()?;
        Ok(Loaded { config, print_config: false, sources: vec![Source::Default; OPTIONS.len()] })
    }

    /// Puts values on the defaults, the later ones over the earlier ones, and checks them all.
    fn merge(given: Vec<Given>, print_config: bool) -> Result<Loaded, ConfigError> {
        let mut config = Config::default();
        let mut sources = vec![Source::Default; OPTIONS.len()];
        for Given { option, text, source } in given {
            option.read(&mut config, &text).map_err(|expected| ConfigError::Value {
                option: option.name,
                value: text,
                expected,
                from: source.clone(),
            })?;
            let place = OPTIONS.iter().position(|it| it.name == option.name);
            if let Some(known) = place.and_then(|place| sources.get_mut(place)) {
                *known = source;
            }
        }
        let loaded = Loaded { config, print_config, sources };
        check::check(&loaded.config, |option| loaded.source(option).clone())?;
        Ok(loaded)
    }

    /// Where the value of an option is from; the default for what is no option.
    #[must_use]
    pub fn source(&self, option: &str) -> &Source {
        let place = OPTIONS.iter().position(|it| it.name == option);
        place.and_then(|place| self.sources.get(place)).unwrap_or(&Source::Default)
    }
}

impl Config {
    /// Refuses options that do not go together. [`Loaded::new`] has done so.
    ///
    /// # Errors
    /// [`ConfigError::Value`], [`ConfigError::Conflict`].
    ///
    /// ```
    /// let mut config = kvs::server::Config::default();
    /// config.tls_cert_file = Some("cert.pem".into());
    /// assert!(config.check().is_err(), "there is no key");
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        check::check(self, |_| Source::Default)
    }

    /// When a write is acknowledged that does not say so itself.
    ///
    /// ```
    /// let config = kvs::server::Config::default();
    /// assert_eq!(config.durability(), kvs::Durability::Interval(1000));
    /// ```
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.durability {
            DurabilityName::Os => Durability::Os,
            DurabilityName::Interval => Durability::Interval(self.sync_interval_ms),
            DurabilityName::Always => Durability::Always,
        }
    }

    /// The options with which the engine `kvs` opens its store.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::server::Config::default().store_options().open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn store_options(&self) -> Options {
        let options = Options::new()
            .durability(self.durability())
            .space_amplification(self.space_amplification)
            .index(self.index)
            .read_path(self.read_path)
            .sigbus_guard(self.sigbus_guard)
            .ballast_bytes(self.ballast_bytes)
            .snapshot_bytes(self.snapshot_bytes)
            .retain_history(self.retain_history)
            .compaction(self.compaction)
            .must_exist(self.must_exist);
        match self.segment_bytes {
            Some(bytes) => options.segment_bytes(bytes),
            None => options,
        }
    }
}

#[cfg(test)]
mod tests;
