//! The configuration as TOML.

use std::fmt::Write;

use super::options::{Config, OPTIONS, OptionSpec};
use super::setting::Kind;
use super::{Loaded, Source};

impl Loaded {
    /// The configuration as a file that [`Loaded::new`] reads, with where each value came from as
    /// a comment. It holds no password.
    ///
    /// ```
    /// # use kvs::server::config::Loaded;
    /// let loaded = Loaded::new(["kvs-server".into(), "--connections-max=7".into()], [])?;
    /// assert!(loaded.to_toml().contains("connections_max = 7 # flag --connections-max\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        for option in OPTIONS {
            let line = line(option, &self.config);
            // Writing to a string does not fail.
            let _ = writeln!(toml, "{line} # {}", self.source(option.name));
        }
        toml
    }
}

impl Loaded {
    /// The options that are not as they are by default, in one line.
    pub(crate) fn summary(&self) -> String {
        let set = OPTIONS.iter().filter(|option| *self.source(option.name) != Source::Default);
        let set: Vec<String> = set
            .map(|option| format!("{} ({})", line(option, &self.config), self.source(option.name)))
            .collect();
        match set.is_empty() {
            true => "all options have their defaults".to_owned(),
            false => set.join(", "),
        }
    }
}

/// An option and its value; in a comment if it is not set.
fn line(option: &OptionSpec, config: &Config) -> String {
    let name = option.name;
    match (option.show(config), option.kind) {
        (Some(text), Kind::Text) => format!("{name} = {}", toml::Value::String(text)),
        (Some(value), Kind::Number | Kind::Factor | Kind::Switch) => format!("{name} = {value}"),
        (None, _) => format!("# {name} is not set"),
    }
}

/// A file with all defaults and what they mean, as `packaging/kvs.toml` is.
#[cfg(test)]
pub(super) fn example() -> String {
    let mut toml = String::from(HEAD);
    let mut section = "";
    for option in OPTIONS {
        if section != option.section {
            section = option.section;
            let _ = writeln!(toml, "\n## {section}");
        }
        toml.push('\n');
        let mut column = 0;
        for word in option.help.split_whitespace() {
            if column == 0 || column + word.len() >= 98 {
                toml.push_str(if column == 0 { "#" } else { "\n#" });
                column = 1;
            }
            let _ = write!(toml, " {word}");
            column += 1 + word.len();
        }
        let set = line(option, &Config::default());
        let unset = format!("# {} = {}", option.name, option.placeholder);
        let _ = writeln!(toml, "\n{}", if set.starts_with('#') { unset } else { set });
    }
    toml
}

#[cfg(test)]
const HEAD: &str = "\
# The configuration of kvs-server: all options with their defaults.
#
# Each can also be a variable of the environment (KVS_ADDR) or a flag (--addr), which win over this
# file. The password is never in here: see password_file.
";
