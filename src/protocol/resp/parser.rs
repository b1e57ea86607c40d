//! The request parser: bytes as they arrive into requests, each a list of arguments.
//!
//! It remembers how far it came, so no byte is looked at twice however it arrives, and takes a
//! request out of the buffer as a whole when it is complete; its arguments are parts of that one
//! piece, not copies. What a request announces is compared with the limits before anything else,
//! and memory for it is had only as its bytes arrive.
//!
//! Where Redis does not look, it is stricter: the byte behind a carriage return must be a line
//! feed, also behind an argument.

use bytes::{Buf, Bytes, BytesMut};

use super::inline;
use super::number::integer;

/// The most bytes of a line that has not ended.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Until a client has logged in: the most arguments, the longest argument and the most bytes that
/// it may have in the buffer.
const STRANGER: (usize, usize, usize) = (10, 16 << 10, 1 << 20);
/// What is reserved for the next read at least.
const READ_BYTES_MIN: usize = 16 << 10;
/// Places that are kept for the next request.
const SPANS_KEPT_MAX: usize = 1 << 10;

/// What a request may be at most.
///
/// ```
/// use kvs::protocol::resp::RequestLimits;
/// let limits = RequestLimits::default();
/// assert_eq!(limits.argument_bytes_max, 512 << 20);
/// assert_eq!(limits.before_login().argument_bytes_max, 16 << 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest argument, in bytes.
    pub argument_bytes_max: usize,
    /// The most arguments, the name of the command included.
    pub arguments_max: usize,
    /// The most bytes of all arguments of a request together.
    pub request_bytes_max: usize,
    /// The most bytes in the buffer.
    pub buffer_bytes_max: usize,
    /// Whether the client has logged in, or need not.
    is_known: bool,
}

impl Default for RequestLimits {
    /// 512 MiB an argument, 1,048,576 arguments, 1 GiB altogether.
    fn default() -> RequestLimits {
        RequestLimits {
            argument_bytes_max: 512 << 20,
            arguments_max: 1 << 20,
            request_bytes_max: 1 << 30,
            buffer_bytes_max: 2 << 30,
            is_known: true,
        }
    }
}

impl RequestLimits {
    /// The same for a client that has yet to log in: 10 arguments of 16 KiB, 1 MiB in the buffer.
    #[must_use]
    pub fn before_login(mut self) -> RequestLimits {
        self.arguments_max = self.arguments_max.min(STRANGER.0);
        self.argument_bytes_max = self.argument_bytes_max.min(STRANGER.1);
        self.buffer_bytes_max = self.buffer_bytes_max.min(STRANGER.2);
        self.is_known = false;
        self
    }
}

/// What is not the Redis protocol. The connection is to be closed, and nothing that came behind it
/// may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Too many bytes without a line end.
    #[error("too big inline request")]
    LineTooLong,
    /// The same, behind `*`.
    #[error("too big mbulk count string")]
    CountLineTooLong,
    /// The same, behind `$`.
    #[error("too big bulk count string")]
    LengthLineTooLong,
    /// An inline command whose quotes are not balanced.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The number of arguments is no number, or over its limit.
    #[error("invalid multibulk length")]
    InvalidCount,
    /// More arguments than a client may send that has not logged in.
    #[error("unauthenticated multibulk length")]
    StrangersCount,
    /// The length of an argument is no number, negative, or over its limit.
    #[error("invalid bulk length")]
    InvalidLength,
    /// A longer argument than a client may send that has not logged in.
    #[error("unauthenticated bulk length")]
    StrangersLength,
    /// Something else where the length of an argument is due.
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedLength(
        /// The byte that is there.
        u8,
    ),
    /// An argument that is not followed by a line end.
    #[error("expected a line end behind an argument")]
    ExpectedLineEnd,
    /// The arguments of a request are too long together.
    #[error("too big request")]
    RequestTooLong,
    /// More bytes in the buffer than may be.
    #[error("too many bytes that wait")]
    TooMuchWaits,
    /// A request of HTTP, perhaps one that a browser was talked into. Replies that were not sent
    /// yet must not be sent.
    #[error("a request of another protocol")]
    AnotherProtocol,
}

impl ProtocolError {
    /// The text of the last reply before the connection is closed. None: close at once, and drop
    /// the replies that were not sent.
    ///
    /// ```
    /// use kvs::protocol::resp::ProtocolError;
    /// let text = ProtocolError::ExpectedLength(b'f').text().expect("there is one");
    /// assert_eq!(text, b"ERR Protocol error: expected '$', got 'f'");
    /// assert_eq!(ProtocolError::AnotherProtocol.text(), None);
    /// ```
    #[must_use]
    pub fn text(&self) -> Option<Vec<u8>> {
        let told = match self {
            ProtocolError::AnotherProtocol => return None,
            // The byte as it came, which is not its UTF-8.
            ProtocolError::ExpectedLength(byte) => {
                [b"expected '$', got '", &[*byte][..], b"'"].concat()
            }
            other => other.to_string().into_bytes(),
        };
        Some([b"ERR Protocol error: ", &told[..]].concat())
    }
}

