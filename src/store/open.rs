//! How a store comes to life and how it is put to rest.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::appender::Appender;
use super::ballast::make_room;
use super::clock::Time;
use super::core::{Bell, Core, Counters, Environment, Log, Random, Space, segment_capacity};
use super::disk::{Disk, DiskLock, sync_name};
use super::durable::Durable;
use super::engine_file;
use super::fork::Owner;
use super::hash::Hasher;
use super::history::History;
use super::keydir::Keydir;
use super::load::{load, load_ordered};
use super::manifest::{Manifest, NUMBER_MAX, Named, ReplaceError, SEQ_RESERVE, State};
use super::names::SegmentId;
use super::notice::Board;
use super::pins::Pins;
use super::queue::Queue;
use super::record::Salt;
use super::recovery::{Active, Recovered, Role, holds_store, recover, remove_leftovers};
use super::retained::Retained;
use super::segment::{HEADER_BYTES, Shelf, StoreId};
use super::segments::Segments;
use super::sync::lock;
use super::view::View;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options};

impl Core {
    /// Opens the store in a directory whose lock is held.
    pub(crate) fn open(
        directory: &Path,
        options: &Options,
        environment: &Environment,
        lock: Weak<dyn DiskLock>,
    ) -> Result<Core> {
        let disk = &*environment.disk;
        let begin_us = environment.clock.steady_us();
        let mut opened = Core::try_open(directory, options, environment, &lock);
        while matches!(opened, Err(KvsError::DiskFull { .. }))
            && make_room(disk, directory).is_some()
        {
            opened = Core::try_open(directory, options, environment, &lock);
        }
        let took_us = environment.clock.steady_us().saturating_sub(begin_us);
        opened.inspect(|core| core.counters.open_us.store(took_us, Ordering::Relaxed))
    }

    fn try_open(
        directory: &Path,
        options: &Options,
        environment: &Environment,
        lock: &Weak<dyn DiskLock>,
    ) -> Result<Core> {
        let disk = Arc::clone(&environment.disk);
        let random = Random::new(environment.seed);
        let manifest = match holds_store(&*disk, directory)? {
            true => Manifest::load(&*disk, directory)?,
            false => None,
        };
        let manifest = match manifest {
            Some(manifest) => manifest,
            None if options.must_exist => {
                return Err(KvsError::NotAStore { path: directory.to_owned() });
            }
            None => found_store(&*disk, directory, &random)?,
        };
        // The name may have been lost where the manifest was not; it says what is so anyway.
        let _ = engine_file::claim(&*disk, directory, engine_file::KVS);
        // An open that died may have left a manifest whose name is not durable yet.
        let synced = disk.sync_dir(directory);
        synced.map_err(|error| KvsError::io("sync", directory, error))?;
        let shelf = Shelf::new(disk, directory, manifest.store_id, options);
        let segments = Segments::new();
        let number = || segments.claim_number();
        let mut recovered = recover(&shelf, manifest, &number, Role::Owner)?;
        let floor_ms = &mut recovered.manifest.clock_floor_ms;
        *floor_ms = recovered.clock_floor_ms.max(*floor_ms);
        if options.reset_clock {
            *floor_ms = environment.clock.wall_ms().min(*floor_ms);
        }
        let active = match recovered.active.take() {
            Some(active) => active,
            None => begin_log(&shelf, &mut recovered, options, &number, &random)?,
        };
        let board = Board::new(Weak::clone(lock), random.next());
        let found = (recovered, active, segments);
        let core = Core::assemble(shelf, found, options, random, environment, board)?;
        // Without a ballast the store is as good, until the disk is full.
        let _ = core.restore_ballast();
        core.update_space();
        core.prove_tail()?;
        // From here on the log grows: nobody else may read it to its end.
        core.post_notice()?;
        Ok(core)
    }

