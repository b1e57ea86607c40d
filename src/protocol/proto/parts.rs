//! The parts of requests, from what is on the wire to what the engine takes, and back.

use crate::batch::Expected;
use crate::options::{Durability, Expiry};
use crate::store::{Change, Value, Versioned, Written};

use super::messages::{self, Absent, Keep, Never, Present, condition, expiry};

/// A field that is missing, or makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadField(pub(crate) &'static str);

/// What a key is to be like.
pub(crate) fn expected(condition: messages::Condition) -> Result<Expected, BadField> {
    match condition.kind {
        Some(condition::Kind::Absent(Absent {})) => Ok(Expected::Absent),
        Some(condition::Kind::Present(Present {})) => Ok(Expected::Present),
        Some(condition::Kind::Version(version)) => Ok(Expected::Version(version)),
        Some(condition::Kind::Value(value)) => Ok(Expected::Value(value.into())),
        // One of a later version, most likely: to leave it out would be to write wrongly.
        None => Err(BadField("a condition of no known kind")),
    }
}

impl From<Expected> for messages::Condition {
    fn from(expected: Expected) -> messages::Condition {
        let kind = match expected {
            Expected::Absent => condition::Kind::Absent(Absent {}),
            Expected::Present => condition::Kind::Present(Present {}),
            Expected::Version(version) => condition::Kind::Version(version),
            Expected::Value(value) => condition::Kind::Value(value.into()),
        };
        messages::Condition { kind: Some(kind) }
    }
}

/// When a key expires; none: never.
pub(crate) fn expiry(message: Option<messages::Expiry>) -> Result<Expiry, BadField> {
    match message.map(|message| message.when) {
        None | Some(Some(expiry::When::Never(Never {}))) => Ok(Expiry::Never),
        Some(Some(expiry::When::AtMs(at_ms))) => Ok(Expiry::AtMs(at_ms)),
        Some(Some(expiry::When::AfterMs(ms))) => Ok(Expiry::AfterMs(ms)),
        Some(Some(expiry::When::Keep(Keep {}))) => Ok(Expiry::Keep),
        Some(None) => Err(BadField("an expiry of no known kind")),
    }
}

impl From<Expiry> for messages::Expiry {
    fn from(expiry: Expiry) -> messages::Expiry {
        let when = match expiry {
            Expiry::Never => expiry::When::Never(Never {}),
            Expiry::Keep => expiry::When::Keep(Keep {}),
            Expiry::AfterMs(ms) => expiry::When::AfterMs(ms),
            Expiry::AtMs(at_ms) => expiry::When::AtMs(at_ms),
        };
        messages::Expiry { when: Some(when) }
    }
}

/// How durable a write is to be; none: as the server was started.
pub(crate) fn durability(number: i32) -> Result<Option<Durability>, BadField> {
    match messages::Durability::try_from(number) {
        Ok(messages::Durability::Unspecified) => Ok(None),
        Ok(messages::Durability::Os) => Ok(Some(Durability::Os)),
        Ok(messages::Durability::Always) => Ok(Some(Durability::Always)),
        // To promise less than what was asked for would be worse than to refuse.
        Err(_) => Err(BadField("a durability of no known kind")),
    }
}

/// The same on the wire. How often the log is synced belongs to the server.
pub(crate) fn durability_number(durability: Option<Durability>) -> i32 {
    let durability = match durability {
        None => messages::Durability::Unspecified,
        Some(Durability::Os | Durability::Interval(_)) => messages::Durability::Os,
        Some(Durability::Always) => messages::Durability::Always,
    };
    durability.into()
}

impl From<messages::Found> for Versioned {
    fn from(found: messages::Found) -> Versioned {
        let value = Value::from(Vec::from(found.value));
        Versioned { value, seq: found.version, expires_at_ms: found.expires_at_ms }
    }
}

impl From<Versioned> for messages::Found {
    fn from(found: Versioned) -> messages::Found {
        let value = found.value.into_vec().into();
        messages::Found { value, version: found.seq, expires_at_ms: found.expires_at_ms }
    }
}

impl From<messages::Change> for Change {
    fn from(change: messages::Change) -> Change {
        Change {
            seq: change.seq,
            key: change.key.into(),
            value: change.value.map(|value| Value::from(Vec::from(value))),
            expires_at_ms: change.expires_at_ms,
        }
    }
}

impl From<Change> for messages::Change {
    fn from(change: Change) -> messages::Change {
        messages::Change {
            seq: change.seq,
            key: change.key.into(),
            value: change.value.map(|value| value.into_vec().into()),
            expires_at_ms: change.expires_at_ms,
        }
    }
}

impl From<messages::WriteResponse> for Written {
    fn from(written: messages::WriteResponse) -> Written {
        Written { seq: written.seq, existed: written.existed }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, Expected, Expiry, messages};
    use super::{durability, durability_number, expected, expiry};

    #[test]
    fn parts_come_back() {
        let all = [Expected::Absent, Expected::Present, Expected::Version(7), Expected::value("v")];
        for it in all {
            let message = messages::Condition::from(it.clone());
            assert_eq!(expected(message), Ok(it));
        }
        for it in [Expiry::Never, Expiry::Keep, Expiry::AfterMs(0), Expiry::AtMs(u64::MAX)] {
            assert_eq!(expiry(Some(it.into())), Ok(it));
        }
        for it in [None, Some(Durability::Os), Some(Durability::Always)] {
            assert_eq!(durability(durability_number(it)), Ok(it));
        }
        assert_eq!(expiry(None), Ok(Expiry::Never));
    }

    #[test]
    fn what_is_not_known_is_refused_and_not_left_out() {
        assert!(expected(messages::Condition { kind: None }).is_err());
        assert!(expiry(Some(messages::Expiry { when: None })).is_err());
        assert!(durability(99).is_err());
    }
}
