//! Commands that are no steps: each a call or a few lines.

use std::sync::atomic::Ordering;

use super::{Flow, Session};
use crate::protocol::resp::command::{Shutdown, SlowLogCommand};
use crate::protocol::resp::introspection::Introspection;
use crate::protocol::resp::{Command, ReplyError};
use crate::server::shared::unix_time;

/// The most commands that are described at once: what is said of each is long.
const NAMES_MAX: usize = 1024;

impl Session {
    /// Executes a command that is no step, and replies to it.
    pub(super) async fn answer(&mut self, command: Command) -> Flow {
        match command {
            Command::Ping(None) => self.replies.simple("PONG"),
            Command::Ping(Some(payload)) | Command::Echo(payload) => self.replies.bulk(&payload),
            Command::Quit => {
                self.replies.ok();
                return Flow::Quit;
            }
            Command::Reset => self.reset(),
            Command::Hello(hello) => self.hello(*hello),
            Command::Auth(credentials) => self.auth(&credentials),
            Command::Select(_) => self.replies.ok(),
            Command::Time => self.time(),
            Command::Client(command) => return self.client(command),
            Command::Introspect(Introspection::Info(names) | Introspection::Docs(names))
                if names.len() > NAMES_MAX =>
            {
                self.replies.error(&ReplyError::new("ERR too many names of commands"));
            }
            Command::Introspect(introspection) => introspection.answer(&mut self.replies),
            Command::Config(command) => self.config(command),
            Command::Info(sections) => self.info(&sections).await,
            Command::Multi => self.multi(),
            Command::Exec => return self.exec().await,
            Command::Discard => self.discard(),
            Command::Watch(keys) => self.watch(keys).await,
            Command::Unwatch => self.unwatch(),
            Command::SlowLog(command) => self.slow_log(command),
            Command::Help(lines) => self.replies.lines(lines),
            Command::Shutdown(shutdown) => return self.shut_down(shutdown).await,
            Command::MemoryDoctor => {
                self.replies.verbatim(b"Hi, nothing is wrong with the memory of this server.");
            }
            other => self.answer_on_keys(other).await,
        }
        Flow::GoOn
    }

    /// Those that ask the engine.
    async fn answer_on_keys(&mut self, command: Command) {
        match command {
            Command::RandomKey => self.random_key().await,
            Command::Keys(pattern) => self.keys(&pattern).await,
            Command::Scan(scan) => self.scan(scan).await,
            Command::DbSize => match self.shared.engine.len().await {
                Ok(len) => self.replies.integer(i64::try_from(len).unwrap_or(i64::MAX)),
                Err(error) => self.fail(&error),
            },
            Command::Flush => match self.shared.engine.clear().await {
                Ok(()) => self.replies.ok(),
                Err(error) => self.fail(&error),
            },
            // There are no replicas, so there is nothing to wait for.
            Command::Wait => self.replies.integer(0),
            Command::WaitAof { local } => self.wait_aof(local).await,
            Command::Save => match self.save().await {
                Ok(()) => self.replies.ok(),
                Err(error) => self.fail(&error),
            },
            Command::BgSave => self.begin_save(),
            Command::BgRewriteAof => self.begin_compaction(),
            Command::LastSave => {
                let seconds = self.shared.last_save_s.load(Ordering::Relaxed);
                self.replies.integer(i64::try_from(seconds).unwrap_or(i64::MAX));
            }
            _ => self.replies.error(&ReplyError::SYNTAX),
        }
    }

    async fn wait_aof(&mut self, local: bool) {
        // There is no log that could have it.
        if local && !self.shared.engine.capabilities().durable {
            let text =
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
            return self.replies.error(&ReplyError::new(text));
        }
        if local && let Err(error) = self.save().await {
            return self.fail(&error);
        }
        self.replies.array(2);
        self.replies.integer(local.into());
        self.replies.integer(0);
    }

