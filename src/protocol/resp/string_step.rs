//! The commands on keys and values, as they were asked for. `server::steps` decides them.

use bytes::Bytes;

use super::decimal::Addend;
use super::error::ReplyError;

/// A command on keys and values. Its name is that of Redis.
#[derive(Debug, Clone, PartialEq)]
pub enum StringStep {
    /// The value of a key.
    Get(Bytes),
    /// The value of a key, which is removed.
    GetDel(Bytes),
    /// The value of a key, whose expiry may change.
    GetEx(GetEx),
    /// The length of a value in bytes.
    Strlen(Bytes),
    /// A part of a value.
    GetRange {
        /// The key.
        key: Bytes,
        /// The first byte; negative: from the end, -1 being the last.
        start: i64,
        /// The last byte, in the same way.
        end: i64,
    },
    /// The values of keys.
    MGet(Vec<Bytes>),
    /// `SET` and its older forms.
    Set(Set),
    /// Gives keys values: keys and values in turn.
    MSet(Vec<Bytes>),
    /// The same, if none of the keys is there.
    MSetNx(Vec<Bytes>),
    /// Adds bytes behind a value.
    Append {
        /// The key.
        key: Bytes,
        /// What is added.
        value: Bytes,
    },
    /// Writes over a part of a value.
    SetRange {
        /// The key.
        key: Bytes,
        /// Where the part begins, in bytes.
        offset: u64,
        /// What is written there.
        value: Bytes,
    },
    /// Adds to an integer.
    Incr {
        /// The key.
        key: Bytes,
        /// What is added.
        by: i64,
    },
    /// Adds to a number.
    IncrByFloat {
        /// The key.
        key: Bytes,
        /// What is added.
        by: Addend,
    },
    /// Removes keys.
    Del(Vec<Bytes>),
    /// How many of the keys are there, one that is named twice counting twice.
    Exists(Vec<Bytes>),
    /// The type of a value.
    Type(Bytes),
    /// Gives a value another key.
    Rename {
        /// The key that it has.
        from: Bytes,
        /// The key that it gets.
        to: Bytes,
        /// Only if that key is not there.
        only_if_absent: bool,
    },
    /// Gives another key the same value.
    Copy {
        /// The key that has it.
        from: Bytes,
        /// The key that gets it.
        to: Bytes,
        /// Also if that key is there.
        replace: bool,
    },
    /// What Redis would say of the inside of a value.
    Object {
        /// The key.
        key: Bytes,
        /// What is asked for.
        aspect: Aspect,
    },
    /// What a key and its value take, in bytes.
    MemoryUsage(Bytes),
    /// Lets a key expire.
    Expire(Expire),
    /// When a key expires.
    Ttl {
        /// The key.
        key: Bytes,
        /// From now on, or since 1970.
        is_absolute: bool,
        /// In milliseconds, or in seconds.
        in_ms: bool,
    },
    /// Takes the expiry of a key away.
    Persist(Bytes),
}

/// A moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// From now on.
    After(i64),
    /// Since 1970-01-01 UTC.
    At(i64),
}

impl Moment {
    /// It in milliseconds since 1970-01-01 UTC; none: it is later than can be said.
    ///
    /// ```
    /// use kvs::protocol::resp::string_step::Moment;
    /// assert_eq!(Moment::After(5).at_ms(100), Some(105));
    /// assert_eq!(Moment::After(i64::MAX).at_ms(100), None);
    /// ```
    #[must_use]
    pub fn at_ms(self, now_ms: u64) -> Option<i64> {
        match self {
            Moment::At(at_ms) => Some(at_ms),
            Moment::After(ms) => ms.checked_add_unsigned(now_ms),
        }
    }
}

/// Gives a key a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it will expire.
    pub expiry: SetExpiry,
    /// Only if it is there, or only if it is not.
    pub only_if_present: Option<bool>,
    /// What is answered.
    pub answer: SetAnswer,
    /// The name of the command, for errors.
    pub command: &'static str,
}

/// When a key will expire that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetExpiry {
    /// Never.
    Never,
    /// When it would have.
    Keep,
    /// Then.
    At(Moment),
}

/// What is answered to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAnswer {
    /// `OK`, or nothing if its condition does not hold.
    Ok,
    /// The value before.
    Old,
    /// 1, or 0 if its condition does not hold.
    Flag,
}

/// The value of a key, whose expiry may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetEx {
    /// The key.
    pub key: Bytes,
    /// What becomes of its expiry.
    pub change: ExpiryChange,
}

/// What becomes of an expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpiryChange {
    /// Nothing.
    Nothing,
    /// It is taken away.
    Persist,
    /// It is this, or this is wrong with it, which matters only if the key is there.
    At(Result<Moment, ReplyError>),
}

/// Lets a key expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// The key.
    pub key: Bytes,
    /// When. What is past removes the key.
    pub moment: Moment,
    /// Only if the key has an expiry, or only if it has none.
    pub only_if_expiring: Option<bool>,
    /// Only if it expires later than before, or only if earlier; never is the latest.
    pub only_if_later: Option<bool>,
    /// The name of the command, for errors.
    pub command: &'static str,
}

/// What can be asked of the inside of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// How it is kept: `int`, `embstr` or `raw`.
    Encoding,
    /// How often it is used, which nobody counts.
    Frequency,
    /// For how long it was not used, which nobody measures.
    IdleTime,
    /// How many times it is used.
    References,
}
