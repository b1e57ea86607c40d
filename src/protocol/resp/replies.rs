//! `RespReplies`: replies, encoded one behind the other.

use super::error::ReplyError;
use super::number::put_integer;
use crate::server::step::Replies;

/// The version of the protocol that a client has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RespVersion {
    /// RESP2, with which every connection begins.
    #[default]
    Two,
    /// RESP3.
    Three,
}

impl RespVersion {
    /// Its number.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            RespVersion::Two => 2,
            RespVersion::Three => 3,
        }
    }
}

/// Replies, encoded one behind the other, each as the version says that is set when it is added.
///
/// ```
/// use kvs::protocol::resp::{RespReplies, RespVersion};
/// let mut replies = RespReplies::new(RespVersion::Two);
/// replies.null();
/// replies.set_version(RespVersion::Three);
/// replies.null();
/// replies.map(1);
/// replies.bulk(b"proto");
/// replies.integer(3);
/// assert_eq!(replies.as_bytes(), b"$-1\r\n_\r\n%1\r\n$5\r\nproto\r\n:3\r\n");
/// ```
#[derive(Debug, Default)]
pub struct RespReplies {
    bytes: Vec<u8>,
    version: RespVersion,
    /// Errors so far, those that were taken back included.
    errors: usize,
}

impl RespReplies {
    /// No replies yet.
    #[must_use]
    pub fn new(version: RespVersion) -> RespReplies {
        RespReplies { bytes: Vec::new(), version, errors: 0 }
    }

    /// How the next replies are encoded.
    #[must_use]
    pub fn version(&self) -> RespVersion {
        self.version
    }

    /// Has the next replies encoded so.
    pub fn set_version(&mut self, version: RespVersion) {
        self.version = version;
    }

    /// What was encoded.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many errors were encoded, also if they are no longer there.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// `OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A short text without line ends.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error.
    pub fn error(&mut self, error: &ReplyError) {
        self.error_text(error.text());
    }

    /// An error with this text: a code in capitals, a blank and what is wrong.
    pub fn error_text(&mut self, text: &[u8]) {
        self.errors = self.errors.wrapping_add(1);
        self.line(b'-', text);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.head(b':', value);
    }

    /// A count.
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Yes or no, which are 1 and 0 in both versions.
    pub fn flag(&mut self, value: bool) {
        self.bytes.extend_from_slice(if value { b":1\r\n" } else { b":0\r\n" });
    }

    /// Bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bytes.reserve(bytes.len() + 16);
        self.head(b'$', length(bytes.len()));
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Bytes, or that there are none.
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// No value.
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(match self.version {
            RespVersion::Two => b"$-1\r\n",
            RespVersion::Three => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(match self.version {
            RespVersion::Two => b"*-1\r\n",
            RespVersion::Three => b"_\r\n",
        });
    }

    /// The head of an array: so many replies follow.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', length(len));
    }

    /// The head of a map: so many pairs of replies follow.
    pub fn map(&mut self, len: usize) {
        match self.version {
            RespVersion::Two => self.array(len.saturating_mul(2)),
            RespVersion::Three => self.head(b'%', length(len)),
        }
    }

    /// The head of a set: so many replies follow.
    pub fn set(&mut self, len: usize) {
        match self.version {
            RespVersion::Two => self.array(len),
            RespVersion::Three => self.head(b'~', length(len)),
        }
    }

    /// A text for people.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.version {
            RespVersion::Two => self.bulk(text),
            RespVersion::Three => {
                self.head(b'=', length(text.len() + 4));
                self.bytes.extend_from_slice(b"txt:");
                self.bytes.extend_from_slice(text);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Lines of help: an array of short texts.
    pub fn lines(&mut self, lines: &[&str]) {
        self.array(lines.len());
        lines.iter().for_each(|line| self.simple(line));
    }

    /// A line of text, its line ends turned into blanks.
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.reserve(text.len() + 3);
        self.bytes.push(kind);
        let clean = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        self.bytes.extend(text.iter().map(clean));
        self.bytes.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn head(&mut self, kind: u8, value: i64) {
        self.bytes.push(kind);
        put_integer(&mut self.bytes, value);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

impl Replies for RespReplies {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// A length as the wire has it. None is ever that long.
#[inline]
fn length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::error::ReplyError;
    use super::{RespReplies, RespVersion};

    fn encoded(version: RespVersion, add: impl Fn(&mut RespReplies)) -> String {
        let mut replies = RespReplies::new(version);
        add(&mut replies);
        String::from_utf8_lossy(replies.as_bytes()).into_owned()
    }

    /// What is added, and its bytes in the two versions.
    type Case = (fn(&mut RespReplies), &'static str, &'static str);

    #[test]
    fn each_kind_has_its_bytes_in_both_versions() {
        let cases: [Case; 14] = [
            (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
            (|r| r.simple("a\r\nb"), "+a  b\r\n", "+a  b\r\n"),
            (|r| r.error(&ReplyError::SYNTAX), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
            (|r| r.error_text(b"ERR '\n'"), "-ERR ' '\r\n", "-ERR ' '\r\n"),
            (|r| r.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|r| r.flag(true), ":1\r\n", ":1\r\n"),
            (|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.array(12), "*12\r\n", "*12\r\n"),
            (|r| r.map(7), "*14\r\n", "%7\r\n"),
            (|r| r.set(2), "*2\r\n", "~2\r\n"),
            (|r| r.verbatim(b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        ];
        for (number, (add, two, three)) in cases.into_iter().enumerate() {
            assert_eq!(encoded(RespVersion::Two, add), two, "case {number}");
            assert_eq!(encoded(RespVersion::Three, add), three, "case {number}");
        }
    }
}
