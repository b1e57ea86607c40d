//! Full disks and bad sectors on real file systems of this machine.
//!
//! Mounts need root: without it, and without what makes a device fail, a test says aloud that it
//! was skipped. The guard against SIGBUS is tested by everyone, on a file that is cut.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use kvs::{Durability, KvsError, Options, ReadPath, Store};
use tempfile::{TempDir, tempdir};

const DISK_BYTES: u64 = 8 << 20;
const SECTOR: u64 = 512;
const SMALL_SEGMENT: u64 = 64 << 10;

/// Held by each test that mounts: a program that another test starts keeps a mount busy.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a program; its words if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A mounted file system, taken away with the value.
struct Mount {
    place: PathBuf,
    _dir: TempDir,
}

impl Mount {
    /// Mounts with these arguments, which are made from the place and a directory for an image.
    fn new(arguments: impl FnOnce(&Path) -> Result<Vec<String>, String>) -> Result<Mount, String> {
        let dir = tempdir().unwrap();
        let place = dir.path().join("mount");
        fs::create_dir(&place).unwrap();
        let mut arguments = arguments(dir.path())?;
        arguments.push(text(&place).to_owned());
        run("mount", &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Mount { place, _dir: dir })
    }

    fn tmpfs() -> Result<Mount, String> {
        let size = format!("size={DISK_BYTES}");
        Mount::new(|_| Ok(["-t", "tmpfs", "-o", &size, "tmpfs"].map(str::to_owned).to_vec()))
    }

    fn ext4() -> Result<Mount, String> {
        Mount::new(|dir| {
            let image = dir.join("image");
            File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).unwrap();
            run("mkfs.ext4", &["-q", "-F", text(&image)])?;
            Ok(["-o", "loop", text(&image)].map(str::to_owned).to_vec())
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It may be unmounted already.
        let _ = run("umount", &["--lazy", text(&self.place)]);
    }
}

/// What a test says when it cannot run here.
fn or_skip<T>(test: &str, made: Result<T, String>) -> Option<T> {
    made.map_err(|why| println!("SKIPPED {test}: {why}")).ok()
}

fn key(number: usize) -> String {
    format!("key {number}")
}

/// Sets until the disk is full; the number of keys that have a value.
fn fill(store: &Store) -> usize {
    for number in 0.. {
        match store.set(key(number), vec![b'v'; 4000]) {
            Ok(_) => {}
            Err(KvsError::DiskFull { .. }) => return number,
            Err(other) => panic!("set {number}: {other:?}"),
        }
        assert!(number < 10_000, "the disk is never full");
    }
    0
}

fn options() -> Options {
    Options::new().segment_bytes(256 << 10).ballast_bytes(1 << 20)
}

fn check_values(store: &Store, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(store.get(key(number)).unwrap().unwrap().len(), 4000, "{number}");
    }
}

/// Reads, removes and compaction go on, and then sets do, without opening again.
fn check_goes_on(dir: &Path) {
    let store = options().open(dir).unwrap();
    let there = fill(&store);
    assert!(there > 500, "only {there} values fit");
    check_values(&store, 0..there);
    let removed = there / 2;
    for number in 0..removed {
        assert!(store.remove(key(number)).unwrap().existed);
    }
    store.compact().unwrap();
    check_values(&store, removed..there);
    for number in 0..removed / 2 {
        store.set_opt(key(number), vec![b'v'; 4000], durably()).unwrap();
    }
    store.close().unwrap();
    let store = options().open(dir).unwrap();
    check_values(&store, 0..removed / 2);
    check_values(&store, removed..there);
    assert_eq!(store.len(), (there - removed + removed / 2) as u64);
    store.close().unwrap();
}

/// A full disk is no reason not to close, and none not to open.
fn check_reopens(dir: &Path) {
    let store = options().open(dir).unwrap();
    let there = fill(&store);
    store.close().unwrap();
    let store = options().open(dir).unwrap();
    check_values(&store, 0..there);
    store.clear().unwrap();
    store.set_opt("key", "value", durably()).unwrap();
    store.close().unwrap();
}

fn durably() -> kvs::WriteOptions {
    kvs::WriteOptions::new().durability(Durability::Always)
}

#[test]
fn a_full_tmpfs_is_no_reason_to_stop() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(mount) = or_skip("a full tmpfs", Mount::tmpfs()) {
        check_goes_on(&mount.place.join("store"));
    }
}

#[test]
fn a_full_ext4_is_no_reason_to_stop() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(mount) = or_skip("a full ext4", Mount::ext4()) {
        check_goes_on(&mount.place.join("store"));
    }
}

