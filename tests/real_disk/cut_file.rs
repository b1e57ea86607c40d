//! A file that is cut while it is open.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kvs::{KvsError, Options, ReadPath};
use tempfile::tempdir;

use super::records::{key, marked};

/// A directory with keys of 4000 bytes in a segment, and where in its file their values lie.
fn keys_on_disk(dir: &Path, values: usize) -> (PathBuf, Vec<u64>) {
    let options = Options::new().ballast_bytes(0);
    let store = options.open(dir).unwrap();
    for number in 0..values {
        store.set(key(number), marked(number)).unwrap();
    }
    store.close().unwrap();
    let segments = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segment = segments.filter(|path| path.extension().is_some_and(|end| end == "seg")).max();
    let segment = segment.unwrap();
    let bytes = fs::read(&segment).unwrap();
    let place = |number: usize| {
        let value = marked(number);
        bytes.windows(value.len()).position(|window| window == value).unwrap() as u64
    };
    let places = (0..values).map(place).collect();
    (segment, places)
}

#[test]
fn a_file_that_is_cut_is_an_error_and_no_signal() {
    for read_path in [ReadPath::Mapped, ReadPath::Pread] {
        let dir = tempdir().unwrap();
        let (segment, places) = keys_on_disk(dir.path(), 20);
        let store = Options::new().ballast_bytes(0).read_path(read_path).open(dir.path()).unwrap();
        let file = OpenOptions::new().write(true).open(&segment).unwrap();
        let whole = fs::read(&segment).unwrap();
        let cut = places[10] / 4096 * 4096;
        file.set_len(cut).unwrap();
        for (number, place) in places.iter().enumerate() {
            let got = store.get(key(number));
            if place + 4000 <= cut {
                assert_eq!(got.unwrap().unwrap()[..], marked(number));
            } else {
                let got = got.map(|value| value.map(|value| value.len()));
                let is_error = matches!(got, Err(KvsError::Corrupt { .. } | KvsError::Io { .. }));
                assert!(is_error, "{read_path:?}, key {number}: {got:?}");
            }
        }
        let before = places.iter().filter(|place| *place + 4000 <= cut).count();
        assert_eq!(store.iter().filter(Result::is_ok).count(), before);
        // The keys come back with the bytes: zeros that were shown once are not kept.
        file.write_all_at(&whole[usize::try_from(cut).unwrap()..], cut).unwrap();
        for number in 0..places.len() {
            let is_right = |value: &[u8]| value == marked(number);
            assert_eq!(store.get_with(key(number), is_right).unwrap(), Some(true), "{number}");
            assert_eq!(store.get(key(number)).unwrap().unwrap()[..], marked(number));
        }
        assert_eq!(store.iter().filter(Result::is_ok).count(), places.len());
    }
}
