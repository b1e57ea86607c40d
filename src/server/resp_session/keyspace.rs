//! Commands that go over the keys: `KEYS`, `SCAN`, `RANDOMKEY`.

use super::Session;
use crate::protocol::glob;
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::command::Scan;

/// How many keys are looked at between two turns of other connections.
const STRIDE: usize = 1000;
/// How many steps of matching are done between them, but for those of a single key.
const STEPS_PER_TURN: usize = 1 << 20;

const TOO_MANY_STEPS: ReplyError = ReplyError::new("ERR the pattern takes too long on a long key");

impl Session {
    pub(super) async fn random_key(&mut self) {
        match self.shared.engine.random_key().await {
            Ok(key) => self.replies.bulk_or_null(key.as_deref()),
            Err(error) => self.fail(&error),
        }
    }

    pub(super) async fn keys(&mut self, pattern: &[u8]) {
        let mut found = Vec::new();
        let (mut cursor, mut bytes) = (0, 0);
        loop {
            let walked = match self.shared.engine.walk(cursor, STRIDE).await {
                Ok(walked) => walked,
                Err(error) => return self.fail(&error),
            };
            let Some(matching) = matching(pattern, walked.keys).await else {
                return self.replies.error(&TOO_MANY_STEPS);
            };
            found.extend(matching.into_iter().inspect(|key| bytes += key.len() + 32));
            if bytes > self.shared.config.output_bytes_per_connection_max {
                let text = "ERR the keys are too many for one reply; use SCAN";
                return self.replies.error_text(text.as_bytes());
            }
            cursor = walked.cursor;
            if cursor == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        // A walk may meet a key twice; this reply has each once.
        found.sort_unstable();
        found.dedup();
        self.replies.array(found.len());
        found.iter().for_each(|key| self.replies.bulk(key));
    }

    pub(super) async fn scan(&mut self, scan: Scan) {
        let count = usize::try_from(scan.count).unwrap_or(usize::MAX).min(STRIDE * 100);
        let walked = match self.shared.engine.walk(scan.cursor, count).await {
            Ok(walked) => walked,
            // As Redis, which takes any number for a cursor.
            Err(crate::KvsError::InvalidCursor { .. }) => crate::Walked::default(),
            Err(error) => return self.fail(&error),
        };
        let found = match &scan.pattern {
            _ if !scan.wants_strings => Some(Vec::new()),
            Some(pattern) => matching(pattern, walked.keys).await,
            None => Some(walked.keys),
        };
        let Some(found) = found else {
            return self.replies.error(&TOO_MANY_STEPS);
        };
        self.replies.array(2);
        self.replies.bulk(walked.cursor.to_string().as_bytes());
        self.replies.array(found.len());
        found.iter().for_each(|key| self.replies.bulk(key));
    }
}

/// Those of some keys that match a pattern; none if one of them takes too long. Other connections
/// have their turns meanwhile.
async fn matching(pattern: &[u8], keys: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut left = STEPS_PER_TURN;
    for key in keys {
        let mut steps = glob::STEPS_MAX;
        if glob::matches_within(pattern, &key, &mut steps)? {
            found.push(key);
        }
        left = left.saturating_sub(glob::STEPS_MAX - steps);
        if left == 0 {
            tokio::task::yield_now().await;
            left = STEPS_PER_TURN;
        }
    }
    Some(found)
}
