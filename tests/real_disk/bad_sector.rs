//! A sector that cannot be read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kvs::{KvsError, Options};
use tempfile::tempdir;

use super::mounts::{FileSystem, Mount, alone, or_skip, run, text};
use super::records::{key, marked};

const SECTOR: u64 = 512;
const SMALL_SEGMENT: u64 = 64 << 10;

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
    FileSystem::Ext4.make(&image)?;
    let mount = Mount::image(&image)?;
    let options = Options::new().ballast_bytes(0).segment_bytes(SMALL_SEGMENT);
    let store = options.open(mount.place.join("store")).unwrap();
    for number in 0..40 {
        store.set(key(number), marked(number)).unwrap();
    }
    store.close().unwrap();
    // A read of the whole file system says where the value lies on the device.
    mount.unmount()?;
    let bytes = fs::read(&image).unwrap();
    let value = marked(number);
    let found = bytes.windows(16).enumerate().find(|(_, window)| value.starts_with(window));
    let at = found.ok_or("the value is not in the image")?.0 as u64;
    Ok((image, (at + 2000) / SECTOR))
}

#[test]
fn a_bad_sector_is_an_error_for_its_key() {
    let _alone = alone();
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