    fn assemble(
        shelf: Shelf,
        (recovered, active, segments): (Recovered, Active, Segments),
        options: &Options,
        random: Random,
        environment: &Environment,
        board: Board,
    ) -> Result<Core> {
        let Recovered { mut manifest, sources, .. } = recovered;
        let (keydir, pins) = (Keydir::new(), Pins::new());
        let time = Time::new(Arc::clone(&environment.clock), manifest.clock_floor_ms);
        let loaded = load(&sources, (u64::MAX, time.now_ms()), &mut keydir.write(&pins))?;
        if loaded.has_expiries {
            // What has expired by now is not loaded, so it must stay expired.
            manifest.clock_floor_ms = loaded.now_ms;
        }
        sources.iter().for_each(|source| segments.add(Arc::clone(&source.segment)));
        segments.add(Arc::clone(&active.segment));
        let ordered = load_ordered(options.index, &sources, &keydir, &pins)?;
        let next_seq = next_seq(&manifest, recovered.max_seq);
        let (writes, compacted_seq) = (options.retain_history, manifest.compacted_seq);
        let retained = Retained::new(writes, &sources, recovered.max_seq, compacted_seq);
        drop(sources);
        manifest.reserved_seq = next_seq + SEQ_RESERVE;
        if replace_manifest(&shelf, &manifest, &segments)? {
            time.move_horizon(manifest.clock_floor_ms);
            // Only now: until then the manifest on disk may have named them.
            remove_leftovers(&shelf, &manifest)?;
        } else {
            // What is there can be read. The first write needs a manifest that reserves its seq.
            manifest.reserved_seq = next_seq;
            if loaded.has_expiries {
                time.give_up_horizon();
            }
        }
        let capacity = segment_capacity(options, loaded.live_bytes);
        let Active { segment, durable_upto, unproven } = active;
        let appender = Appender::new(Arc::clone(&segment), segment.end(), capacity);
        Ok(Core {
            owner: Owner::new(),
            options: options.clone(),
            view: View {
                hasher: Hasher::new(manifest.hash_seed()),
                time,
                pins,
                segments,
                keydir,
                closed: AtomicBool::new(false),
                shelf,
            },
            history: History::default(),
            ordered,
            queue: Queue::new(),
            log: Mutex::new(Log::new(appender, durable_upto)),
            next: Mutex::new(None),
            durable: Durable::new(segment, durable_upto, unproven, Arc::clone(&environment.clock)),
            compaction: Mutex::new(()),
            next_seq: AtomicU64::new(next_seq),
            reserved_seq: AtomicU64::new(manifest.reserved_seq),
            published_seq: AtomicU64::new(next_seq - 1),
            compacted_seq: AtomicU64::new(compacted_seq),
            retained,
            watches: AtomicU64::new(0),
            space: Space::new(&loaded),
            counters: Counters::new(recovered.recovered_bytes, recovered.truncated_bytes),
            random,
            has_ballast: Mutex::new(false),
            background: environment.background,
            bell: Bell::default(),
            board,
            manifest: Mutex::new(manifest),
        })
    }

    /// What an earlier process left unsynced is readable from here on, so with `Always` it is made
    /// durable first, and otherwise soon.
    fn prove_tail(&self) -> Result<()> {
        if self.options.durability == Durability::Always {
            return self.sync_log();
        }
        if self.durable.upto() < lock(&self.log).appender.end() {
            self.bell.wake(|rung| rung.sync = true);
        }
        Ok(())
    }

