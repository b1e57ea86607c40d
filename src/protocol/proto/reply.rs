//! Responses, encoded into frames one behind the other.
//!
//! What a write turned out to be is known only after its response was made: its place at the end
//! of the frame is kept free, with as many bytes as it will take, and filled in later.

use bytes::BufMut;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, uint64};

use crate::protocol::frame::{self, to_u64};
use crate::store::{Versioned, Written};

use super::messages::response::Kind;
use super::messages::{Code, Error, Response, WriteResponse};

/// The bytes of a `WriteResponse` whose fields are not 0: fixed64 seq = 1, bool existed = 2.
const WRITTEN_BYTES: usize = 1 + 8 + 1 + 1;

/// A `WriteResponse` that `complete` fills in. Fields that are 0 would be left out.
pub(crate) const PLACE: WriteResponse = WriteResponse { seq: u64::MAX, existed: true };

// The numbers of the fields that are encoded by hand.
const GET: u32 = 6;
const GET_MANY: u32 = 7;
const COMPARE_AND_SWAP: u32 = 9;
const FOUND: u32 = 1;
const ANSWERS: u32 = 1;
const CURRENT: u32 = 1;
const VALUE: u32 = 1;
const VERSION: u32 = 2;
const EXPIRES_AT_MS: u32 = 3;

/// Adds the frame of a response. One that is over the limit becomes an error.
pub(crate) fn put(out: &mut Vec<u8>, bytes_max: usize, id: u64, kind: Kind) {
    put_if_it_fits(out, bytes_max, id, kind);
}

/// The same, and says whether it was not over the limit.
pub(crate) fn put_if_it_fits(out: &mut Vec<u8>, bytes_max: usize, id: u64, kind: Kind) -> bool {
    let response = Response { id, kind: Some(kind) };
    put_with(out, bytes_max, id, |out| response.encode_raw(out))
}

/// Adds the frame of an error. It is short, whatever the limit.
pub(crate) fn put_error(out: &mut Vec<u8>, id: u64, error: Error) {
    let response = Response { id, kind: Some(Kind::Error(error)) };
    // No error comes near this limit: it has one key and one sentence.
    let _ = frame::put(out, frame::FRAME_BYTES_LIMIT, |out| response.encode_raw(out));
}

/// Adds the answer to a get.
pub(crate) fn put_get(
    out: &mut Vec<u8>,
    bytes_max: usize,
    id: u64,
    found: Option<&Versioned>,
    without_value: bool,
) {
    let found = found.map(|found| Shown { found, without_value });
    put_with(out, bytes_max, id, |out| {
        uint64::encode(1, &id, out);
        put_head(GET, answer_len(found), out);
        put_answer(found, out);
    });
}

/// Adds the answer to a `get_many`.
pub(crate) fn put_get_many(
    out: &mut Vec<u8>,
    bytes_max: usize,
    id: u64,
    all: &[Option<Versioned>],
    without_values: bool,
) {
    let shown = || {
        all.iter()
            .map(|found| found.as_ref().map(|found| Shown { found, without_value: without_values }))
    };
    let len = shown().map(|found| field_len(ANSWERS, answer_len(found))).sum();
    // Not even begun if it is too long: that may be far too long.
    if len > bytes_max {
        return put_error(out, id, too_large(len, bytes_max));
    }
    put_with(out, bytes_max, id, |out| {
        uint64::encode(1, &id, out);
        put_head(GET_MANY, len, out);
        for found in shown() {
            put_head(ANSWERS, answer_len(found), out);
            put_answer(found, out);
        }
    });
}

/// Adds the answer to a compare-and-swap that did not find what it expected.
pub(crate) fn put_not_swapped(
    out: &mut Vec<u8>,
    bytes_max: usize,
    id: u64,
    current: Option<&Versioned>,
    without_value: bool,
) {
    let current = current.map(|found| Shown { found, without_value });
    let len = current.map_or(0, |current| field_len(CURRENT, current.len()));
    put_with(out, bytes_max, id, |out| {
        uint64::encode(1, &id, out);
        put_head(COMPARE_AND_SWAP, len, out);
        if let Some(current) = current {
            put_head(CURRENT, current.len(), out);
            current.put(out);
        }
    });
}

/// Fills in the `WriteResponse` that stands, as [`PLACE`], at the end of a frame.
pub(crate) fn complete(frame: &mut [u8], written: Written) {
    let Some(place) = frame.last_chunk_mut::<WRITTEN_BYTES>() else {
        return;
    };
    // An error that took the place of the response has no such end.
    if let [0x09, seq @ .., 0x10, existed] = place
        && *existed == 1
        && *seq == PLACE.seq.to_le_bytes()
    {
        seq.copy_from_slice(&written.seq.to_le_bytes());
        *existed = written.existed.into();
    }
}

fn put_with(
    out: &mut Vec<u8>,
    bytes_max: usize,
    id: u64,
    encode: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let put = frame::put(out, bytes_max, encode);
    if let Err(over) = &put {
        let bytes = usize::try_from(over.bytes).unwrap_or(usize::MAX);
        put_error(out, id, too_large(bytes, bytes_max));
    }
    put.is_ok()
}

fn too_large(bytes: usize, bytes_max: usize) -> Error {
    let text = format!("the answer has {bytes} bytes; the limit of the client is {bytes_max}");
    Error { limit: Some(to_u64(bytes_max)), ..Error::new(Code::ResponseTooLarge, text) }
}

