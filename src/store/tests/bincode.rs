//! The payload of a record is bincode: known records as a golden dump of their bytes, and read
//! back by the `bincode` crate itself, which has no part in writing them.

use bincode::config::standard;
use bincode::{Decode, Encode};

use crate::options::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::store::record::{self, HEAD, MARK_BYTES, Record, SEAL_BYTES_MAX, Salt};

/// Where the records of these tests lie: the salt of their segment, and their offset in it.
const SALT: Salt = Salt(0x0123_4567_89ab_cdef);
const OFFSET: u64 = 48;

/// The record as the `bincode` crate sees it.
#[derive(Debug, PartialEq, Encode, Decode)]
enum Foreign {
    Set { seq: u64, expires_at_ms: u64, key: Vec<u8>, value: Vec<u8> },
    Remove { seq: u64, key: Vec<u8> },
    Batch { seq: u64, count: u64, bytes: u64 },
    Mark { durable_upto: [u8; 8], clock_floor_ms: [u8; 8] },
    Seal { records: u64, min_seq: u64, max_seq: u64 },
}

impl Foreign {
    fn of(record: &Record<'_>) -> Foreign {
        match *record {
            Record::Set { seq, expires_at_ms, key, value } => {
                Foreign::Set { seq, expires_at_ms, key: key.to_vec(), value: value.to_vec() }
            }
            Record::Remove { seq, key } => Foreign::Remove { seq, key: key.to_vec() },
            Record::Batch { seq, count, bytes } => Foreign::Batch { seq, count, bytes },
            Record::Mark { durable_upto, clock_floor_ms } => {
                Foreign::Mark { durable_upto, clock_floor_ms }
            }
            Record::Seal { records, min_seq, max_seq } => {
                Foreign::Seal { records, min_seq, max_seq }
            }
        }
    }
}

/// Numbers on both sides of each step of the variable-length encoding, keys and values likewise.
fn records(long: &[u8]) -> Vec<Record<'_>> {
    let (durable_upto, clock_floor_ms) = (4096_u64.to_le_bytes(), 0_u64.to_le_bytes());
    let mut records = vec![
        Record::Set { seq: 1, expires_at_ms: 0, key: b"key", value: b"value" },
        Record::Set { seq: 251, expires_at_ms: 1 << 40, key: b"", value: b"" },
        Record::Remove { seq: 65_536, key: b"key" },
        Record::Batch { seq: 250, count: 2, bytes: 65_535 },
        Record::Mark { durable_upto, clock_floor_ms },
        Record::Seal { records: 3, min_seq: 1, max_seq: u64::MAX },
    ];
    for len in [250, 251, 65_535, 65_536] {
        let value = &long[..len];
        records.push(Record::Set { seq: len as u64, expires_at_ms: 0, key: value, value });
    }
    for seq in [0xffff_ffff, 0x1_0000_0000] {
        records.push(Record::Remove { seq, key: b"" });
    }
    records
}

/// A record with its checksum.
fn stamped(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::encode(&mut bytes, record);
    record::stamp(&mut bytes, SALT, OFFSET);
    bytes
}

#[test]
fn the_bytes_of_known_records_stay_what_they_are() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let long = vec![b'x'; 1 << 17];
    let dump: Vec<String> =
        records(&long).iter().take(6).map(|record| hex(stamped(record))).collect();
    assert_eq!(dump, GOLDEN);
}

#[test]
fn the_bincode_crate_reads_and_writes_the_same_bytes() {
    let long: Vec<u8> = (0..1 << 17).map(|i| u8::try_from(i % 251).unwrap()).collect();
    for record in records(&long) {
        let bytes = stamped(&record);
        let len = u32::from_le_bytes(bytes[4..HEAD].try_into().unwrap()) as usize;
        let payload = &bytes[HEAD..HEAD + len];
        let (foreign, read): (Foreign, usize) =
            bincode::decode_from_slice(payload, standard()).unwrap();
        assert_eq!((foreign, read), (Foreign::of(&record), len));
        let written = bincode::encode_to_vec(Foreign::of(&record), standard()).unwrap();
        assert_eq!(written, payload);
        assert!(bytes[HEAD + len..].iter().all(|byte| *byte == 0), "the padding is zeros");
    }
}

/// Six records: crc, length, payload, padding.
const GOLDEN: [&str; 6] = [
    "85e6a6940d000000000100036b65790576616c7565000000",
    "9ce139e40f00000000fbfb00fd0000000000010000000000",
    "c64a7a950a00000001fc00000100036b6579000000000000",
    "e692cde40600000002fa02fbffff0000",
    "079d882f11000000030010000000000000000000000000000000000000000000",
    "90c0cfe90c000000040301fdffffffffffffffff00000000",
];

#[test]
fn the_lengths_that_are_promised_hold() {
    let encoded = |record: &Record<'_>| record::encode(&mut Vec::new(), record);
    let most = u64::MAX;
    assert_eq!(encoded(&Record::mark(most, most)), MARK_BYTES);
    let seal = Record::Seal { records: most, min_seq: most, max_seq: most };
    assert_eq!(encoded(&seal), SEAL_BYTES_MAX);

    let long = vec![7; KEY_BYTES_MAX + VALUE_BYTES_MAX];
    for (key, value) in [(0, 0), (65_000, 65_536), (KEY_BYTES_MAX, VALUE_BYTES_MAX)] {
        let (key, value) = (&long[..key], &long[..value]);
        let set = Record::Set { seq: most, expires_at_ms: most, key, value };
        let bound = record::encoded_len_max(key.len(), value.len());
        assert!((bound - 8..=bound).contains(&encoded(&set)), "{bound}");
    }
}

/// The bytes that are handed out are those that were verified.
#[test]
fn a_copy_of_a_value_is_verified_and_not_what_it_was_copied_from() {
    let set = Record::Set { seq: 1, expires_at_ms: 0, key: b"key", value: b"value" };
    let bytes = stamped(&set);
    let unverified = record::Unverified::new(&bytes).unwrap();
    assert_eq!(unverified.verify_copy(SALT, OFFSET, b"value"), Ok(()));
    for wrong in [b"valuf", b"\0\0\0\0\0"] {
        assert!(unverified.verify_copy(SALT, OFFSET, wrong).is_err());
    }
    assert!(unverified.verify_copy(SALT, OFFSET + 8, b"value").is_err());
}

#[test]
fn the_largest_set_is_a_record_and_a_larger_one_is_none() {
    let long = vec![7; KEY_BYTES_MAX + VALUE_BYTES_MAX];
    let (key, value) = long.split_at(KEY_BYTES_MAX);
    let largest = Record::Set { seq: u64::MAX, expires_at_ms: u64::MAX, key, value };
    let bytes = stamped(&largest);
    assert!(record::read(&bytes, SALT, OFFSET).is_ok_and(|(record, _)| record == largest));
    let head = |len: usize| [[0; 4], u32::try_from(len).unwrap().to_le_bytes()].concat();
    assert_eq!(record::stated_len(&head(long.len() + 64)), Some(HEAD + long.len() + 64));
    for len in [0, long.len() + 65] {
        assert_eq!(record::stated_len(&head(len)), None);
    }
}
