//! Bit rot: a small data directory, damaged in every way that a medium has, never gives a wrong
//! value, an older value or a silent "not found".
//!
//! Of a store that was closed, everything is known to be durable: each get gives the last value
//! or an error, or the open is refused. Of one that was not, the end of the log after what the
//! last mark proves may look like a crash: then what is found is an earlier state, as a whole.
//! `KVS_ALL=1` or a time budget damages every bit instead of a choice.

use std::path::Path;
use std::sync::Arc;

use super::clock::START_MS;
use super::image::{Contents, Image, KEYS};
use super::oracle::key;
use super::proof::{Checked, prove};
use super::workload::{DIRECTORY, SMALL, open};
use crate::batch::{Batch, Operation};
use crate::error::KvsError;
use crate::store::salvage::salvage_on;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::state::Rng;
use crate::store::verify::verify_on;

const BLOCK: usize = 512;
/// In a quick run, every so many-th bit is flipped, and of so many cases one is salvaged.
const QUICK_STRIDE: usize = 7;
const SALVAGE_IN: usize = 16;

/// A place of damage.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip { file: usize, bit: usize },
    Cut { file: usize, len: usize },
    Zero(Block),
    Swap(Block, Block),
    Copy { from: Block, to: Block },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    file: usize,
    at: usize,
}

impl Image {
    fn bits(&self) -> impl Iterator<Item = Damage> + '_ {
        (0..self.files.len()).flat_map(|file| {
            (0..self.files[file].1.len() * 8).map(move |bit| Damage::Flip { file, bit })
        })
    }

    fn cuts(&self) -> impl Iterator<Item = Damage> + '_ {
        (0..self.files.len()).flat_map(|file| {
            (0..self.files[file].1.len()).map(move |len| Damage::Cut { file, len })
        })
    }

    fn blocks(&self) -> Vec<Block> {
        let of_file = |file: usize| {
            let len = self.files[file].1.len();
            (0..len).step_by(BLOCK).map(move |at| Block { file, at })
        };
        (0..self.files.len()).flat_map(of_file).collect()
    }

    fn block_damage(&self) -> Vec<Damage> {
        let blocks = self.blocks();
        let mut all: Vec<Damage> = blocks.iter().map(|block| Damage::Zero(*block)).collect();
        for (index, a) in blocks.iter().enumerate() {
            all.extend(blocks[index + 1..].iter().map(|b| Damage::Swap(*a, *b)));
            let others = blocks.iter().filter(|b| *b != a);
            all.extend(others.map(|b| Damage::Copy { from: *a, to: *b }));
        }
        all
    }

    fn block(&self, block: Block) -> &[u8] {
        let bytes = &self.files[block.file].1[block.at..];
        &bytes[..bytes.len().min(BLOCK)]
    }

    /// Puts bytes over the start of a block.
    fn put(&self, disk: &SimDisk, block: Block, new: &[u8]) {
        let path = &self.files[block.file].0;
        let mut bytes = disk.bytes(path).unwrap();
        let place = &mut bytes[block.at..];
        let len = place.len().min(new.len());
        place[..len].copy_from_slice(&new[..len]);
        disk.set_bytes(path, bytes);
    }

    fn damaged(&self, damage: Damage) -> SimDisk {
        let disk = self.disk.fork();
        match damage {
            Damage::Flip { file, bit } => {
                let (path, bytes) = &self.files[file];
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                disk.set_bytes(path, bytes);
            }
            Damage::Cut { file, len } => {
                let (path, bytes) = &self.files[file];
                disk.set_bytes(path, bytes[..len].to_vec());
            }
            Damage::Zero(block) => self.put(&disk, block, &[0; BLOCK]),
            Damage::Swap(a, b) => {
                self.put(&disk, a, self.block(b));
                self.put(&disk, b, self.block(a));
            }
            Damage::Copy { from, to } => self.put(&disk, to, self.block(from)),
        }
        disk
    }

    /// The first state that may be found after this damage.
    fn floor(&self, damage: Damage) -> usize {
        match damage {
            Damage::Flip { .. } => self.proven,
            _ => self.sealed,
        }
    }

    /// Checks everything that must hold after a damage.
    fn check(&self, damage: Damage, salvaged: bool) -> Checked<()> {
        let told = |wrong| format!("{damage:?} of {:?}: {wrong}", self.names());
        let disk = self.damaged(damage);
        let verified = || verify_on(Arc::new(disk.fork()), Path::new(DIRECTORY), &mut |_| ());
        let told_of = verified().map_or(true, |report| !report.damage.is_empty());
        let changed = self.check_open(&disk.fork(), self.floor(damage)).map_err(told)?;
        if changed && !told_of {
            return Err(told("verify finds nothing".to_owned()));
        }
        if salvaged {
            for strict in [false, true] {
                self.check_salvage(&disk.fork(), damage, strict).map_err(told)?;
            }
        }
        Ok(())
    }

    /// Opens and gets every key. True: the damage changed an answer, to an error.
    fn check_open(&self, disk: &SimDisk, floor: usize) -> Checked<bool> {
        let store = match open(disk, &SMALL.options(), 99) {
            Ok(store) => store,
            Err(
                KvsError::Corrupt { .. }
                | KvsError::SegmentMissing { .. }
                | KvsError::ManifestMissing { .. }
                | KvsError::UnsupportedVersion { .. }
                | KvsError::WrongEngine { .. },
            ) => return Ok(true),
            Err(other) => return Err(format!("open: {other:?}")),
        };
        let mut found = Vec::new();
        let mut changed = false;
        for key in (0..KEYS).map(key) {
            match store.get(&key) {
                Ok(value) => found.push((key, value.map(|value| value.to_vec()))),
                Err(KvsError::Corrupt { .. }) => changed = true,
                Err(other) => return Err(format!("get: {other:?}")),
            }
        }
        store.abandon();
        let agrees = |state: &Contents| found.iter().all(|(k, v)| state.get(k) == v.as_ref());
        if self.states[floor..].iter().any(agrees) {
            return Ok(changed);
        }
        let last = &self.states[self.states.len() - 1];
        let wrong = found.iter().filter(|(key, value)| last.get(key) != value.as_ref());
        let wrong = wrong.map(|(key, value)| match value {
            None => format!("{} is not found", String::from_utf8_lossy(key)),
            Some(value) if self.ever.contains(&(key.clone(), value.clone())) => {
                format!("{} has an older value", String::from_utf8_lossy(key))
            }
            Some(_) => format!("{} has a wrong value", String::from_utf8_lossy(key)),
        });
        Err(wrong.collect::<Vec<_>>().join(", "))
    }

    fn check_salvage(&self, disk: &SimDisk, damage: Damage, strict: bool) -> Checked<()> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let keep = &mut |batch: &Batch| {
            found.extend(batch.iter().map(|operation| match operation {
                Operation::Set { key, value, .. } => (key.to_vec(), value.to_vec()),
                Operation::Remove { key } => panic!("salvage removes {key:?}"),
            }));
            Ok(())
        };
        let disk = Arc::new(disk.clone());
        match salvage_on(disk, Path::new(DIRECTORY), START_MS, strict, &mut |_| (), keep) {
            Err(KvsError::UnsupportedVersion { .. } | KvsError::WrongEngine { .. }) | Ok(_) => {}
            Err(other) => return Err(format!("salvage: {other:?}")),
        }
        let states = &self.states[self.floor(damage)..];
        for (key, value) in found {
            let name = String::from_utf8_lossy(&key).into_owned();
            if strict && !states.iter().any(|state| state.get(&key) == Some(&value)) {
                return Err(format!("strict salvage gives {name} a stale value"));
            }
            if !self.ever.contains(&(key, value)) {
                return Err(format!("salvage gives {name} a value that it never had"));
            }
        }
        Ok(())
    }

    /// Checks each damage; answers with how many there were.
    fn check_all(&self, damage: impl Iterator<Item = Damage>) -> Checked<u64> {
        let mut count = 0;
        for damage in damage {
            self.check(damage, count % SALVAGE_IN == 0)?;
            count += 1;
        }
        Ok(count as u64)
    }
}

