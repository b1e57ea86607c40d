//! Who a client is, and what it speaks: `HELLO`, `AUTH`, `RESET`.

use super::Session;
use super::transaction::Watches;
use crate::protocol::resp::command::{Credentials, Hello};
use crate::protocol::resp::{ReplyError, RespVersion};

impl Session {
    pub(super) fn auth(&mut self, credentials: &Credentials) {
        if credentials.user.is_none() && self.shared.password.is_none() {
            return self.replies.error(&ReplyError::NO_PASSWORD);
        }
        match self.is_right(credentials) {
            true => {
                self.log_in();
                self.replies.ok();
            }
            false => self.replies.error(&ReplyError::WRONG_PASSWORD),
        }
    }

    /// All of it, or nothing if anything is wrong.
    pub(super) fn hello(&mut self, hello: Hello) {
        if let Some(credentials) = &hello.credentials {
            if !self.is_right(credentials) {
                return self.replies.error(&ReplyError::WRONG_PASSWORD);
            }
        } else if !self.is_known {
            return self.replies.error(&ReplyError::HELLO_NOT_LOGGED_IN);
        }
        if hello.credentials.is_some() {
            self.log_in();
        }
        if let Some(name) = hello.name {
            self.peer.about().name = name.to_vec();
        }
        if let Some(version) = hello.version {
            self.replies.set_version(version);
        }
        let version = self.replies.version().number();
        self.peer.about().resp_version = version;
        let id = i64::try_from(self.peer.id).unwrap_or(i64::MAX);
        let replies = &mut self.replies;
        replies.map(7);
        replies.bulk(b"server");
        replies.bulk(b"redis");
        replies.bulk(b"version");
        replies.bulk(super::info::REDIS_VERSION.as_bytes());
        replies.bulk(b"proto");
        replies.integer(version);
        replies.bulk(b"id");
        replies.integer(id);
        replies.bulk(b"mode");
        replies.bulk(b"standalone");
        replies.bulk(b"role");
        replies.bulk(b"master");
        replies.bulk(b"modules");
        replies.array(0);
    }

    /// As a connection is at its beginning.
    pub(super) fn reset(&mut self) {
        self.transaction = None;
        self.watches = Watches::default();
        self.is_muted = false;
        (self.skips_next, self.skips_this) = (false, false);
        self.set_known(self.shared.password.is_none());
        self.replies.set_version(RespVersion::Two);
        let mut about = self.peer.about();
        about.name.clear();
        about.resp_version = RespVersion::Two.number();
        (about.queued, about.watched) = (None, 0);
        drop(about);
        self.replies.simple("RESET");
    }

    fn log_in(&mut self) {
        self.set_known(true);
        // The time for a login is over; that for a request is set when one is waited for.
        self.peer.wait_until(0, crate::server::metrics::CloseReason::Idle);
    }

    /// Whether a password is right. Without one to give, the user `default` needs none.
    fn is_right(&self, credentials: &Credentials) -> bool {
        let is_default = credentials.user.as_ref().is_none_or(|user| &user[..] == b"default");
        let is_right = match &self.shared.password {
            Some(password) => password.matches(&credentials.password.0) && is_default,
            None => is_default,
        };
        if !is_right {
            self.shared.metrics.failed_login();
            tracing::warn!(client = %self.peer.addr, "a wrong user or password");
        }
        is_right
    }
}
