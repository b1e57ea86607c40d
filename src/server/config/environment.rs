//! The environment: `KVS_` and the name of an option in capitals.
//!
//! An empty variable counts as none: that is what a template without a value makes of it. Other
//! variables that begin with `KVS_` are nobody's business: where a service is named `kvs`,
//! Kubernetes sets `KVS_PORT` and more.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::ConfigError;
use super::options::OPTIONS;
use super::source::{Given, Source};

/// What the environment says.
pub(super) struct Environment {
    pub(super) config_file: Option<PathBuf>,
    pub(super) given: Vec<Given>,
}

/// The variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "KVS_CONFIG";

pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigError> {
    let mut environment = Environment { config_file: None, given: Vec::new() };
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|_| !value.is_empty()) else {
            continue;
        };
        if name == CONFIG_VARIABLE {
            environment.config_file = Some(PathBuf::from(value));
            continue;
        }
        if let Some(option) = OPTIONS.iter().find(|option| option.variable() == name) {
            let name = name.to_owned();
            match value.into_string() {
                Ok(text) => {
                    let source = Source::Variable(name);
                    environment.given.push(Given { option, text, source });
                }
                Err(_) => return Err(ConfigError::NotUtf8 { name }),
            }
        }
    }
    Ok(environment)
}
