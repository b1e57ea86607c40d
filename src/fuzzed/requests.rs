//! Requests of Redis: any bytes are requests or a refusal, the same however they arrive, and a
//! request is a command or an error.

use bytes::{Bytes, BytesMut};

use super::Input;
use crate::protocol::resp::{self, Parser, ProtocolError, RequestLimits};

/// So short inputs are also given a byte at a time.
const SHORT: usize = 512;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The first byte chooses the limits, the next ones where the rest is cut.
pub fn requests(data: &[u8]) {
    let mut input = Input::new(data);
    let mut limits = RequestLimits::default();
    let choice = input.byte() % 3;
    if choice > 0 {
        (limits.argument_bytes_max, limits.arguments_max) = (4096, 64);
        (limits.request_bytes_max, limits.buffer_bytes_max) = (16384, 1 << 20);
    }
    if choice > 1 {
        limits = limits.before_login();
    }
    let pieces = input.pieces();
    let whole = parse([pieces.bytes].into_iter(), &limits);
    assert_eq!(parse(pieces.iter(), &limits), whole, "in pieces");
    if pieces.bytes.len() <= SHORT {
        assert_eq!(parse(pieces.bytes.chunks(1), &limits), whole, "a byte at a time");
    }
    for request in whole.0 {
        // An inline request is limited by its line alone.
        let most = limits.arguments_max.max(LINE_BYTES_MAX / 2);
        assert!(!request.is_empty() && request.len() <= most, "{} arguments", request.len());
        let longest = request.iter().map(Bytes::len).max().unwrap_or_default();
        assert!(longest <= limits.argument_bytes_max.max(LINE_BYTES_MAX), "{longest} bytes");
        // What is no command has an error of one line.
        if let Err(error) = resp::parse(request) {
            assert!(!error.to_string().contains(['\r', '\n']), "{error}");
        }
    }
}

type Parsed = (Vec<Vec<Bytes>>, Option<ProtocolError>);

fn parse<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: &RequestLimits) -> Parsed {
    let (mut parser, mut buffer, mut requests) = (Parser::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}
