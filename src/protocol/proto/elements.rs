//! How many elements a request has, counted before it is decoded.
//!
//! An element of two bytes becomes a hundred and more in memory, so a frame within its limit could
//! take many times that. Here the bytes are gone over once, and nothing is allocated.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::messages::{Code, Error};
use super::request::Refusal;
use crate::protocol::frame::to_u64;

/// The most keys of a `get_many`, and the most preconditions and operations of a batch together.
pub(crate) const ELEMENTS_MAX: usize = 100_000;

/// The field of a request that is its id.
const ID: u32 = 1;
/// The fields of a request whose message has elements, and the fields of those that are such.
const GET_MANY: (u32, &[u32]) = (6, &[1]);
const BATCH: (u32, &[u32]) = (9, &[1, 2]);

/// Refuses a request with too many elements. What cannot be read is left to the decoder.
pub(crate) fn check(mut frame: &[u8]) -> Result<(), Refusal> {
    let (mut id, mut count) = (0, 0);
    // A field that comes twice is put together by the decoder, so its elements are too.
    while let Some(field) = next_field(&mut frame) {
        match field {
            Field::Number(ID, number) => id = number,
            Field::Message(field, message) => {
                for (parent, elements) in [GET_MANY, BATCH] {
                    if field == parent {
                        count += count_of(message, elements);
                    }
                }
            }
            Field::Number(..) | Field::Other => {}
        }
    }
    if count > ELEMENTS_MAX {
        let text = format!("a request with {count} elements; the limit is {ELEMENTS_MAX}");
        let limit = Some(to_u64(ELEMENTS_MAX));
        return Err(Refusal {
            id,
            error: Error { limit, ..Error::new(Code::InvalidRequest, text) },
        });
    }
    Ok(())
}

fn count_of(mut message: &[u8], elements: &[u32]) -> usize {
    let mut count = 0;
    while let Some(field) = next_field(&mut message) {
        let is_element = matches!(field, Field::Message(field, _) if elements.contains(&field));
        count += usize::from(is_element);
    }
    count
}

/// A field of a message, and its number.
enum Field<'a> {
    Number(u32, u64),
    /// A message, a string or bytes.
    Message(u32, &'a [u8]),
    Other,
}

/// The next field; none at the end, or where there is no sense.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (field, wire_type) = decode_key(rest).ok()?;
    match wire_type {
        WireType::Varint => decode_varint(rest).ok().map(|number| Field::Number(field, number)),
        WireType::LengthDelimited => {
            let len = usize::try_from(decode_varint(rest).ok()?).ok()?;
            let message = rest.get(..len)?;
            rest.advance(len);
            Some(Field::Message(field, message))
        }
        wire_type => {
            skip_field(wire_type, field, rest, DecodeContext::default()).ok()?;
            Some(Field::Other)
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::messages::request::Kind;
    use super::super::messages::{
        BatchRequest, GetManyRequest, Operation, Precondition, Request, SetRequest,
    };
    use super::{ELEMENTS_MAX, check};

    fn encoded(kind: Kind) -> Vec<u8> {
        Request { id: 7, kind: Some(kind) }.encode_to_vec()
    }

    #[test]
    fn elements_are_counted_and_nothing_else() {
        let keys =
            |count| GetManyRequest { keys: vec![Default::default(); count], ..Default::default() };
        assert!(check(&encoded(Kind::GetMany(keys(ELEMENTS_MAX)))).is_ok());
        let refusal = check(&encoded(Kind::GetMany(keys(ELEMENTS_MAX + 1)))).unwrap_err();
        assert_eq!((refusal.id, refusal.error.limit), (7, Some(100_000)));
        let batch = |preconditions, operations| BatchRequest {
            preconditions: vec![Precondition::default(); preconditions],
            operations: vec![Operation::default(); operations],
            durability: 1,
        };
        assert!(check(&encoded(Kind::Batch(batch(10, ELEMENTS_MAX - 10)))).is_ok());
        assert!(check(&encoded(Kind::Batch(batch(10, ELEMENTS_MAX - 9)))).is_err());
        // Twice the same field.
        let half = encoded(Kind::Batch(batch(0, ELEMENTS_MAX / 2 + 1)));
        assert!(check(&half).is_ok());
        assert!(check(&[&half[..], &half[..]].concat()).is_err());
        // A value that looks like elements is a value.
        let value = vec![0x0a; 3 * ELEMENTS_MAX].into();
        assert!(check(&encoded(Kind::Set(SetRequest { value, ..Default::default() }))).is_ok());
    }
}
