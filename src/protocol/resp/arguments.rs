//! The arguments of a command, taken one after the other.

use bytes::Bytes;

use super::error::ReplyError;
use super::number::integer;
use super::table::Spec;

/// The arguments of a command behind its name, taken one after the other.
#[derive(Debug)]
pub(crate) struct Arguments {
    spec: &'static Spec,
    rest: std::vec::IntoIter<Bytes>,
}

impl Arguments {
    /// Those of a request for that command, whose name or names come first.
    pub(crate) fn new(spec: &'static Spec, request: Vec<Bytes>) -> Arguments {
        let mut rest = request.into_iter();
        rest.next();
        if spec.is_subcommand() {
            rest.next();
        }
        Arguments { spec, rest }
    }

    /// The name of the command.
    pub(crate) fn command(&self) -> &'static str {
        self.spec.name()
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next one, if there is one.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.rest.next()
    }

    /// The next one; that it lacks is a syntax error.
    #[inline]
    pub(crate) fn take(&mut self) -> Result<Bytes, ReplyError> {
        self.rest.next().ok_or(ReplyError::SYNTAX)
    }

    /// The next one as an integer.
    pub(crate) fn take_integer(&mut self) -> Result<i64, ReplyError> {
        integer(&self.take()?).ok_or(ReplyError::NOT_AN_INTEGER)
    }

    /// The next one as an integer of a range; this is said of anything else.
    pub(crate) fn take_from(&mut self, min: i64, error: &'static str) -> Result<i64, ReplyError> {
        let value = integer(&self.take()?).filter(|value| *value >= min);
        value.ok_or(ReplyError::new(error))
    }

    /// All that are left.
    pub(crate) fn all(self) -> Vec<Bytes> {
        self.rest.collect()
    }

    /// That there are too many or too few.
    pub(crate) fn wrong_number(&self) -> ReplyError {
        ReplyError::wrong_arguments(self.spec.name())
    }
}

/// Whether an argument is this word, in any case.
#[inline]
pub(crate) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}