/// Whether nothing is to be left out.
fn thorough() -> bool {
    ["KVS_ALL", "KVS_PROOF_SECONDS"].iter().any(|name| std::env::var_os(name).is_some())
}

fn stride() -> usize {
    if thorough() { 1 } else { QUICK_STRIDE }
}

#[test]
fn an_undamaged_directory_gives_everything() {
    for clean in [true, false] {
        let image = Image::new(1, clean);
        let last = image.states.len() - 1;
        assert_eq!(image.check_open(&image.disk.fork(), last), Ok(false));
        let report = verify_on(Arc::new(image.disk.fork()), Path::new(DIRECTORY), &mut |_| ());
        assert_eq!(report.unwrap().damage, []);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    prove("bit rot: flipped bits", 50_000, |seed| {
        let mut count = 0;
        for clean in [true, false] {
            let image = Image::new(seed, clean);
            let start = Rng::new(seed).below(stride());
            count += image.check_all(image.bits().skip(start).step_by(stride()))?;
        }
        Ok(count)
    });
}

#[test]
fn every_truncation_is_found() {
    prove("bit rot: truncations", 10_000, |seed| {
        let [clean, open] = [true, false].map(|clean| Image::new(seed, clean));
        Ok(clean.check_all(clean.cuts())? + open.check_all(open.cuts())?)
    });
}

fn damage_blocks(seed: u64) -> Checked<u64> {
    let [clean, open] = [true, false].map(|clean| Image::new(seed, clean));
    let count = clean.check_all(clean.block_damage().into_iter())?;
    Ok(count + open.check_all(open.block_damage().into_iter())?)
}

#[test]
fn every_zeroed_or_misplaced_block_is_found() {
    prove("bit rot: blocks", 2_000, damage_blocks);
}

/// A block of the last sealed segment and the header of the one after it.
#[test]
fn the_seed_that_has_failed_once_passes() {
    damage_blocks(2_734_487_822_344_164_918).unwrap();
}
