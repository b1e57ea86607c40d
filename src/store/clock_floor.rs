//! The floor of the clock on disk: how late the store takes it to be at least, and how to lower
//! that where the machine's clock was wrong.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::core::Environment;
use super::disk::{Access, Disk};
use super::manifest::{Manifest, State};
use super::real_disk::{RealClock, RealDisk};
use super::recovery::marked_floor_ms;
use super::scan::Scan;
use super::segment::Shelf;
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// What [`reset_clock`] did.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// let reset = kvs::reset_clock(dir.path())?;
/// println!("{} ms back", reset.floor_before_ms.saturating_sub(reset.floor_after_ms));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockReset {
    /// What the time was at least, in milliseconds since 1970-01-01 UTC. 0: nothing has ever
    /// expired.
    pub floor_before_ms: u64,
    /// The same afterwards.
    pub floor_after_ms: u64,
}

/// Lets a store believe the clock of the machine again, after that clock was wrong.
///
/// A store never takes it to be earlier than it once was, so that what has expired stays so. If
/// the clock of the machine was once set to the far future while the store was open, keys that are
/// set to expire before that time expire too early, or cannot be set at all. This lowers what the
/// store remembers to the clock of the machine, which must be right by now. The store must not be
/// open. Durable when this returns.
///
/// Keys that had expired by the wrong time, and whose records are still in the log, are back if
/// their time has not come yet; also those that were removed meanwhile, because removing what has
/// expired writes nothing. Keys that were set again keep what they were set to. What compaction
/// has dropped does not come back.
///
/// # Errors
/// [`KvsError::Locked`] if anybody has the store open, this process included;
/// [`KvsError::NotAStore`], and what else an open can answer. [`KvsError::DiskFull`],
/// [`KvsError::Io`], [`KvsError::Poisoned`]: the old time may still count.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// let reset = kvs::reset_clock(dir.path())?;
/// assert_eq!((reset.floor_before_ms, reset.floor_after_ms), (0, 0), "nothing expires here");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reset_clock(directory: &Path) -> Result<ClockReset> {
    let seed = getrandom::u64().map_err(|error| {
        KvsError::io("get random numbers for", directory, std::io::Error::other(error))
    })?;
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock));
    reset_clock_in(directory, Environment { disk, clock, seed, background: false })
}

/// As `reset_clock`, in a store that no threads work on.
pub(crate) fn reset_clock_in(directory: &Path, environment: Environment) -> Result<ClockReset> {
    let disk = Arc::clone(&environment.disk);
    let options = Options {
        must_exist: true,
        reset_clock: true,
        ballast_bytes: 0,
        ..Options::new().compaction(false).read_path(ReadPath::Pread)
    };
    // Told after the open: if that fails, its reason is the better one.
    let floor_before_ms = clock_floor_ms(&disk, directory);
    let store = Store::open_in(directory, &options, environment)?;
    // The close notes how far the log goes: what marks in it say of the time counts no more.
    store.close()?;
    let floor_after_ms = clock_floor_ms(&disk, directory)?;
    Ok(ClockReset { floor_before_ms: floor_before_ms?, floor_after_ms })
}

/// What the next open would take the time to be at least, in milliseconds since 1970-01-01 UTC: by
/// the manifest, or by a mark behind it.
pub(crate) fn clock_floor_ms(disk: &Arc<dyn Disk>, directory: &Path) -> Result<u64> {
    let Some(manifest) = Manifest::load(&**disk, directory)? else {
        return Ok(0);
    };
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(Arc::clone(disk), directory, manifest.store_id, &options);
    let mut floor_ms = manifest.clock_floor_ms;
    for named in &manifest.segments {
        let State::Open { durable_upto } = named.state else {
            continue;
        };
        let segment = shelf.open(named.id(), 0, named.salt(), 0, Access::Read)?;
        let len = segment.file.len();
        let len = len.map_err(|error| KvsError::io("read", &segment.path, error))?;
        let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, len);
        while let Some(found) = scan.next()? {
            floor_ms = floor_ms.max(marked_floor_ms(&found, durable_upto));
        }
    }
    Ok(floor_ms)
}
