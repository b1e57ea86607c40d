//! The command line: a flag for each option.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::StringValueParser;
use clap::{Arg, ArgAction, Command, value_parser};

use super::error::ConfigError;
use super::options::{Config, OPTIONS, OptionSpec};
use super::setting::Kind;
use super::source::{Given, Source};

const ABOUT: &str = "Serves a key-value store over the network: the protocol KVS and the Redis \
    protocol (RESP2 and RESP3) on one port";

const MORE: &str = "\
Each option can also stand in the configuration file, with underlines, and in the environment, in
capitals behind KVS_: a flag wins over the environment, that over the file. The password is never a
flag: it comes from a file, or from the variable KVS_PASSWORD.";

/// A command line as it was typed.
pub(super) struct Typed {
    pub(super) config_file: Option<PathBuf>,
    pub(super) print_config: bool,
    pub(super) given: Vec<Given>,
}

/// Reads a command line. Whether its values make sense is not looked at.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Typed, ConfigError> {
    let matches = command().try_get_matches_from(arguments);
    let mut matches = matches.map_err(|error| ConfigError::CommandLine(Arc::new(error)))?;
    let given = OPTIONS.iter().filter_map(|option| {
        let text = matches.get_one::<String>(option.name)?.clone();
        Some(Given { option, text, source: Source::Flag(format!("--{}", option.flag())) })
    });
    Ok(Typed {
        given: given.collect(),
        print_config: matches.get_flag("print_config"),
        config_file: matches.remove_one("config"),
    })
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file, in TOML; docs/SERVER.md describes it");
    let print_config = Arg::new("print_config")
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help("Print the configuration as TOML, with where each value is from, and exit");
    let defaults = Config::default();
    Command::new("kvs-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(MORE)
        .arg(config)
        .arg(print_config)
        .args(OPTIONS.iter().map(|option| flag(option, &defaults)))
}

fn flag(option: &OptionSpec, defaults: &Config) -> Arg {
    let help = option.help.trim();
    let help = match option.show(defaults).filter(|_| option.kind != Kind::Switch) {
        Some(value) => format!("{help} [default: {value}]"),
        None => help.to_owned(),
    };
    let flag = Arg::new(option.name)
        .long(option.flag())
        .value_name(option.placeholder)
        .value_parser(StringValueParser::new())
        .help_heading(option.section)
        .help(help);
    match option.kind {
        // `--insecure` alone is a yes.
        Kind::Switch => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Text | Kind::Number | Kind::Factor => flag,
    }
}