/// Where an argument lies in the buffer.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// Takes requests out of a buffer that fills as bytes arrive.
///
/// ```
/// # use bytes::BytesMut;
/// use kvs::protocol::resp::{Parser, RequestLimits};
/// let (mut parser, limits) = (Parser::new(), RequestLimits::default());
/// let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$1\r"[..]);
/// assert_eq!(parser.next(&mut buffer, &limits)?, None);
/// buffer.extend_from_slice(b"\nk\r\nPING\r\n");
/// let request = parser.next(&mut buffer, &limits)?.expect("it is complete");
/// assert_eq!(request, [&b"GET"[..], b"k"]);
/// let request = parser.next(&mut buffer, &limits)?.expect("it is complete");
/// assert_eq!(request, [&b"PING"[..]]);
/// # Ok::<(), kvs::protocol::resp::ProtocolError>(())
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    /// What was understood, from the start of the buffer.
    position: usize,
    /// What holds no line end, from the position on.
    scanned: usize,
    /// Arguments that the request lacks; none: no request has begun.
    missing: usize,
    /// The length of the argument at the position, once it is known.
    length: Option<usize>,
    /// The arguments that are there.
    spans: Vec<Span>,
    /// The bytes of all arguments so far.
    bytes: usize,
}

/// A line at some place of the buffer.
enum Line<'a> {
    /// Without its end, and what both take.
    Whole(&'a [u8], usize),
    /// It ends with something else than CRLF.
    Broken,
    /// It has not ended yet.
    Partial,
}

