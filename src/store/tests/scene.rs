//! A scene for sequences that are written out: a store on the simulated disk, driven step by step
//! through closes, kills and power losses, on a disk that can call back in the middle of things.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::clock::SetClock;
use super::oracle::Reads;
use super::workload::{DIRECTORY, remove_hints};
use crate::error::Result;
use crate::options::{Durability, Index, Options, ReadPath, WriteOptions};
use crate::store::disk::{Access, Disk, DiskFile, DiskLock};
use crate::store::names;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;
use crate::store::{Environment, Store};

/// What a store holds.
pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Called once, before the call that it waits for; after it, where that says so.
type Hook = Box<dyn FnOnce() + Send>;

/// A call that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The directory is synced.
    SyncDir,
    /// A segment is unlinked.
    Unlink,
    /// A lock was asked for that somebody has.
    Refused,
    /// A file gets a second name.
    Link,
    /// A notice has been posted.
    Posted,
    /// The ballast has been opened.
    Ballast,
}

/// A disk that calls back.
struct Watched {
    disk: SimDisk,
    hook: Arc<Awaited>,
}

/// What is called back, and when.
#[derive(Default)]
struct Awaited(Mutex<Option<(Moment, Hook)>>);

/// A lock that calls back.
struct WatchedLock {
    lock: Box<dyn DiskLock>,
    hook: Arc<Awaited>,
}

impl DiskLock for WatchedLock {
    fn write(&self, contents: &[u8]) -> io::Result<()> {
        self.lock.write(contents)?;
        self.hook.reached(Moment::Posted);
        Ok(())
    }
}

impl Awaited {
    fn reached(&self, moment: Moment) {
        let mut hook = self.0.lock().unwrap();
        if hook.as_ref().is_some_and(|(wanted, _)| *wanted == moment) {
            let (_, call) = hook.take().unwrap();
            drop(hook);
            call();
        }
    }
}