    async fn save(&self) -> crate::Result<()> {
        self.shared.engine.sync().await?;
        self.shared.last_save_s.store(unix_time().as_secs(), Ordering::Relaxed);
        Ok(())
    }

    /// One at a time: each goes over all data.
    fn begin_compaction(&mut self) {
        if self.shared.is_compacting.swap(true, Ordering::Relaxed) {
            let text = "ERR Background append only file rewriting already in progress";
            return self.replies.error(&ReplyError::new(text));
        }
        self.in_background(Work::Compact, "Background append only file rewriting started");
    }

    /// One at a time: whoever asks for many need not wait for any.
    fn begin_save(&mut self) {
        if self.shared.is_saving.swap(true, Ordering::Relaxed) {
            let text = "ERR Background save already in progress";
            return self.replies.error(&ReplyError::new(text));
        }
        self.in_background(Work::Save, "Background saving started");
    }

    fn in_background(&mut self, work: Work, reply: &str) {
        let shared = std::sync::Arc::clone(&self.shared);
        tokio::spawn(async move {
            let done = match work {
                Work::Save => shared.engine.sync().await,
                Work::Compact => shared.engine.compact().await,
            };
            let is_going_on = match work {
                Work::Save => &shared.is_saving,
                Work::Compact => &shared.is_compacting,
            };
            is_going_on.store(false, Ordering::Relaxed);
            match (done, work) {
                (Ok(()), Work::Save) => {
                    shared.last_save_s.store(unix_time().as_secs(), Ordering::Relaxed);
                }
                (Ok(()), Work::Compact) => {}
                (Err(error), _) => tracing::warn!("background work failed: {error}"),
            }
        });
        self.replies.simple(reply);
    }

    fn time(&mut self) {
        let now = unix_time();
        self.replies.array(2);
        self.replies.bulk(now.as_secs().to_string().as_bytes());
        self.replies.bulk(now.subsec_micros().to_string().as_bytes());
    }

    fn slow_log(&mut self, command: SlowLogCommand) {
        let log = std::sync::Arc::clone(&self.shared.slow_log);
        match command {
            SlowLogCommand::Len => self.replies.count(log.len()),
            SlowLogCommand::Reset => {
                log.reset();
                self.replies.ok();
            }
            SlowLogCommand::Get { count } => {
                let count =
                    count.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
                let entries = log.get(count);
                self.replies.array(entries.len());
                for entry in entries {
                    self.replies.array(6);
                    self.replies.integer(i64::try_from(entry.id).unwrap_or(i64::MAX));
                    self.replies.integer(i64::try_from(entry.unix_time_s).unwrap_or(i64::MAX));
                    self.replies.integer(i64::try_from(entry.micros).unwrap_or(i64::MAX));
                    self.replies.array(entry.arguments.len());
                    entry.arguments.iter().for_each(|it| self.replies.bulk(it));
                    self.replies.bulk(entry.client.to_string().as_bytes());
                    self.replies.bulk(&entry.client_name);
                }
            }
        }
    }

    /// Begins the end of the server. Connections, this one too, are told to finish.
    async fn shut_down(&mut self, shutdown: Shutdown) -> Flow {
        let Shutdown::Begin { save, force } = shutdown else {
            self.replies.error(&ReplyError::NO_SHUTDOWN);
            return Flow::GoOn;
        };
        if save != Some(false)
            && let Err(error) = self.save().await
            && !force
        {
            tracing::warn!("not shut down: {error}");
            let text = "ERR Errors trying to SHUTDOWN. Check logs.";
            self.replies.error(&ReplyError::new(text));
            return Flow::GoOn;
        }
        tracing::info!(client = %self.peer.addr, "a client has asked for the end");
        self.shared.shutdown.begin();
        Flow::Quit
    }
}

/// What is done behind a reply.
#[derive(Debug, Clone, Copy)]
enum Work {
    Save,
    Compact,
}
