//! Any files in a data directory: opening them is refused, or gives a store in which every value
//! was written once, and which can be written to.
//!
//! An input edits the files of a small store. In half of the cases the checksums are put right
//! afterwards, so that what lies behind them is reached; then values may be anything.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::super::clock::START_MS;
use super::super::image::{Image, KEYS};
use super::super::oracle::key;
use super::super::workload::{DIRECTORY, SMALL, open};
use crate::error::KvsError;
use crate::fuzzed::Input;
use crate::options::Index;
use crate::store::Store;
use crate::store::inspect::inspect_on;
use crate::store::record::{self, Salt};
use crate::store::salvage::salvage_on;
use crate::store::segment::HEADER_BYTES;
use crate::store::sim_disk::SimDisk;
use crate::store::verify::verify_on;

/// So much may an edit put in.
const EDIT_BYTES: usize = 64;

/// The first byte chooses the store and what is done with it; then come the edits.
pub fn files(data: &[u8]) {
    static IMAGES: OnceLock<[Image; 2]> = OnceLock::new();
    let images = IMAGES.get_or_init(|| [true, false].map(|clean| Image::new(1, clean)));
    let mut input = Input::new(data);
    let choice = input.byte();
    let image = &images[usize::from(choice & 1)];
    let mended = choice & 2 != 0;
    let disk = image.disk.fork();
    while !input.is_empty() {
        edit(&disk, image, &mut input);
    }
    if mended {
        mend(&disk);
    }
    look(&disk);
    let options = SMALL.options();
    let index = if choice & 4 == 0 { Index::Hash } else { Index::Ordered };
    let Ok(store) = open(&disk, &options.clone().index(index), 7) else { return };
    for key in (0..KEYS).map(key) {
        if let Ok(Some(value)) = store.get(&key)
            && !mended
        {
            assert!(image.ever.contains(&(key, value.to_vec())), "a value that never was");
        }
    }
    work(&disk, store);
}

/// Whoever only looks survives it too.
fn look(disk: &SimDisk) {
    let directory = Path::new(DIRECTORY);
    let _ = verify_on(Arc::new(disk.fork()), directory, &mut |_| ());
    for (path, _) in disk.files() {
        let _ = inspect_on(Arc::new(disk.fork()), directory, Some(&path), &mut |_| ());
    }
    let salvaged = Arc::new(disk.fork());
    let _ = salvage_on(salvaged, directory, START_MS, false, &mut |_| (), &mut |_| Ok(()));
}

/// What is written to it is there, also after it was compacted and opened again.
fn work(disk: &SimDisk, store: Store) {
    let written = store.set("new", "value");
    let _ = store.iter().count();
    let _ = store.range::<&[u8]>(..).map(Iterator::count);
    let _ = store.compact();
    let _ = store.compact_step();
    if written.is_ok() {
        assert_eq!(store.get("new").unwrap().as_deref(), Some(&b"value"[..]));
    }
    if store.close().is_err() {
        return;
    }
    match open(disk, &SMALL.options(), 8) {
        Ok(store) => {
            if written.is_ok() {
                assert_eq!(store.get("new").unwrap().as_deref(), Some(&b"value"[..]));
            }
            store.abandon();
        }
        // Damage that was there before is found again.
        Err(KvsError::Corrupt { .. } | KvsError::SegmentMissing { .. }) => {}
        Err(error) => panic!("opened, closed, and now: {error}"),
    }
}

fn edit(disk: &SimDisk, image: &Image, input: &mut Input<'_>) {
    let (path, _) = &image.files[input.below(image.files.len())];
    let Some(mut bytes) = disk.bytes(path) else { return };
    let kind = input.byte() % 8;
    let at = input.below(bytes.len() + 1);
    let len = input.below(EDIT_BYTES);
    let end = (at + len).min(bytes.len());
    match kind {
        0 | 1 => drop(bytes.splice(at..end, input.take(end - at).iter().copied())),
        2 => drop(bytes.splice(at..end, input.take(len).iter().copied())),
        3 => drop(bytes.splice(at..at, input.take(len).iter().copied())),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            // A piece of another file, or of this one.
            let (_, other) = &image.files[input.below(image.files.len())];
            let from = input.below(other.len() + 1);
            let piece = &other[from..(from + 8 * len).min(other.len())];
            let end = (at + piece.len()).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        _ => bytes = input.take(4 * len).to_vec(),
    }
    disk.set_bytes(path, bytes);
}

/// Makes all checksums right that can be found.
fn mend(disk: &SimDisk) {
    for (path, mut bytes) in disk.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".seg") {
            mend_segment(&mut bytes);
        } else if name.ends_with(".hint") && bytes.len() >= 72 {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[72..]), &bytes[..68]);
            bytes[68..72].copy_from_slice(&crc.to_le_bytes());
        } else if name == "MANIFEST" && bytes.len() >= 16 {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..12]), &bytes[16..]);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        }
        disk.set_bytes(&path, bytes);
    }
}

fn mend_segment(bytes: &mut [u8]) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let crc = crc32c::crc32c(&bytes[..44]);
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    let salt = Salt(u64::from_le_bytes(bytes[36..44].try_into().unwrap_or_default()));
    let mut at = HEADER_BYTES;
    while at + record::HEAD < bytes.len() {
        let rest = &mut bytes[at..];
        let Some(len) = record::stated_len(rest) else { break };
        record::stamp(rest, salt, at as u64);
        at += record::padded(len);
    }
}