impl Disk for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let opened = self.disk.open(path, access);
        if path.ends_with(names::BALLAST) {
            self.hook.reached(Moment::Ballast);
        }
        opened
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_dir(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.hook.reached(Moment::Link);
        self.disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.extension().is_some_and(|extension| extension == "seg") {
            self.hook.reached(Moment::Unlink);
        }
        self.disk.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.hook.reached(Moment::SyncDir);
        self.disk.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let lock = self.disk.lock(path)?;
        if lock.is_none() {
            self.hook.reached(Moment::Refused);
        }
        let watched = |lock| WatchedLock { lock, hook: Arc::clone(&self.hook) };
        Ok(lock.map(|lock| -> Box<dyn DiskLock> { Box::new(watched(lock)) }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }
}

/// A store and its disk.
pub struct Scene {
    /// The disk.
    pub disk: SimDisk,
    /// The store.
    pub store: Store,
    /// The clock of the machine.
    pub clock: Arc<SetClock>,
    watched: Arc<Watched>,
    lives: u64,
}

/// The options of every scene: segments end where the sequence says so.
fn options() -> Options {
    Options::new()
        .segment_bytes(1 << 20)
        .ballast_bytes(0)
        .read_path(ReadPath::Pread)
        .durability(Durability::Os)
}

fn open(
    watched: &Arc<Watched>,
    clock: &Arc<SetClock>,
    directory: &str,
    seed: u64,
    options: &Options,
) -> Result<Store> {
    let environment = Environment {
        disk: Arc::<Watched>::clone(watched),
        clock: Arc::<SetClock>::clone(clock),
        seed,
        background: false,
    };
    Store::open_in(Path::new(directory), options, environment)
}

impl Scene {
    /// An empty store.
    pub fn new() -> Scene {
        Scene::on(SimDisk::new(), 1).unwrap()
    }

    /// The store on this disk; `seed` makes its random numbers.
    pub fn on(disk: SimDisk, seed: u64) -> Result<Scene> {
        Scene::later(disk, &Arc::default(), seed)
    }

    /// An empty store with that index.
    pub fn indexed(index: Index) -> Scene {
        Scene::with(|options| options.index(index))
    }

    /// An empty store with other options than those of every scene.
    pub fn with(change: impl FnOnce(Options) -> Options) -> Scene {
        Scene::opened(SimDisk::new(), &Arc::default(), 1, &change(options())).unwrap()
    }

    /// The store on this disk, with this clock.
    pub fn later(disk: SimDisk, clock: &Arc<SetClock>, seed: u64) -> Result<Scene> {
        Scene::opened(disk, clock, seed, &options())
    }

    fn opened(disk: SimDisk, clock: &Arc<SetClock>, seed: u64, options: &Options) -> Result<Scene> {
        let watched = Arc::new(Watched { disk: disk.clone(), hook: Arc::default() });
        let store = open(&watched, clock, DIRECTORY, seed, options)?;
        Ok(Scene { disk, store, clock: Arc::clone(clock), watched, lives: seed })
    }

    /// Opens a store in another directory of the same disk.
    pub fn open_in(&self, directory: &str) -> Result<Store> {
        open(&self.watched, &self.clock, directory, self.lives, &options())
    }

    /// Calls this before the next call of that kind.
    pub fn at(&self, moment: Moment, call: impl FnOnce() + Send + 'static) {
        *self.watched.hook.0.lock().unwrap() = Some((moment, Box::new(call)));
    }

    /// Sets a key, not synced.
    pub fn set(&self, key: &str, value: &str) {
        self.store.set(key, value).unwrap();
    }

    /// Sets a key, durable when this returns.
    pub fn set_durably(&self, key: &str, value: &str) -> Result<()> {
        let options = WriteOptions::new().durability(Durability::Always);
        self.store.set_opt(key, value, options).map(drop)
    }

    /// Removes a key that is there, not synced.
    pub fn remove(&self, key: &str) {
        assert!(self.store.remove(key).unwrap().existed, "{key} was there");
    }

    /// Seals the active segment. Answers with its id.
    pub fn rotate(&self) -> u64 {
        let sealed = *self.store.segment_ids().last().unwrap();
        self.store.rotate().unwrap();
        assert_ne!(self.store.segment_ids().last(), Some(&sealed), "there was something to seal");
        sealed
    }

    /// Compacts these segments together.
    pub fn compact(&self, ids: &[u64]) {
        self.store.compact_segments(ids).unwrap();
    }

    /// Writes all hints that are missing.
    pub fn write_hints(&self) {
        while self.store.compact_step().unwrap() {}
    }

    /// Closes the store and opens it again.
    pub fn reopen(self) -> Scene {
        let Scene { disk, store, clock, lives, .. } = self;
        store.close().unwrap();
        Scene::later(disk, &clock, lives + 1).unwrap()
    }

    /// The process dies. Answers with the disk.
    pub fn die(self) -> SimDisk {
        self.store.abandon();
        self.disk
    }

    /// The process dies and the store is opened again.
    pub fn restart(self) -> Scene {
        let (lives, clock) = (self.lives + 1, Arc::clone(&self.clock));
        Scene::later(self.die(), &clock, lives).unwrap()
    }

    /// The machine loses power, and with it all that was not synced. The store is opened again.
    pub fn lose_power(self) -> Scene {
        let (lives, clock) = (self.lives + 1, Arc::clone(&self.clock));
        let disk = self.die().crash(&CrashPlan::new(Keep::Nothing, lives));
        Scene::later(disk, &clock, lives).unwrap()
    }

    /// The path of a segment.
    pub fn segment(id: u64) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{id:010}.seg"))
    }

    /// The path of a segment's hint.
    pub fn hint(id: u64) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{id:010}.hint"))
    }

    /// What the store holds, by iterating and by asking.
    pub fn contents(&self) -> Result<Model> {
        contents(&self.store)
    }

    /// The store holds this and nothing else, now and in each of its possible next lives.
    pub fn expect(self, pairs: &[(&str, &str)]) {
        let expected = model(pairs);
        assert_eq!(self.contents().unwrap(), expected, "now");
        let disk = self.disk.fork();
        let without_hints = disk.fork();
        remove_hints(&without_hints);
        for (disk, what) in [(disk, "after a kill"), (without_hints, "without hints")] {
            let scene = Scene::later(disk, &self.clock, self.lives + 100).unwrap();
            assert_eq!(scene.contents().unwrap(), expected, "{what}");
            scene.die();
        }
        self.store.sync().unwrap();
        let scene = self.lose_power();
        assert_eq!(scene.contents().unwrap(), expected, "after a power loss");
        scene.store.compact().unwrap();
        assert_eq!(scene.contents().unwrap(), expected, "after a compaction of everything");
        assert_eq!(scene.reopen().contents().unwrap(), expected, "opened again");
    }

    /// Does something, and then loses power, or the process alone, at each call of it in many
    /// ways. The store must open, and hold what `check` lets pass; it is told whether that moment
    /// was the last.
    pub fn crash_in(self, act: impl FnOnce(&Scene), check: impl Fn(&Model, bool) -> bool) {
        self.disk.record();
        act(&self);
        let trace = self.disk.take_trace();
        let clock = Arc::clone(&self.clock);
        self.die();
        let mut rng = Rng::new(trace.len() as u64);
        let mut replay = trace.replay();
        for at in 0..=trace.len() {
            replay.advance_to(at);
            for plan in CrashPlan::choose(replay.pending(), 100, &mut rng) {
                let place = || format!("call {at}, {plan:?}, pending:{}", replay.describe());
                let opened =
                    Scene::later(SimDisk::of(replay.crash(&plan)), &clock, rng.next() >> 1);
                let scene = opened.unwrap_or_else(|error| panic!("{error}; {}", place()));
                let found = scene.contents().unwrap();
                assert!(check(&found, at == trace.len()), "{found:?}; {}", place());
                scene.die();
            }
        }
    }
}

/// These keys and values.
pub fn model(pairs: &[(&str, &str)]) -> Model {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// What a store holds, by iterating and by asking.
pub fn contents(store: &impl Reads) -> Result<Model> {
    let mut model = Model::new();
    for pair in store.iter() {
        let (key, value) = pair?;
        let twice = model.insert(key.clone(), value.to_vec());
        assert!(twice.is_none(), "{key:?} came twice");
    }
    for (key, value) in &model {
        assert_eq!(store.get(key)?.as_deref(), Some(&value[..]), "get {key:?}");
    }
    // Keys that have expired count until they are swept.
    let (len, there) = (store.len(), model.len() as u64);
    assert!(there <= len && len <= there + store.expiring_keys(), "len: {len}, not {there}");
    Ok(model)
}
