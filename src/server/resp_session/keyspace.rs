//! Commands that go over the keys: `KEYS`, `SCAN`, `RANDOMKEY`.

use super::Session;
use crate::protocol::glob;
use crate::protocol::resp::command::Scan;

/// How many keys are looked at between two turns of other connections.
const STRIDE: usize = 1000;

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
            let matching = walked.keys.into_iter().filter(|key| glob::matches(pattern, key));
            found.extend(matching.inspect(|key| bytes += key.len() + 32));
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
        let matches = |key: &&Vec<u8>| {
            scan.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
        };
        let found: Vec<&Vec<u8>> =
            walked.keys.iter().filter(|_| scan.wants_strings).filter(matches).collect();
        self.replies.array(2);
        self.replies.bulk(walked.cursor.to_string().as_bytes());
        self.replies.array(found.len());
        found.iter().for_each(|key| self.replies.bulk(key));
    }
}