impl Parser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub fn new() -> Parser {
        Parser::default()
    }

    /// The next request; none if more bytes are needed: append them to the same buffer, which has
    /// got room for them. A request has at least one argument: empty lines and empty lists are
    /// skipped.
    ///
    /// # Errors
    /// [`ProtocolError`]. The parser is of no more use then.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        limits: &RequestLimits,
    ) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        if buffer.len() > limits.buffer_bytes_max {
            return Err(ProtocolError::TooMuchWaits);
        }
        loop {
            let request = if self.missing > 0 {
                if !self.read_arguments(buffer, limits)? {
                    break;
                }
                self.take(buffer)
            } else {
                match buffer.first() {
                    None => break,
                    Some(b'*') => match self.read_count(buffer, limits)? {
                        true => continue,
                        false => break,
                    },
                    Some(_) => match self.read_inline(buffer)? {
                        Some(words) if words.is_empty() => continue,
                        Some(words) => words,
                        None => break,
                    },
                }
            };
            return match is_of_another_protocol(&request) {
                true => Err(ProtocolError::AnotherProtocol),
                false => Ok(Some(request)),
            };
        }
        self.make_room(buffer);
        Ok(None)
    }

    /// Whether a request has begun and is not complete.
    #[must_use]
    pub fn is_inside(&self, buffer: &BytesMut) -> bool {
        self.missing > 0 || !buffer.is_empty()
    }

    /// Reads how many arguments there will be. False: the line has not ended.
    fn read_count(
        &mut self,
        buffer: &mut BytesMut,
        limits: &RequestLimits,
    ) -> Result<bool, ProtocolError> {
        let (line, taken) = match line(buffer, &mut self.scanned) {
            Line::Whole(line, taken) => (line, taken),
            Line::Broken => return Err(ProtocolError::InvalidCount),
            Line::Partial if buffer.len() > LINE_BYTES_MAX => {
                return Err(ProtocolError::CountLineTooLong);
            }
            Line::Partial => return Ok(false),
        };
        let count = line.get(1..).and_then(integer).ok_or(ProtocolError::InvalidCount)?;
        if count <= 0 {
            buffer.advance(taken);
            return Ok(true);
        }
        let is_too_large = count > i64::from(i32::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > limits.arguments_max {
            return Err(match limits.is_known || is_too_large {
                true => ProtocolError::InvalidCount,
                false => ProtocolError::StrangersCount,
            });
        }
        (self.position, self.missing, self.bytes) = (taken, count, 0);
        Ok(true)
    }

    /// Reads arguments until the request has all. False: not all of them are there.
    #[inline]
    fn read_arguments(
        &mut self,
        buffer: &BytesMut,
        limits: &RequestLimits,
    ) -> Result<bool, ProtocolError> {
        let bytes: &[u8] = buffer;
        while self.missing > 0 {
            let length = match self.length {
                Some(length) => length,
                None => match self.read_length(bytes, limits)? {
                    Some(length) => length,
                    None => return Ok(false),
                },
            };
            let Some((_, behind)) =
                bytes.get(self.position..).and_then(|rest| rest.split_at_checked(length))
            else {
                return Ok(false);
            };
            match behind {
                [b'\r', b'\n', ..] => {}
                [] | [b'\r'] => return Ok(false),
                _ => return Err(ProtocolError::ExpectedLineEnd),
            }
            let end = self.position + length;
            self.spans.push(Span { start: self.position, end });
            self.position = end + 2;
            self.length = None;
            self.missing -= 1;
        }
        Ok(true)
    }

    /// Reads the length of the next argument. None: the line has not ended.
    #[inline]
    fn read_length(
        &mut self,
        bytes: &[u8],
        limits: &RequestLimits,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = bytes.get(self.position..).unwrap_or_default();
        match rest.first() {
            None => return Ok(None),
            Some(b'$') => {}
            // Without a line end it is no header yet, for Redis either.
            Some(byte) => return Err(ProtocolError::ExpectedLength(*byte)),
        }
        let (line, taken) = match line(rest, &mut self.scanned) {
            Line::Whole(line, taken) => (line, taken),
            Line::Broken => return Err(ProtocolError::InvalidLength),
            Line::Partial if rest.len() > LINE_BYTES_MAX => {
                return Err(ProtocolError::LengthLineTooLong);
            }
            Line::Partial => return Ok(None),
        };
        let length = line.get(1..).and_then(integer).ok_or(ProtocolError::InvalidLength)?;
        let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidLength)?;
        if length > limits.argument_bytes_max {
            return Err(match limits.is_known {
                true => ProtocolError::InvalidLength,
                false => ProtocolError::StrangersLength,
            });
        }
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > limits.request_bytes_max {
            return Err(ProtocolError::RequestTooLong);
        }
        self.position += taken;
        self.length = Some(length);
        Ok(self.length)
    }

    /// Takes the request out of the buffer.
    #[inline]
    fn take(&mut self, buffer: &mut BytesMut) -> Vec<Bytes> {
        let whole = buffer.split_to(self.position).freeze();
        let request = self.spans.iter().map(|span| whole.slice(span.start..span.end)).collect();
        self.spans.clear();
        self.spans.shrink_to(SPANS_KEPT_MAX);
        self.position = 0;
        request
    }

    /// Reads a line of words. None: the line has not ended.
    fn read_inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let rest = buffer.get(self.scanned..).unwrap_or_default();
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.scanned = buffer.len();
            return match buffer.len() > LINE_BYTES_MAX {
                true => Err(ProtocolError::LineTooLong),
                false => Ok(None),
            };
        };
        let line = buffer.split_to(self.scanned + at);
        buffer.advance(1);
        self.scanned = 0;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        inline::words(line).map(Some).ok_or(ProtocolError::UnbalancedQuotes)
    }

    /// Has the buffer hold more: as much as is missing of a long argument, but never more than is
    /// there already, so that an announcement alone costs nothing, and no byte is moved often.
    fn make_room(&self, buffer: &mut BytesMut) {
        let end = self.length.map_or(0, |length| self.position + length + 2);
        let missing = end.saturating_sub(buffer.len());
        let more = missing.min(buffer.len()).max(READ_BYTES_MIN);
        if buffer.capacity() - buffer.len() < READ_BYTES_MIN.min(more) {
            buffer.reserve(more);
        }
    }
}

/// The line at the beginning of some bytes, of which so many were looked at before.
#[inline]
fn line<'a>(bytes: &'a [u8], scanned: &mut usize) -> Line<'a> {
    let rest = bytes.get(*scanned..).unwrap_or_default();
    let Some(at) = rest.iter().position(|byte| *byte == b'\r') else {
        *scanned = bytes.len();
        return Line::Partial;
    };
    let end = *scanned + at;
    let Some(behind) = bytes.get(end + 1) else {
        *scanned = end;
        return Line::Partial;
    };
    *scanned = 0;
    match behind {
        b'\n' => Line::Whole(bytes.get(..end).unwrap_or_default(), end + 2),
        _ => Line::Broken,
    }
}

/// Whether a request is the beginning or a header of HTTP: somebody lets a browser or a server
/// talk to us who cannot talk to us himself.
#[inline]
fn is_of_another_protocol(request: &[Bytes]) -> bool {
    match request {
        [name, ..] if name.len() == 4 => name.eq_ignore_ascii_case(b"post"),
        [name, ..] if name.len() == 5 => name.eq_ignore_ascii_case(b"host:"),
        [name, _, version] => name.eq_ignore_ascii_case(b"get") && version.starts_with(b"HTTP/1."),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
