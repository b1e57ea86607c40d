//! Inspecting files that are damaged anywhere, or that the disk cannot read.

use std::path::Path;
use std::sync::Arc;

use super::scene::Scene;
use super::workload::DIRECTORY;
use crate::error::{KvsError, Result};
use crate::store::inspect::{Inspected, inspect_on};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};

const FILES: [&str; 3] = ["MANIFEST", "0000000001.hint", "0000000001.seg"];

/// A disk with a sealed segment that has a hint.
fn disk(records: usize) -> SimDisk {
    let scene = Scene::new();
    for number in 0..records {
        scene.set(&format!("key {number}"), &"v".repeat(100));
    }
    assert_eq!(scene.rotate(), 1);
    scene.write_hints();
    // The manifest says that it is sealed.
    scene.reopen().die()
}

/// What is invalid: offset, bytes, reason.
type Invalid = (u64, u64, String);

/// The number of records, and what is invalid.
fn look(disk: &SimDisk, file: &str) -> Result<(usize, Vec<Invalid>)> {
    let (mut records, mut invalid) = (0, Vec::new());
    inspect_on(Arc::new(disk.clone()), Path::new(DIRECTORY), Some(file.as_ref()), &mut |piece| {
        match piece {
            Inspected::Record { .. } => records += 1,
            Inspected::Invalid { damage, bytes } => {
                invalid.push((damage.offset, bytes, damage.reason));
            }
            _ => {}
        }
    })?;
    Ok((records, invalid))
}

#[test]
fn a_file_with_any_bit_flipped_or_cut_anywhere_is_told_or_the_same() {
    let disk = disk(4);
    for file in FILES {
        let path = Path::new(DIRECTORY).join(file);
        let whole = disk.bytes(&path).unwrap();
        let (records, invalid) = look(&disk, file).unwrap();
        assert_eq!(invalid, [], "{file}");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            disk.set_bytes(&path, flipped);
            match look(&disk, file) {
                // The padding of a record means nothing.
                Ok((found, invalid)) if invalid.is_empty() => {
                    assert!(file.ends_with(".seg") && found == records, "{file}, byte {at}");
                }
                Ok((found, _)) => assert!(found <= records, "{file}, byte {at}"),
                Err(error) => {
                    let is_newer = matches!(error, KvsError::UnsupportedVersion { .. });
                    assert!(is_newer && file == "MANIFEST", "{file}, byte {at}: {error}");
                }
            }
            disk.set_bytes(&path, whole[..at].to_vec());
            let (_, invalid) = look(&disk, file).unwrap();
            assert!(!invalid.is_empty(), "{file} cut at {at}");
            disk.set_bytes(&path, whole.clone());
        }
    }
}

#[test]
fn what_the_disk_cannot_read_is_told_and_the_rest_is_shown() {
    let disk = disk(100);
    let (records, _) = look(&disk, "1").unwrap();
    assert_eq!(records, 101, "100 sets and a seal");
    disk.set_read_fault(&Scene::segment(1), 5000, ReadFault::Error(1));
    let (found, invalid) = look(&disk, "1").unwrap();
    let [(offset, bytes, reason)] = &invalid[..] else { panic!("{invalid:?}") };
    assert!(*offset <= 5000 && offset + bytes > 5000, "{invalid:?}");
    assert!(*bytes > 4000 && reason.contains("os error 5"), "{invalid:?}");
    assert!(found > 50 && found < records, "{found} of {records}");
    for file in FILES {
        let kind = Some(CallKind::Read);
        disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
        let (_, invalid) = look(&disk, file).unwrap();
        assert!(invalid.iter().any(|(_, _, reason)| reason.contains("os error 5")), "{file}");
        disk.clear_faults();
    }
}