/// What a key has, as it is encoded: from the engine's own bytes, without a copy between.
#[derive(Clone, Copy)]
struct Shown<'a> {
    found: &'a Versioned,
    without_value: bool,
}

impl Shown<'_> {
    fn value(&self) -> &[u8] {
        if self.without_value { &[] } else { &self.found.value }
    }

    fn len(&self) -> usize {
        let value = self.value();
        let value = if value.is_empty() { 0 } else { field_len(VALUE, value.len()) };
        let version = uint64::encoded_len(VERSION, &self.found.seq);
        let expiry = self.found.expires_at_ms;
        value + version + expiry.map_or(0, |at_ms| uint64::encoded_len(EXPIRES_AT_MS, &at_ms))
    }

    fn put(&self, out: &mut Vec<u8>) {
        let value = self.value();
        if !value.is_empty() {
            put_head(VALUE, value.len(), out);
            out.put_slice(value);
        }
        uint64::encode(VERSION, &self.found.seq, out);
        if let Some(at_ms) = self.found.expires_at_ms {
            uint64::encode(EXPIRES_AT_MS, &at_ms, out);
        }
    }
}

/// The length of a `GetResponse`.
fn answer_len(found: Option<Shown<'_>>) -> usize {
    found.map_or(0, |found| field_len(FOUND, found.len()))
}

fn put_answer(found: Option<Shown<'_>>, out: &mut Vec<u8>) {
    if let Some(found) = found {
        put_head(FOUND, found.len(), out);
        found.put(out);
    }
}

/// The length of a field of `len` bytes with its head.
fn field_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(to_u64(len)) + len
}

fn put_head(field: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(to_u64(len), out);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::messages::{CompareAndSwapResponse, Found, GetManyResponse, GetResponse};
    use super::super::messages::{IncrementResponse, response};
    use super::{Code, Kind, Message, PLACE, Response, Versioned, WRITTEN_BYTES, Written};
    use super::{complete, frame, put, put_get, put_get_many, put_not_swapped};

    fn read(frame: &[u8]) -> Response {
        let frame = frame::take(&mut BytesMut::from(frame), 1 << 20).unwrap().unwrap();
        Response::decode(frame).unwrap()
    }

    fn records() -> Vec<Option<Versioned>> {
        let found = |value: &[u8], seq, expires_at_ms| {
            Some(Versioned { value: value.to_vec().into(), seq, expires_at_ms })
        };
        let long = vec![b'x'; 300];
        vec![None, found(b"v", 1, None), found(b"", u64::MAX, Some(0)), found(&long, 9, Some(7))]
    }

    fn message(found: Option<&Versioned>, without_value: bool) -> GetResponse {
        let found = found.map(|found| Found {
            value: if without_value { vec![] } else { found.value.to_vec() }.into(),
            version: found.seq,
            expires_at_ms: found.expires_at_ms,
        });
        GetResponse { found }
    }

    #[test]
    fn what_is_encoded_by_hand_is_what_prost_decodes() {
        for without in [false, true] {
            for found in records() {
                let mut out = Vec::new();
                put_get(&mut out, 1000, 7, found.as_ref(), without);
                let expected = message(found.as_ref(), without);
                let kind = response::Kind::Get(expected.clone());
                assert_eq!(read(&out), Response { id: 7, kind: Some(kind) });
                out.clear();
                put_not_swapped(&mut out, 1000, 7, found.as_ref(), without);
                let swap = CompareAndSwapResponse { current: expected.found, written: None };
                let kind = response::Kind::CompareAndSwap(swap);
                assert_eq!(read(&out), Response { id: 7, kind: Some(kind) });
            }
            let all = records();
            let mut out = Vec::new();
            put_get_many(&mut out, 1000, 7, &all, without);
            let answers = all.iter().map(|it| message(it.as_ref(), without)).collect();
            let kind = response::Kind::GetMany(GetManyResponse { answers });
            assert_eq!(read(&out), Response { id: 7, kind: Some(kind) });
        }
    }

    #[test]
    fn an_answer_over_the_limit_is_an_error() {
        let all = records();
        let (mut many, mut one, mut swap) = (Vec::new(), Vec::new(), Vec::new());
        put_get_many(&mut many, 200, 7, &all, false);
        put_get(&mut one, 200, 7, all[3].as_ref(), false);
        put_not_swapped(&mut swap, 200, 7, all[3].as_ref(), false);
        for out in [many, one, swap] {
            let Response { id: 7, kind: Some(Kind::Error(error)) } = read(&out) else {
                panic!("no error");
            };
            assert_eq!((error.code(), error.limit), (Code::ResponseTooLarge, Some(200)));
        }
    }

    #[test]
    fn a_write_is_filled_in_where_its_place_is() {
        assert_eq!(PLACE.encoded_len(), WRITTEN_BYTES);
        for (seq, existed) in [(0, false), (1, true), (u64::MAX, false)] {
            let written = Written { seq, existed };
            let mut out = Vec::new();
            put(&mut out, 1000, 7, Kind::Write(PLACE));
            complete(&mut out, written);
            let Some(Kind::Write(response)) = read(&out).kind else { panic!("no write") };
            assert_eq!(Written::from(response), written);
            out.clear();
            let sum = IncrementResponse { sum: -5, written: Some(PLACE) };
            put(&mut out, 1000, 7, Kind::Increment(sum));
            complete(&mut out, written);
            let Some(Kind::Increment(response)) = read(&out).kind else { panic!("no sum") };
            assert_eq!((response.sum, response.written.unwrap().into()), (-5, written));
        }
    }
}
