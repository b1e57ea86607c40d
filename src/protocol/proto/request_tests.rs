//! Requests: what is refused and how, garbage, prefixes within ranges.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use proptest::prelude::{Strategy, any, proptest};
use proptest::{collection, prop_assert, prop_assert_eq, prop_oneof};
use prost::Message;

use super::messages::request::Kind;
use super::messages::{
    self, BatchRequest, Code, CompareAndSwapRequest, Condition, ExpireRequest, GetRequest,
    HelloRequest, Precondition, SetRequest,
};
use super::{Action, Command, Expiry, KeyCommand, Request, after_prefix, within};

fn decode(id: u64, kind: Option<Kind>) -> Result<Request, super::Refusal> {
    Request::decode(messages::Request { id, kind }.encode_to_vec().into())
}

#[test]
fn a_request_is_decoded_and_shares_the_bytes_of_its_frame() {
    let get = GetRequest { key: Bytes::from_static(b"city"), ..GetRequest::default() };
    let message = messages::Request { id: 7, kind: Some(Kind::Get(get)) };
    let frame = Bytes::from(message.encode_to_vec());
    let range = frame.as_ptr_range();
    let Ok(Request { id: 7, command: Command::Keys(command) }) = Request::decode(frame) else {
        panic!("not a get");
    };
    let KeyCommand { action: Action::Get { key, without_value: false }, .. } = command else {
        panic!("not a get: {command:?}");
    };
    assert_eq!(key, &b"city"[..]);
    assert!(range.contains(&key.as_ptr()));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_id() {
    let set = |expiry, condition, durability| {
        Kind::Set(SetRequest { expiry, condition, durability, ..SetRequest::default() })
    };
    let none = Condition { kind: None };
    let precondition = Precondition::default();
    let kinds = [
        set(Some(messages::Expiry { when: None }), None, 0),
        set(None, Some(none.clone()), 0),
        set(None, None, 17),
        Kind::Batch(BatchRequest { preconditions: vec![precondition], ..Default::default() }),
        Kind::CompareAndSwap(CompareAndSwapRequest::default()),
        Kind::Expire(ExpireRequest::default()),
        Kind::Expire(ExpireRequest { expiry: Some(Expiry::Keep.into()), ..Default::default() }),
    ];
    for kind in kinds {
        let refusal = decode(9, Some(kind.clone())).unwrap_err();
        assert_eq!((refusal.id, refusal.error.code()), (9, Code::InvalidRequest), "{kind:?}");
    }
}

#[test]
fn an_unknown_kind_is_told_apart_and_an_unknown_field_ignored() {
    let refusal = decode(5, None).unwrap_err();
    assert_eq!((refusal.id, refusal.error.code()), (5, Code::UnknownRequest));
    // Field 1999, of a later version, and then field 17 of the hello.
    let hello = HelloRequest { version_max: 1, ..HelloRequest::default() };
    let mut bytes = messages::Request { id: 5, kind: Some(Kind::Hello(hello.clone())) };
    let mut frame = bytes.encode_to_vec();
    frame.extend([0xfa, 0x7c, 0x02, 1, 2]);
    assert_eq!(Request::decode(frame.into()).unwrap().command, Command::Hello(hello));
    bytes.kind = None;
    let mut frame = bytes.encode_to_vec();
    frame.extend([0xfa, 0x7c, 0x02, 1, 2]);
    assert_eq!(Request::decode(frame.into()).unwrap_err().error.code(), Code::UnknownRequest);
}

#[test]
fn a_connection_that_lost_its_way_ends() {
    assert_eq!(decode(0, None).unwrap_err().id, 0);
    // A length of 2^63, and one that is longer than the frame.
    for bad in [&b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"[..], b"\x2a\x05\x0a", b"\xff"] {
        let refusal = Request::decode(Bytes::from_static(bad)).unwrap_err();
        assert_eq!((refusal.id, refusal.error.code()), (0, Code::InvalidRequest), "{bad:?}");
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    collection::vec(prop_oneof![0..3_u8, 253..=255_u8], 0..4)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        proptest::strategy::Just(Bound::Unbounded),
    ]
}

fn holds(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>, key: &Vec<u8>) -> bool {
    RangeBounds::<Vec<u8>>::contains(&(from.as_ref(), to.as_ref()), key)
}

proptest! {
    #[test]
    fn garbage_never_panics(garbage in collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(garbage.into());
    }

    #[test]
    fn nor_does_a_request_with_a_byte_changed(at in 0..200_usize, to in any::<u8>()) {
        let operation = messages::Operation {
            kind: Some(messages::operation::Kind::Set(messages::SetOperation {
                key: Bytes::from_static(b"key"),
                value: Bytes::from_static(b"value"),
                expiry: Some(Expiry::AfterMs(7).into()),
            })),
        };
        let batch = BatchRequest { operations: vec![operation; 9], ..BatchRequest::default() };
        let message = messages::Request { id: 1, kind: Some(Kind::Batch(batch)) };
        let mut frame = message.encode_to_vec();
        let at = at % frame.len();
        frame[at] = to;
        let _ = Request::decode(frame.into());
    }

    #[test]
    fn a_prefix_within_a_range_is_both(
        prefix in key(), from in bound(), to in bound(), probe in key(),
    ) {
        let wanted = probe.starts_with(&prefix) && holds(&from, &to, &probe);
        let (from, to) = within(&prefix, from, to);
        let found = holds(&from, &to, &probe);
        prop_assert_eq!(found, wanted, "{:?} {:?}", from, to);
    }

    #[test]
    fn a_prefix_ends_where_it_should(prefix in key(), probe in key()) {
        let Some(end) = after_prefix(&prefix) else {
            prop_assert!(prefix.iter().all(|byte| *byte == 255));
            return Ok(());
        };
        let in_range = probe >= prefix && probe < end;
        prop_assert_eq!(in_range, probe.starts_with(&prefix));
    }
}
