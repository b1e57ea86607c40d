//! `CONFIG`: the parameters that tools ask for, as far as there is something of the kind.

use std::collections::HashSet;

use super::Session;
use crate::options::Durability;
use crate::protocol::glob;
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::command::ConfigCommand;

impl Session {
    pub(super) fn config(&mut self, command: ConfigCommand) {
        match command {
            ConfigCommand::Get(patterns) => {
                let lower: Vec<Vec<u8>> =
                    patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
                // All of it in the time of one long match: what is behind that finds nothing.
                let mut steps = glob::STEPS_MAX;
                let mut is_wanted = |name: &str| {
                    lower.iter().any(|pattern| {
                        glob::matches_within(pattern, name.as_bytes(), &mut steps) == Some(true)
                    })
                };
                let all = self.parameters();
                let found: Vec<_> = all.iter().filter(|(name, _)| is_wanted(name)).collect();
                self.replies.map(found.len());
                for (name, value) in found {
                    self.replies.bulk(name.as_bytes());
                    self.replies.bulk(value.as_bytes());
                }
            }
            ConfigCommand::Set(pairs) => self.set_parameters(&pairs),
            ConfigCommand::ResetStat => self.replies.ok(),
        }
    }

    /// What is as it is set to is accepted; anything else needs the configuration of the server.
    fn set_parameters(&mut self, pairs: &[bytes::Bytes]) {
        let all = self.parameters();
        let mut seen = HashSet::new();
        for pair in pairs.chunks(2) {
            let [name, value] = pair else {
                return self.replies.error(&ReplyError::SYNTAX);
            };
            let known = all.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
            let shown = String::from_utf8_lossy(name);
            let error = match known {
                Some((known, _)) if !seen.insert(*known) => format!(
                    "ERR CONFIG SET failed (possibly related to argument '{shown}') - duplicate \
                     parameter"
                ),
                Some((_, is)) if is.as_bytes() == &value[..] => continue,
                Some(_) => format!(
                    "ERR CONFIG SET failed (possibly related to argument '{shown}') - can't set \
                     immutable config"
                ),
                None => {
                    format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
                }
            };
            return self.replies.error(&ReplyError::from_text(error));
        }
        self.replies.ok();
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let config = &self.shared.config;
        let is_durable = self.shared.engine.capabilities().durable;
        let appendfsync = match config.durability() {
            Durability::Always => "always",
            Durability::Interval(_) => "everysec",
            _ => "no",
        };
        vec![
            ("appendfsync", appendfsync.to_owned()),
            ("appendonly", if is_durable { "yes" } else { "no" }.to_owned()),
            ("bind", config.addr.ip().to_string()),
            ("databases", "1".to_owned()),
            ("dir", config.dir.display().to_string()),
            ("maxclients", config.connections_max.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("port", self.peer.local_addr.port().to_string()),
            ("proto-max-bulk-len", config.value_bytes_max.to_string()),
            ("save", String::new()),
            ("slowlog-log-slower-than", config.slow_log_us.to_string()),
            ("slowlog-max-len", config.slow_log_entries.to_string()),
            ("tcp-keepalive", (config.tcp_keepalive_ms / 1000).to_string()),
            ("timeout", (config.idle_timeout_ms / 1000).to_string()),
        ]
    }
}
