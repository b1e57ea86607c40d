//! Writes that fail on their way to the device, after the operating system has taken them: on a
//! disk that says that it is larger than it is, as thinly provisioned ones do.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use kvs::{Options, Store};

use super::mounts::{FileSystem, Mount, alone, or_skip, run, text};
use super::records::{durably, key, marked};

/// There is room for the file systems themselves, and for a little more.
const BACKING_BYTES: u64 = 256 << 20;
/// How many keys are written while all is well.
const BEFORE: usize = 100;
const ATTEMPTS_MAX: usize = 100_000;

/// A disk whose unwritten parts take room elsewhere only when they are written.
struct ThinDisk {
    backing: Mount,
}

impl ThinDisk {
    fn new(file_system: FileSystem) -> Result<ThinDisk, String> {
        let disk = ThinDisk { backing: Mount::tmpfs(BACKING_BYTES)? };
        file_system.make(&disk.image())?;
        disk.mount()?.unmount()?;
        Ok(disk)
    }

    /// A page of the image is written or it is not: of a request over two pages of which one finds
    /// no room, Linux says that all is well.
    fn mount(&self) -> Result<Mount, String> {
        let mount = Mount::image(&self.image())?;
        let device = run("findmnt", &["-no", "SOURCE", text(&mount.place)])?;
        let device = device.strip_prefix("/dev/").ok_or("a device without a name")?;
        let limit = format!("/sys/block/{device}/queue/max_sectors_kb");
        fs::write(&limit, "4").map_err(|error| format!("{limit}: {error}"))?;
        Ok(mount)
    }

    fn image(&self) -> PathBuf {
        self.backing.place.join("image")
    }

    fn filler(&self) -> PathBuf {
        self.backing.place.join("filler")
    }

    /// Takes all room: what was not written yet cannot be from now on.
    fn exhaust(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        for bytes in [1 << 20, 4096] {
            while filler.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

fn open(mount: &Mount) -> Store {
    let options = Options::new().segment_bytes(256 << 10).ballast_bytes(0);
    options.open(mount.place.join("store")).unwrap()
}

/// Values are what was written. What cannot be read is an error, where that is allowed.
fn check(store: &Store, numbers: Range<usize>, may_fail: bool) {
    for number in numbers {
        match store.get(key(number)) {
            Ok(value) => assert_eq!(value.unwrap()[..], marked(number), "{number}"),
            Err(error) => assert!(may_fail, "{number}: {error}"),
        }
    }
}

/// The first sync that fails is an error of the write that waits for it, and nothing is written
/// after it; what was acknowledged is there when the disk is well again.
fn check_failed_write_back(disk: &ThinDisk) -> Result<(), String> {
    let mount = disk.mount()?;
    let store = open(&mount);
    for number in 0..BEFORE {
        store.set_opt(key(number), marked(number), durably()).unwrap();
    }
    disk.exhaust();
    let failed = (BEFORE..BEFORE + ATTEMPTS_MAX)
        .find(|number| store.set_opt(key(*number), marked(*number), durably()).is_err());
    let failed = failed.expect("the disk takes more than it has");
    for attempt in 0..3 {
        let again = store.set_opt("again", "value", durably());
        assert!(again.is_err(), "attempt {attempt}: {again:?}");
    }
    assert!(store.stats().poisoned);
    check(&store, 0..failed, true);
    // It has an error of its own to tell, or none.
    let _ = store.close();
    mount.unmount()?;
    disk.relieve();

    let mount = disk.mount()?;
    let store = open(&mount);
    check(&store, 0..failed, false);
    store.set_opt("again", "value", durably()).unwrap();
    store.compact().unwrap();
    check(&store, 0..failed, false);
    store.close().unwrap();
    mount.unmount()
}

#[test]
fn a_failed_write_back_is_final_and_loses_nothing_that_was_acknowledged() {
    let _alone = alone();
    for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
        let name = format!("a failed write-back, {file_system:?}");
        if let Some(disk) = or_skip(&name, ThinDisk::new(file_system)) {
            check_failed_write_back(&disk).unwrap();
        }
    }
}
