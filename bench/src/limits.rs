//! What the machine allows, by the barest code: the yardsticks beside the engines.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::data::{Data, KEY_MAX, Rng, Shape};
use crate::engine::Res;
use crate::plan::{Plan, emit};
use crate::workload::run_for;

/// The name of the limits where engines have theirs.
pub const NAME: &str = "limits";

/// Bytes of a record beside key and value: checksum, length, kind, sequence number, lengths.
const RECORD_EXTRA: usize = 20;

pub fn run(plan: &Plan) -> Res<()> {
    let data = Data::new(plan.shape);
    emit("limit_pwrite", pwrite_rate(&data, plan)?)?;
    emit("limit_sync_allocated", sync_rate(&data, plan, false)?)?;
    emit("limit_sync_written", sync_rate(&data, plan, true)?)?;
    let memory = Misses::new(plan)?;
    memory.rate(1, plan)?;
    emit("limit_read_1", memory.rate(1, plan)?)?;
    emit("limit_read_2", memory.rate(2, plan)?)?;
    Ok(())
}

fn record_len(shape: &Shape) -> usize {
    (shape.key_len + shape.value_len + RECORD_EXTRA).next_multiple_of(8)
}

fn create(dir: &Path) -> Res<File> {
    let path = dir.join("limits");
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?)
}

/// Puts key and value of `index` into a record, as any log must.
fn fill(record: &mut [u8], data: &Data, index: u64) {
    let mut buffer = [0; KEY_MAX];
    let Shape { key_len, value_len, .. } = data.shape;
    record[8..8 + key_len].copy_from_slice(data.key(index, &mut buffer));
    record[8 + key_len..8 + key_len + value_len].copy_from_slice(data.value(index));
}

/// Records per second with one `pwrite` for each, nothing else.
fn pwrite_rate(data: &Data, plan: &Plan) -> Res<f64> {
    let file = create(&plan.dir)?;
    let mut record = vec![0; record_len(&data.shape)];
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.limit_seconds());
    let mut done = 0;
    while done < data.shape.keys && (done % 256 != 0 || Instant::now() < end) {
        fill(&mut record, data, done);
        file.write_all_at(&record, done * record.len() as u64)?;
        done += 1;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Records per second with a `pwrite` and an `fdatasync` for each, in a file whose blocks were
/// allocated before, and written before too if `written`.
fn sync_rate(data: &Data, plan: &Plan, written: bool) -> Res<f64> {
    const FILE_BYTES: u64 = 64 << 20;
    let file = create(&plan.dir)?;
    if written {
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
    } else {
        let bytes = libc::off_t::try_from(FILE_BYTES)?;
        // SAFETY: the descriptor is open, and the call touches no memory of ours.
        let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) };
        if code != 0 {
            return Err(std::io::Error::from_raw_os_error(code).into());
        }
    }
    file.sync_all()?;
    let len = record_len(&data.shape);
    run_for(1, plan.seconds(), 1, |hand| {
        let mut record = [0; 2 * KEY_MAX];
        let record = &mut record[..len];
        fill(record, data, hand.step);
        file.write_all_at(record, hand.step * len as u64 % (FILE_BYTES - 4096))?;
        Ok(file.sync_data()?)
    })
}

/// A table of slots in anonymous memory that point into a mapped file of records.
struct Misses {
    slots: Vec<u64>,
    records: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is only read after it was filled.
unsafe impl Sync for Misses {}

impl Misses {
    fn new(plan: &Plan) -> Res<Misses> {
        let len = record_len(&plan.shape) as u64;
        let bytes = plan.shape.keys * len;
        let file = create(&plan.dir)?;
        let block = vec![1; 1 << 20];
        for at in (0..bytes).step_by(block.len()) {
            file.write_all_at(&block, at)?;
        }
        let bytes = usize::try_from(bytes)?;
        // SAFETY: a new shared mapping of a file that is open and long enough.
        let mapped = unsafe {
            let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE);
            libc::mmap(std::ptr::null_mut(), bytes, prot, flags, file.as_raw_fd(), 0)
        };
        if mapped == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let records = NonNull::new(mapped.cast()).ok_or("a mapping at address 0")?;
        let mut rng = Rng::new(17);
        // A third more slots than keys, as in a hash table that is three quarters full.
        let slots = (0..plan.shape.keys * 4 / 3).map(|_| rng.below(plan.shape.keys) * len);
        Ok(Misses { slots: slots.collect(), records, bytes })
    }

    /// Reads per second: a random slot, then eight bytes of the record that it points to.
    fn rate(&self, threads: usize, plan: &Plan) -> Res<f64> {
        run_for(threads, plan.seconds(), 256, |hand| {
            let slot = self.slots[hand.rng.below(self.slots.len() as u64) as usize] as usize;
            assert!(slot + 8 <= self.bytes);
            // SAFETY: the eight bytes at `slot` lie in the mapping, and it lives as long as self.
            let word = unsafe { self.records.add(slot).cast::<u64>().read_unaligned() };
            std::hint::black_box(word);
            Ok(())
        })
    }
}

impl Drop for Misses {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing uses it any more.
        unsafe { libc::munmap(self.records.as_ptr().cast(), self.bytes) };
    }
}
