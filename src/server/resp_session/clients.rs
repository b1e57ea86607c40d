//! `CLIENT`: connections about themselves and each other.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::{Flow, Session};
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::command::{ClientCommand, ClientFilter, ClientKind, KillFilter};
use crate::server::metrics::CloseReason;
use crate::server::peer::Peer;

impl Session {
    pub(super) fn client(&mut self, command: ClientCommand) -> Flow {
        match command {
            ClientCommand::KillAddress(address) => return self.kill_address(address),
            ClientCommand::Kill(filter) => return self.kill(&filter),
            other => self.about_clients(other),
        }
        Flow::GoOn
    }

    fn about_clients(&mut self, command: ClientCommand) {
        match command {
            ClientCommand::Id => {
                self.replies.integer(i64::try_from(self.peer.id).unwrap_or(i64::MAX));
            }
            ClientCommand::GetName => {
                let name = self.peer.about().name.clone();
                self.replies.bulk_or_null((!name.is_empty()).then_some(&name[..]));
            }
            ClientCommand::SetName(name) => {
                self.peer.about().name = name.to_vec();
                self.replies.ok();
            }
            ClientCommand::SetInfo { is_name: is_library, value } => {
                let mut about = self.peer.about();
                match is_library {
                    true => about.library = value.to_vec(),
                    false => about.library_version = value.to_vec(),
                }
                drop(about);
                self.replies.ok();
            }
            ClientCommand::Info => {
                let line = self.line_about(&self.peer);
                self.replies.verbatim(&line);
            }
            ClientCommand::List(filter) => self.list_clients(&filter),
            ClientCommand::Reply(mode) => self.set_reply_mode(mode),
            ClientCommand::NoEvict(_)
            | ClientCommand::NoTouch(_)
            | ClientCommand::KillAddress(_)
            | ClientCommand::Kill(_) => self.replies.ok(),
        }
    }

    fn list_clients(&mut self, filter: &ClientFilter) {
        let mut lines = Vec::new();
        let ids: HashSet<u64> = match filter {
            ClientFilter::Ids(ids) => ids.iter().copied().collect(),
            _ => HashSet::new(),
        };
        for peer in self.shared.peers.all() {
            let is_wanted = match filter {
                ClientFilter::All => true,
                ClientFilter::Kind(kind) => *kind == ClientKind::Normal,
                ClientFilter::Ids(_) => ids.contains(&peer.id),
            };
            if is_wanted {
                lines.extend(self.line_about(&peer));
            }
        }
        self.replies.verbatim(&lines);
    }

    fn kill_address(&mut self, address: bytes::Bytes) -> Flow {
        let (address, includes_self) = (Some(address), true);
        let filter = KillFilter { address, includes_self, ..KillFilter::default() };
        let (killed, flow) = self.end(&filter);
        match killed {
            0 => self.replies.error(&ReplyError::NO_SUCH_CLIENT),
            _ => self.replies.ok(),
        }
        flow
    }

    fn kill(&mut self, filter: &KillFilter) -> Flow {
        let (killed, flow) = self.end(filter);
        self.replies.count(killed);
        flow
    }

    /// Ends connections. How many, and whether this is one of them: it has its answer first, and
    /// nothing behind it is executed.
    fn end(&self, filter: &KillFilter) -> (usize, Flow) {
        let is_wanted = |peer: &&std::sync::Arc<Peer>| {
            let is_at = |wanted: &Option<bytes::Bytes>, addr: std::net::SocketAddr| {
                wanted.as_ref().is_none_or(|wanted| addr.to_string().as_bytes() == &wanted[..])
            };
            filter.id.is_none_or(|id| id == peer.id)
                && filter.kind.is_none_or(|kind| kind == ClientKind::Normal)
                && is_at(&filter.address, peer.addr)
                && is_at(&filter.local_address, peer.local_addr)
                && (filter.includes_self || peer.id != self.peer.id)
        };
        let (mut killed, mut flow) = (0, Flow::GoOn);
        for peer in self.shared.peers.all().iter().filter(is_wanted) {
            killed += 1;
            match peer.id == self.peer.id {
                true => flow = Flow::Quit,
                false => peer.end(CloseReason::Killed),
            }
        }
        (killed, flow)
    }

    /// A connection in the words of Redis.
    fn line_about(&self, peer: &Peer) -> Vec<u8> {
        let about = peer.about().clone();
        let idle_ms =
            self.shared.coarse_ms().saturating_sub(peer.active_ms.load(Ordering::Relaxed));
        let queued = about.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        let mut line =
            format!("id={} addr={} laddr={} fd=-1 name=", peer.id, peer.addr, peer.local_addr)
                .into_bytes();
        line.extend(&about.name);
        let flags = if about.queued.is_some() { "x" } else { "N" };
        line.extend(
            format!(
                " age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 multi={queued} watch={} \
                 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
                 tot-mem=0 events=r cmd={} user=default redir=-1 resp={} lib-name=",
                peer.since.elapsed().as_secs(),
                idle_ms / 1000,
                about.watched,
                if about.last_command.is_empty() { "NULL" } else { about.last_command },
                about.resp_version,
            )
            .into_bytes(),
        );
        line.extend(&about.library);
        line.extend(b" lib-ver=");
        line.extend(&about.library_version);
        line.push(b'\n');
        line
    }
}
