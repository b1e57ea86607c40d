//! Frames of the project's own protocol, and the messages in them: of a client to a server and the
//! other way round.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::Input;
use crate::protocol::frame::{self, FrameTooLarge};
use crate::protocol::proto::messages::{self, Response};
use crate::protocol::proto::request::Request;

const FRAME_BYTES_MAX: usize = 64 << 10;

/// The first byte says whether the rest is frames or a single message; then comes where it is cut.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte().is_multiple_of(2) {
        return message(Bytes::copy_from_slice(input.rest()));
    }
    let pieces = input.pieces();
    let whole = take([pieces.bytes].into_iter());
    assert_eq!(take(pieces.iter()), whole, "in pieces");
    whole.0.into_iter().for_each(message);
}

fn take<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<FrameTooLarge>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match frame::take(&mut buffer, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A message is a request or a refusal, and what was understood can be said again.
fn message(bytes: Bytes) {
    let decoded = messages::Request::decode(bytes.clone());
    match Request::decode(bytes.clone()) {
        Ok(request) => {
            let again = decoded.unwrap_or_else(|error| panic!("understood, but {error}"));
            assert_eq!(request.id, again.id);
            let again = Bytes::from(again.encode_to_vec());
            assert!(Request::decode(again).is_ok(), "not understood when it is said again");
        }
        Err(refusal) => {
            let known = decoded.map_or(0, |request| request.id);
            assert!(refusal.id == 0 || refusal.id == known, "{} of {known}", refusal.id);
        }
    }
    if let Ok(response) = Response::decode(bytes) {
        let said = response.encode_to_vec();
        let again = Response::decode(said.as_slice()).map(|again| again.encode_to_vec());
        assert_eq!(again, Ok(said));
    }
}