    /// Refuses all further calls, makes everything durable and notes that this was a clean end.
    /// Background threads must have stopped.
    pub(crate) fn close(&self) -> Result<()> {
        if self.owner.is_gone() {
            self.closed.store(true, Ordering::Release);
            return Err(KvsError::Forked);
        }
        self.queue.close();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.tell_watches();
        let _compaction = lock(&self.compaction);
        self.unlink_buried();
        let log = lock(&self.log);
        let (segment, end) = (&log.appender.segment, log.appender.end());
        self.durable.check()?;
        // Gives back what was reserved; if the cut is lost, zeros come back and are cut again.
        let _ = segment.file.set_len(end);
        self.durable.sync(segment, end)?;
        let next_seq = self.next_seq.load(Ordering::Relaxed);
        let id = segment.id.0;
        let prepared = lock(&self.next).take();
        let note_end = |manifest: &mut Manifest| {
            manifest.segments.retain(|named| {
                prepared.as_ref().is_none_or(|prepared| named.id != prepared.segment.id.0)
            });
            for named in &mut manifest.segments {
                if named.id == id {
                    named.state = State::Open { durable_upto: end };
                }
            }
            // Nothing is reserved any more: the next open goes on without a gap.
            manifest.reserved_seq = next_seq;
            if manifest.clock_floor_ms > 0 {
                manifest.clock_floor_ms = self.time.seen_ms();
            }
        };
        match self.with_ballast(|| self.change_manifest(note_end)) {
            Ok(()) => {}
            // The log is synced: nothing is lost but the note that this was a clean end. Without
            // it, marks in the log would still say that it is later than a reset clock says.
            Err(KvsError::DiskFull { .. }) if !self.options.reset_clock => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(prepared) = prepared {
            let _ = self.shelf.disk.remove(&prepared.segment.path);
        }
        Ok(())
    }
}

/// Makes an empty store: its identity, and a manifest that names no segment yet.
fn found_store(disk: &dyn Disk, directory: &Path, random: &Random) -> Result<Manifest> {
    // The directory itself may be new. Its name is made durable first: an open that finds a
    // manifest takes it for granted.
    sync_name(disk, directory)?;
    engine_file::claim(disk, directory, engine_file::KVS)?;
    let mut store_id = [0; 16];
    let bytes = [random.next(), random.next()].map(u64::to_le_bytes);
    store_id.iter_mut().zip(bytes.iter().flatten()).for_each(|(to, from)| *to = *from);
    let manifest = Manifest {
        store_id: StoreId(store_id),
        hash_seed: [random.next(), random.next()],
        next_segment: 1,
        reserved_seq: 1,
        clock_floor_ms: 0,
        history_floor: 0,
        compacted_seq: 0,
        segments: Vec::new(),
    };
    manifest.replace(disk, directory).map_err(|failed| failed.error)?;
    Ok(manifest)
}

/// The seq of the first write of this life.
fn next_seq(manifest: &Manifest, max_seq: u64) -> u64 {
    if kvs_bug!("no_seq_reserve") {
        return max_seq + 1;
    }
    // After a clean close the reservation is exact; otherwise all of it may have been used. Once, a
    // clear called a seq gone that it had not taken.
    let gone = manifest.compacted_seq.min(NUMBER_MAX);
    manifest.reserved_seq.max(max_seq + 1).max(gone + 1)
}

/// Replaces the manifest, at the cost of what the store can do without if the disk is full. False:
/// it is too full even so, and the old one is there.
fn replace_manifest(shelf: &Shelf, manifest: &Manifest, segments: &Segments) -> Result<bool> {
    loop {
        match manifest.replace(&*shelf.disk, &shelf.directory) {
            Ok(()) => return Ok(true),
            Err(ReplaceError { error: KvsError::DiskFull { .. }, uncertain: false }) => {
                if make_room(&*shelf.disk, &shelf.directory).is_none() {
                    return Ok(false);
                }
                // Perhaps the hints are gone now.
                segments.all().iter().for_each(|it| it.hinted.store(false, Ordering::Relaxed));
            }
            Err(failed) => return Err(failed.error),
        }
    }
}

/// Makes the segment in which the log begins or goes on. The caller writes the manifest.
fn begin_log(
    shelf: &Shelf,
    recovered: &mut Recovered,
    options: &Options,
    number: &dyn Fn() -> Result<u16>,
    random: &Random,
) -> Result<Active> {
    let salt = if kvs_bug!("constant_salt") { 0 } else { random.next() };
    let capacity = options.segment_bytes.unwrap_or(1 << 20);
    let number = number()?;
    let segment = loop {
        let id = SegmentId(recovered.manifest.next_segment);
        recovered.manifest.next_segment += 1;
        if let Some(segment) = shelf.create(id, number, Salt(salt), capacity)? {
            break segment;
        }
    };
    let synced = segment.file.sync_all();
    synced.map_err(|error| KvsError::io("sync", &segment.path, error))?;
    shelf.sync_names()?;
    recovered.manifest.segments.push(Named {
        id: segment.id.0,
        salt,
        state: State::Open { durable_upto: HEADER_BYTES as u64 },
        min_seq: recovered.max_seq + 1,
        max_seq: 0,
        clean_upto: 0,
    });
    let durable_upto = HEADER_BYTES as u64;
    Ok(Active { segment: Arc::new(segment), durable_upto, unproven: None })
}
