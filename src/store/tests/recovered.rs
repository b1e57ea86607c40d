//! What an open makes of what it finds, at the borders of each decision.

use std::path::Path;

use super::scene::{Scene, model};
use super::workload::{DIRECTORY, remove_hints};
use crate::batch::Batch;
use crate::error::KvsError;
use crate::options::WriteOptions;
use crate::store::disk::Disk;
use crate::store::manifest::{Manifest, State};
use crate::store::names::{self, SegmentId};
use crate::store::record::Record;
use crate::store::recovery::holds_store;
use crate::store::scan::Scan;
use crate::store::segment::HEADER_BYTES;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};

fn manifest(disk: &SimDisk) -> Manifest {
    Manifest::load(disk, Path::new(DIRECTORY)).unwrap().unwrap()
}

fn quarantined(disk: &SimDisk) -> Vec<String> {
    let names = disk.list(Path::new(DIRECTORY)).unwrap();
    let is_there = names.iter().any(|name| name == names::QUARANTINE);
    let path = Path::new(DIRECTORY).join(names::QUARANTINE);
    if is_there { disk.list(&path).unwrap() } else { Vec::new() }
}

/// A segment that was sealed since the last manifest, and the one in which the log went on.
#[test]
fn what_no_mark_proves_is_counted_and_nothing_is_put_aside() {
    let scene = Scene::new();
    scene.set("a", "1");
    let sealed = scene.rotate();
    scene.set("b", "1");
    let end = |scene: &Scene| scene.store.core().log.lock().unwrap().appender.end();
    let active = end(&scene);
    let scene = scene.restart();
    let stats = scene.store.stats();
    let sealed = scene.disk.bytes(&Scene::segment(sealed)).unwrap().len() as u64;
    let header = HEADER_BYTES as u64;
    assert_eq!(stats.recovered_bytes, sealed - header + active - header);
    assert_eq!((stats.truncated_bytes, quarantined(&scene.disk)), (0, Vec::new()));
    scene.expect(&[("a", "1"), ("b", "1")]);
}

#[test]
fn a_seal_counts_what_was_there_before_an_open_too() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.set("b", "1");
    let scene = scene.restart();
    let (mut one, mut two) = (Batch::new(), Batch::new());
    one.set("c", "1");
    two.set("d", "1").set("e", "1");
    // In one group.
    let options = WriteOptions::new();
    assert!(scene.store.write_many(&[(&one, options), (&two, options)]).iter().all(Result::is_ok));
    let sealed = scene.rotate();
    let segment = scene.store.core().segments.by_id(SegmentId(sealed)).unwrap();
    let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, segment.end());
    let mut counted = None;
    while let Some(found) = scan.next().unwrap() {
        if let Record::Seal { records, min_seq, max_seq } = found.record {
            counted = Some((records, max_seq - min_seq > 1));
        }
    }
    assert_eq!(counted, Some((5, true)));
}

#[test]
fn a_sealed_segment_is_as_long_as_the_manifest_says_and_ends_with_its_seal() {
    let scene = Scene::new();
    scene.set("a", "1");
    let sealed = SegmentId(scene.rotate());
    scene.set("b", "1");
    let scene = scene.reopen();
    let disk = scene.die();
    remove_hints(&disk);
    let path = Scene::segment(sealed.0);
    let bytes = disk.bytes(&path).unwrap();
    let refused = |disk: &SimDisk| match Scene::on(disk.clone(), 9).map(|scene| scene.die()) {
        Err(KvsError::Corrupt { reason, offset, .. }) => (reason, offset),
        other => panic!("{:?}", other.map(|_| ())),
    };
    // More is behind it that nobody needs.
    let longer = disk.fork();
    longer.set_bytes(&path, [&bytes[..], &[0; 64]].concat());
    Scene::on(longer, 9).unwrap().expect(&[("a", "1"), ("b", "1")]);
    let shorter = disk.fork();
    shorter.set_bytes(&path, bytes[..bytes.len() - 8].to_vec());
    let told = ("the file is shorter than the manifest says", bytes.len() as u64 - 8);
    assert_eq!(refused(&shorter), told);
    // A manifest that calls another place its end: before the seal, or behind it.
    let mut scan_ends = Vec::new();
    let named = manifest(&disk).segments.iter().find(|it| it.id() == sealed).copied().unwrap();
    let file = disk.open(&path, crate::store::disk::Access::Read).unwrap();
    let mut scan = Scan::new(&*file, &path, named.salt(), bytes.len() as u64);
    while scan.next().unwrap().is_some() {
        scan_ends.push(scan.offset());
    }
    let (before, behind) = (scan_ends[scan_ends.len() - 2], bytes.len() as u64 + 8);
    for len in [before, behind] {
        let wrong = disk.fork();
        wrong.set_bytes(&path, [&bytes[..], &[0; 64]].concat());
        let mut manifest = manifest(&wrong);
        let named = manifest.segments.iter_mut().find(|it| it.id() == sealed).unwrap();
        named.state = State::Sealed { len };
        assert!(manifest.replace(&wrong, Path::new(DIRECTORY)).is_ok());
        refused(&wrong);
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
    let disk = Scene::new().die();
    let kind = Some(CallKind::List);
    disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
    let held = holds_store(&disk, Path::new(DIRECTORY));
    assert!(matches!(held, Err(KvsError::Io { .. })), "{held:?}");
    assert!(!holds_store(&SimDisk::new(), Path::new("/nothing")).unwrap());
}

/// Not what would come of it if it were there.
#[test]
fn what_cannot_be_put_aside_is_told_as_it_was() {
    let scene = Scene::new();
    scene.set("a", "1");
    let end = scene.store.core().log.lock().unwrap().appender.end();
    let disk = scene.die();
    let path = Scene::segment(1);
    let mut bytes = disk.bytes(&path).unwrap();
    let at = usize::try_from(end).unwrap();
    bytes.resize(bytes.len().max(at + 16), 0);
    bytes[at..at + 16].fill(0xee);
    disk.set_bytes(&path, bytes);
    // The first file that an open makes.
    let kind = Some(CallKind::Create);
    disk.set_fault(Fault { kind, after: 0, failure: Failure::Emfile, forever: false });
    let refused = Scene::on(disk.clone(), 2).map(|scene| drop(scene.die()));
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("quarantine") && told.contains("Too many open files"), "{told}");
    let scene = Scene::on(disk, 2).unwrap();
    assert_eq!(quarantined(&scene.disk), [names::quarantined(SegmentId(1), end)]);
    assert_eq!(scene.contents().unwrap(), model(&[("a", "1")]));
}