#[test]
fn a_full_disk_is_closed_and_opened() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for made in [Mount::tmpfs(), Mount::ext4()] {
        if let Some(mount) = or_skip("closing on a full disk", made) {
            check_reopens(&mount.place.join("store"));
        }
    }
}

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

fn marked(number: usize) -> Vec<u8> {
    let mut value = format!("<{number}>").into_bytes();
    value.resize(4000, b'v');
    value
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

/// An image on a device of which one sector cannot be read.
struct BadDevice {
    daemon: Child,
    device: String,
    export: PathBuf,
}

impl BadDevice {
    /// `export` is a file that the daemon puts the device over.
    fn new(image: &Path, export: &Path, sector: u64) -> Result<BadDevice, String> {
        File::create(export).unwrap();
        let file = format!("driver=file,node-name=file,filename={}", text(image));
        let bad = format!(
            "driver=blkdebug,node-name=bad,image=file,inject-error.0.event=none,\
             inject-error.0.iotype=read,\
             inject-error.0.errno=5,inject-error.0.sector={sector},inject-error.0.once=off"
        );
        let fuse = format!(
            "type=fuse,id=export,node-name=bad,mountpoint={},writable=on,allow-other=off",
            text(export)
        );
        let ready = export.with_extension("pid");
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file, "--blockdev", &bad, "--export", &fuse])
            .args(["--pidfile", text(&ready)])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("qemu-storage-daemon: {error}"))?;
        let export = export.to_owned();
        let mut made = BadDevice { daemon, device: String::new(), export };
        // The pid file is written when everything is exported.
        while !ready.exists() {
            if let Some(status) = made.daemon.try_wait().unwrap() {
                return Err(format!("qemu-storage-daemon ends with {status}"));
            }
            std::thread::yield_now();
        }
        made.device = run("losetup", &["--find", "--show", text(&made.export)])?;
        Ok(made)
    }
}

impl Drop for BadDevice {
    fn drop(&mut self) {
        if !self.device.is_empty() {
            let _ = run("losetup", &["--detach", &self.device]);
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = run("umount", &["--lazy", text(&self.export)]);
    }
}

/// An ext4 image with a store in it, and the sector in the middle of the value of a key.
fn image_with_store(dir: &Path, number: usize) -> Result<(PathBuf, u64), String> {
    let image = dir.join("image");
    File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).unwrap();
    run("mkfs.ext4", &["-q", "-F", text(&image)])?;
    let loop_of_image = ["-o", "loop", text(&image)].map(str::to_owned).to_vec();
    let mount = Mount::new(|_| Ok(loop_of_image))?;
    let options = Options::new().ballast_bytes(0).segment_bytes(SMALL_SEGMENT);
    let store = options.open(mount.place.join("store")).unwrap();
    for number in 0..40 {
        store.set(key(number), marked(number)).unwrap();
    }
    store.close().unwrap();
    // A read of the whole file system says where the value lies on the device.
    run("umount", &[text(&mount.place)])?;
    let bytes = fs::read(&image).unwrap();
    let value = marked(number);
    let found = bytes.windows(16).enumerate().find(|(_, window)| value.starts_with(window));
    let at = found.ok_or("the value is not in the image")?.0 as u64;
    Ok((image, (at + 2000) / SECTOR))
}

#[test]
fn a_bad_sector_is_an_error_for_its_key() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempdir().unwrap();
    let bad = 20;
    let made = image_with_store(dir.path(), bad).and_then(|(image, sector)| {
        let device = BadDevice::new(&image, &dir.path().join("export"), sector)?;
        let arguments = vec![device.device.clone()];
        let mount = Mount::new(|_| Ok(arguments))?;
        Ok((mount, device))
    });
    let Some((mount, _device)) = or_skip("a bad sector", made) else {
        return;
    };
    // The segment is sealed and has its hint, so that opening does not read the value.
    let options = Options::new().ballast_bytes(0).segment_bytes(SMALL_SEGMENT).compaction(false);
    let store = options.open(mount.place.join("store")).unwrap();
    for _ in 0..2 {
        for number in 0..40_usize {
            let got = store.get(key(number)).map(|value| value.map(|value| value.to_vec()));
            match got {
                Ok(value) => {
                    assert_eq!(value, Some(marked(number)));
                    assert_ne!(number, bad);
                }
                // The neighbours may be in the pages that are read together with it.
                Err(KvsError::Corrupt { .. } | KvsError::Io { .. })
                    if number.abs_diff(bad) <= 12 => {}
                Err(other) => panic!("key {number}: {other:?}"),
            }
        }
    }
    store.set("more", "works").unwrap();
    assert!(store.get("more").unwrap().is_some());
    drop(store);
}
