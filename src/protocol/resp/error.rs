//! `ReplyError`: an error as its reply says it.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use bytes::Bytes;

/// The text of an error reply: a code in capitals and what is wrong. It may quote arguments, so it
/// need not be UTF-8; line ends in it are cleaned when it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyError(Cow<'static, [u8]>);

impl ReplyError {
    /// An option or its place makes no sense.
    pub const SYNTAX: ReplyError = ReplyError::new("ERR syntax error");
    /// An argument or a value is no integer of 64 bits.
    pub const NOT_AN_INTEGER: ReplyError =
        ReplyError::new("ERR value is not an integer or out of range");
    /// An argument or a value is no number.
    pub const NOT_A_FLOAT: ReplyError = ReplyError::new("ERR value is not a valid float");
    /// There is no such key.
    pub const NO_SUCH_KEY: ReplyError = ReplyError::new("ERR no such key");
    /// A value would be longer than one may be.
    pub const VALUE_TOO_LONG: ReplyError =
        ReplyError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// There is no database of that number.
    pub const NO_SUCH_DATABASE: ReplyError = ReplyError::new("ERR DB index is out of range");
    /// The client has yet to log in.
    pub const NOT_LOGGED_IN: ReplyError = ReplyError::new("NOAUTH Authentication required.");
    /// The same, for `HELLO` without `AUTH`.
    pub const HELLO_NOT_LOGGED_IN: ReplyError = ReplyError::new(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
         <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
         RESP protocol version at the same time",
    );
    /// There is no such user, or it has another password.
    pub const WRONG_PASSWORD: ReplyError =
        ReplyError::new("WRONGPASS invalid username-password pair or user is disabled.");
    /// A password was given, and none is needed.
    pub const NO_PASSWORD: ReplyError = ReplyError::new(
        "ERR AUTH <password> called without any password configured for the default user. Are you \
         sure your configuration is correct?",
    );
    /// A transaction has begun already.
    pub const NESTED_MULTI: ReplyError = ReplyError::new("ERR MULTI calls can not be nested");
    /// A transaction has begun already, too late to watch.
    pub const WATCH_IN_MULTI: ReplyError = ReplyError::new("ERR WATCH inside MULTI is not allowed");
    /// No transaction has begun.
    pub const EXEC_WITHOUT_MULTI: ReplyError = ReplyError::new("ERR EXEC without MULTI");
    /// No transaction has begun.
    pub const DISCARD_WITHOUT_MULTI: ReplyError = ReplyError::new("ERR DISCARD without MULTI");
    /// A command of the transaction could not be queued.
    pub const EXEC_ABORTED: ReplyError =
        ReplyError::new("EXECABORT Transaction discarded because of previous errors.");
    /// A command with the flag `no_multi`.
    pub const NOT_IN_TRANSACTION: ReplyError =
        ReplyError::new("ERR Command not allowed inside a transaction");
    /// `SHUTDOWN ABORT` when nothing ends.
    pub const NO_SHUTDOWN: ReplyError = ReplyError::new("ERR No shutdown in progress.");
    /// `CLIENT KILL` of an address that nobody has.
    pub const NO_SUCH_CLIENT: ReplyError = ReplyError::new("ERR No such client");
    /// There are as many connections as may be.
    pub const TOO_MANY_CLIENTS: ReplyError = ReplyError::new("ERR max number of clients reached");

    /// An error with that text.
    #[must_use]
    pub const fn new(text: &'static str) -> ReplyError {
        ReplyError(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with a text that is put together.
    #[must_use]
    pub fn from_text(text: String) -> ReplyError {
        ReplyError(Cow::Owned(text.into_bytes()))
    }

    /// An error that quotes an argument between two texts.
    pub(crate) fn quoting(before: &str, argument: &[u8], after: &str) -> ReplyError {
        ReplyError(Cow::Owned([before.as_bytes(), argument, after.as_bytes()].concat()))
    }

    /// The name of a command is not known.
    pub(crate) fn unknown_command(arguments: &[Bytes]) -> ReplyError {
        const QUOTED_BYTES_MAX: usize = 128;
        let mut arguments = arguments.iter();
        let name = arguments.next().map_or(&[][..], |name| c_string(name, QUOTED_BYTES_MAX));
        let mut text = b"ERR unknown command '".to_vec();
        text.extend_from_slice(name);
        text.extend_from_slice(b"', with args beginning with: ");
        let before = text.len();
        for argument in arguments {
            let left = QUOTED_BYTES_MAX.saturating_sub(text.len() - before);
            if left == 0 {
                break;
            }
            text.push(b'\'');
            text.extend_from_slice(c_string(argument, left));
            text.extend_from_slice(b"' ");
        }
        ReplyError(Cow::Owned(text))
    }

    /// The name behind the name of a command is not known.
    pub(crate) fn unknown_subcommand(command: &str, name: &[u8]) -> ReplyError {
        let after = format!("'. Try {} HELP.", command.to_ascii_uppercase());
        ReplyError::quoting("ERR unknown subcommand '", c_string(name, 128), &after)
    }

    /// There are too few or too many arguments for the command of this name.
    pub(crate) fn wrong_arguments(command: &str) -> ReplyError {
        ReplyError::from_text(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// The expiry is not positive, or later than anything can expire.
    pub(crate) fn invalid_expiry(command: &str) -> ReplyError {
        ReplyError::from_text(format!("ERR invalid expire time in '{command}' command"))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes before the first zero byte, so many at most: what Redis quotes of an argument.
fn c_string(argument: &[u8], bytes_max: usize) -> &[u8] {
    let end = argument.iter().take(bytes_max).position(|byte| *byte == 0);
    argument.get(..end.unwrap_or(bytes_max)).unwrap_or(argument)
}

impl Display for ReplyError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0.escape_ascii(), formatter)
    }
}

impl fmt::Debug for ReplyError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReplyError({self})")
    }
}

impl std::error::Error for ReplyError {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::ReplyError;

    #[test]
    fn what_is_quoted_is_short() {
        let name = Bytes::from(vec![b'n'; 200]);
        let argument = Bytes::from(vec![b'a'; 100]);
        let arguments = [name, argument.clone(), argument.clone(), argument];
        let error = ReplyError::unknown_command(&arguments);
        let expected = format!(
            "ERR unknown command '{}', with args beginning with: '{}' '{}' ",
            "n".repeat(128),
            "a".repeat(100),
            "a".repeat(25)
        );
        assert_eq!(error.text(), expected.as_bytes());
        let nothing = ReplyError::unknown_command(&[Bytes::new()]);
        assert_eq!(nothing.text(), b"ERR unknown command '', with args beginning with: ");
    }

    #[test]
    fn a_zero_byte_ends_what_is_quoted() {
        let error = ReplyError::unknown_subcommand("client", b"a\0b");
        assert_eq!(error.text(), b"ERR unknown subcommand 'a'. Try CLIENT HELP.");
    }
}
