//! The state of the simulated disk: files, directories, and what of both is not durable yet.
//!
//! Every file has two contents, what a read sees and what is durable, and between them the list
//! of the changes since the last sync. Directories are the same with names for bytes. A state is
//! changed by applying a [`Call`], live and in a replay alike, and is cheap to clone: contents are
//! shared until they are written. Which pending changes survive a crash is not decided here.
#![expect(clippy::indexing_slicing, reason = "a test double: a wrong range is to end the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};

/// What a name points to: a file or a directory, whatever it is called at the moment.
pub type NodeId = usize;

/// The directory that is always there.
pub const ROOT: NodeId = 0;

/// The names in a directory.
pub type Names = BTreeMap<Arc<str>, NodeId>;

/// A call that changed something. Calls that failed without effect are not kept.
#[derive(Debug, Clone)]
pub enum Call {
    /// Bytes written at an offset, as many as were accepted.
    Write { file: NodeId, offset: usize, bytes: Arc<[u8]> },
    /// A file cut or extended with zeros.
    SetLen { file: NodeId, len: usize },
    /// A file extended with zeros up to `end`, if it was shorter.
    Allocate { file: NodeId, end: usize },
    /// A sync of a file that succeeded.
    Sync { file: NodeId },
    /// A sync of a file that failed.
    SyncFailed { file: NodeId },
    /// A sync of a directory that succeeded.
    SyncDir { directory: NodeId },
    /// A new, empty file.
    Create { directory: NodeId, name: Arc<str> },
    /// A new, empty directory.
    CreateDir { directory: NodeId, name: Arc<str> },
    /// A second name of a file.
    Link { directory: NodeId, name: Arc<str>, file: NodeId },
    /// Another name in the same directory.
    Rename { directory: NodeId, from: Arc<str>, to: Arc<str> },
    /// A name taken away.
    Remove { directory: NodeId, name: Arc<str> },
}

/// Bytes with their hash, which is kept until they change.
#[derive(Debug, Clone, Default)]
pub struct Content {
    bytes: Vec<u8>,
    hash: OnceLock<u64>,
}

impl Content {
    /// Wraps bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Content> {
        Arc::new(Content { bytes, hash: OnceLock::new() })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn edit(content: &mut Arc<Content>) -> &mut Vec<u8> {
        let content = Arc::make_mut(content);
        content.hash = OnceLock::new();
        &mut content.bytes
    }

    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| hash_bytes(0, &self.bytes))
    }
}

/// A change of a file's contents or length.
#[derive(Debug, Clone)]
pub enum Change {
    /// Bytes at an offset; the file grows if it has to.
    Write(usize, Arc<[u8]>),
    /// Exactly this length.
    SetLen(usize),
    /// At least this length.
    Grow(usize),
}

impl Change {
    /// Makes the change.
    pub fn apply(&self, content: &mut Vec<u8>) {
        content.resize(self.len_after(content.len()), 0);
        if let Change::Write(offset, bytes) = self {
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Where the written bytes end after this change.
    pub fn written_after(&self, written: usize) -> usize {
        match self {
            Change::Write(offset, bytes) => written.max(offset + bytes.len()),
            Change::SetLen(len) => written.min(*len),
            Change::Grow(_) => written,
        }
    }

    /// The length of a file of length `len` after this change.
    pub fn len_after(&self, len: usize) -> usize {
        match self {
            Change::Write(offset, bytes) => len.max(offset + bytes.len()),
            Change::SetLen(new) => *new,
            Change::Grow(end) => len.max(*end),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Write(offset, bytes) => write!(f, "write {offset}+{}", bytes.len()),
            Change::SetLen(len) => write!(f, "set length {len}"),
            Change::Grow(end) => write!(f, "grow to {end}"),
        }
    }
}

impl fmt::Display for NameChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameChange::Link(name, node) => write!(f, "create {name} ({node})"),
            NameChange::Move(name, node) => write!(f, "rename to {name} ({node})"),
            NameChange::Unlink(name, node) => write!(f, "remove {name} ({node})"),
        }
    }
}

/// A change of the names in a directory.
#[derive(Debug, Clone)]
pub enum NameChange {
    /// A new name.
    Link(Arc<str>, NodeId),
    /// The name that a node has now, and no other.
    Move(Arc<str>, NodeId),
    /// A name taken away.
    Unlink(Arc<str>, NodeId),
}

impl NameChange {
    /// Makes the change. After a crash an earlier change may be missing, so a name is only taken
    /// from the node that the change is about.
    pub fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Link(name, node) => {
                names.insert(Arc::clone(name), *node);
            }
            NameChange::Move(to, node) => {
                names.retain(|_, holder| holder != node);
                names.insert(Arc::clone(to), *node);
            }
            NameChange::Unlink(name, node) => {
                if names.get(name) == Some(node) {
                    names.remove(name);
                }
            }
        }
    }

    fn node(&self) -> NodeId {
        match self {
            NameChange::Link(_, node) | NameChange::Move(_, node) | NameChange::Unlink(_, node) => {
                *node
            }
        }
    }
}

/// A file. Each pending change has its place in the order of all changes of the disk.
#[derive(Debug, Clone, Default)]
pub struct FileNode {
    /// What a read sees.
    pub current: Arc<Content>,
    /// What is there after a crash that loses everything pending.
    pub durable: Arc<Content>,
    /// What makes `current` of `durable`, unless a sync failed.
    pub pending: Vec<(u64, Change)>,
    /// Whether a failed sync lost changes for good, so that `current` may never become durable.
    pub lossy: bool,
    /// Bytes of disk space that the file holds.
    pub allocated: usize,
    /// Where the durable bytes end that were ever written; behind it are zeros that came with the
    /// length.
    pub written: usize,
}

impl FileNode {
    /// A file with these bytes, all of them durable, and the first so many of them written.
    pub fn durable(content: Arc<Content>, written: usize) -> FileNode {
        FileNode {
            allocated: content.bytes.len(),
            written,
            current: Arc::clone(&content),
            durable: content,
            pending: Vec::new(),
            lossy: false,
        }
    }

    fn change(&mut self, order: u64, change: Change) {
        change.apply(Content::edit(&mut self.current));
        self.allocated = match &change {
            Change::SetLen(len) => self.allocated.min(*len),
            growing => growing.len_after(self.allocated),
        };
        self.pending.push((order, change));
    }

    fn sync(&mut self) {
        let written = |written, (_, change): &(u64, Change)| change.written_after(written);
        self.written = self.pending.iter().fold(self.written, written);
        if self.lossy {
            let durable = Content::edit(&mut self.durable);
            self.pending.iter().for_each(|(_, change)| change.apply(durable));
        } else {
            self.durable = Arc::clone(&self.current);
        }
        self.pending.clear();
    }

    /// The kernel marks the pages clean though they were not written: no later sync writes them.
    /// Lengths are metadata, which another sync does write.
    fn sync_failed(&mut self) {
        for (_, change) in &mut self.pending {
            if let Change::Write(offset, bytes) = change {
                *change = Change::Grow(*offset + bytes.len());
                self.lossy = true;
            }
        }
    }
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The names as everyone sees them.
    pub current: Arc<Names>,
    /// The names after a crash that loses everything pending.
    pub durable: Arc<Names>,
    /// What makes `current` of `durable`. A failed sync leaves it as it is.
    pub pending: Vec<(u64, NameChange)>,
}

impl Directory {
    fn change(&mut self, order: u64, change: NameChange) {
        change.apply(Arc::make_mut(&mut self.current));
        self.pending.push((order, change));
    }
}

/// The whole disk.
#[derive(Debug, Clone)]
pub struct State {
    /// All files.
    pub files: BTreeMap<NodeId, FileNode>,
    /// All directories.
    pub directories: BTreeMap<NodeId, Directory>,
    /// How often each node is open. A file without a name lives as long as it is open.
    pub open: BTreeMap<NodeId, usize>,
    /// What was in the file that was removed last: blocks that a new file may show after a crash.
    pub stale: Arc<Content>,
    next_node: NodeId,
    next_order: u64,
}

impl State {
    /// A disk with an empty root directory.
    pub fn new() -> State {
        State {
            files: BTreeMap::new(),
            directories: BTreeMap::from([(ROOT, Directory::default())]),
            open: BTreeMap::new(),
            stale: Arc::default(),
            next_node: ROOT + 1,
            next_order: 0,
        }
    }

    /// The node that a path names.
    pub fn resolve(&self, path: &Path) -> Option<NodeId> {
        let mut node = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let directory = self.directories.get(&node)?;
                node = *directory.current.get(name.to_str()?)?;
            }
        }
        Some(node)
    }

    /// Makes a change. Answers with the node that was made by a `Create` or `CreateDir`.
    ///
    /// A call on a file that has lost its last name has no effect in a replay: there it may be
    /// gone already, and nobody can see it any more.
    pub fn apply(&mut self, call: &Call) -> NodeId {
        let order = self.next_order;
        let node = self.next_node;
        self.next_order += 1;
        match call {
            Call::Write { file, offset, bytes } => {
                self.change(*file, order, Change::Write(*offset, Arc::clone(bytes)));
            }
            Call::SetLen { file, len } => self.change(*file, order, Change::SetLen(*len)),
            Call::Allocate { file, end } => self.change(*file, order, Change::Grow(*end)),
            Call::Sync { file } => {
                self.files.entry(*file).and_modify(FileNode::sync);
            }
            Call::SyncFailed { file } => {
                self.files.entry(*file).and_modify(FileNode::sync_failed);
            }
            Call::SyncDir { directory } => self.sync_dir(*directory),
            Call::Create { directory, name } => {
                self.files.insert(node, FileNode::default());
                self.link(*directory, order, name, node);
            }
            Call::CreateDir { directory, name } => {
                self.directories.insert(node, Directory::default());
                self.link(*directory, order, name, node);
            }
            Call::Link { directory, name, file } => {
                self.change_names(*directory, order, NameChange::Link(Arc::clone(name), *file));
            }
            Call::Rename { directory, from, to } => {
                let node = self.directories[directory].current[from];
                self.displace(*directory, to);
                let change = NameChange::Move(Arc::clone(to), node);
                self.change_names(*directory, order, change);
            }
            Call::Remove { directory, name } => {
                let node = self.directories[directory].current[name];
                self.displace(*directory, name);
                let change = NameChange::Unlink(Arc::clone(name), node);
                self.change_names(*directory, order, change);
            }
        }
        node
    }

    fn change(&mut self, file: NodeId, order: u64, change: Change) {
        if let Some(file) = self.files.get_mut(&file) {
            file.change(order, change);
        }
    }

    fn link(&mut self, directory: NodeId, order: u64, name: &Arc<str>, node: NodeId) {
        self.next_node += 1;
        self.change_names(directory, order, NameChange::Link(Arc::clone(name), node));
    }

    fn change_names(&mut self, directory: NodeId, order: u64, change: NameChange) {
        if let Some(directory) = self.directories.get_mut(&directory) {
            directory.change(order, change);
        }
    }

    /// Remembers the blocks of a file whose name goes to another one or away.
    fn displace(&mut self, directory: NodeId, name: &str) {
        let node = self.directories[&directory].current.get(name);
        if let Some(file) = node.and_then(|node| self.files.get(node))
            && !file.current.bytes.is_empty()
        {
            self.stale = Arc::clone(&file.current);
        }
    }

    fn sync_dir(&mut self, directory: NodeId) {
        if let Some(directory) = self.directories.get_mut(&directory) {
            directory.durable = Arc::clone(&directory.current);
            directory.pending.clear();
        }
        self.forget_unreachable();
    }

    /// A name of a node, for messages.
    pub fn name_of(&self, node: NodeId) -> String {
        let names = self.directories.values().flat_map(|directory| directory.current.iter());
        let mut found = names.filter(|(_, holder)| **holder == node).map(|(name, _)| &**name);
        found.next().unwrap_or("(removed)").to_owned()
    }

    /// The same with nothing open.
    pub fn at_rest(&self) -> State {
        let mut state = self.clone();
        state.open.clear();
        state.forget_unreachable();
        state
    }

    /// The numbers of all pending changes, in their order.
    pub fn pending(&self) -> Vec<u64> {
        let files = self.files.values().flat_map(|file| file.pending.iter().map(|(at, _)| *at));
        let names = self.directories.values().flat_map(|d| d.pending.iter().map(|(at, _)| *at));
        let mut orders: Vec<u64> = files.chain(names).collect();
        orders.sort_unstable();
        orders
    }

    /// Drops every node that no name, durable or not, can lead to and that nobody has open.
    fn forget_unreachable(&mut self) {
        let mut reachable: BTreeSet<NodeId> = self.open.keys().copied().collect();
        reachable.insert(ROOT);
        for directory in self.directories.values() {
            reachable.extend(directory.current.values());
            reachable.extend(directory.durable.values());
            reachable.extend(directory.pending.iter().map(|(_, change)| change.node()));
        }
        self.files.retain(|node, _| reachable.contains(node));
        self.directories.retain(|node, _| reachable.contains(node));
    }

    /// Puts a file there with these bytes, durable with its name.
    pub fn place(&mut self, directory: NodeId, name: &str, bytes: Vec<u8>) {
        let written = bytes.len();
        let file = FileNode::durable(Content::new(bytes), written);
        let known = self.directories[&directory].current.get(name).copied();
        let node = known.unwrap_or(self.next_node);
        self.next_node = self.next_node.max(node + 1);
        self.files.insert(node, file);
        if let Some(directory) = self.directories.get_mut(&directory) {
            for names in [&mut directory.current, &mut directory.durable] {
                Arc::make_mut(names).insert(Arc::from(name), node);
            }
        }
    }

    /// Gives a file these bytes, durably.
    pub fn set_durably(&mut self, file: NodeId, bytes: Vec<u8>) {
        let written = bytes.len();
        self.files.insert(file, FileNode::durable(Content::new(bytes), written));
    }

    /// Bytes of disk space held by files that have a name or are open.
    pub fn used(&self) -> usize {
        let mut held: BTreeSet<NodeId> = self.open.keys().copied().collect();
        for directory in self.directories.values() {
            held.extend(directory.current.values());
        }
        let files = self.files.iter().filter(|(node, _)| held.contains(node));
        files.map(|(_, file)| file.allocated).sum()
    }

    /// A hash of everything that can be seen now or after a crash: two states with the same
    /// fingerprint are, for all purposes of a test, the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0;
        for (node, directory) in &self.directories {
            for names in [&directory.current, &directory.durable] {
                for (name, target) in names.iter() {
                    hash = hash_bytes(mix(hash ^ *node as u64), name.as_bytes());
                    hash = mix(hash ^ self.files.get(target).map_or(0, |f| f.current.hash()));
                    hash = mix(hash ^ self.files.get(target).map_or(0, |f| f.durable.hash()));
                }
            }
        }
        self.pending().iter().fold(hash, |hash, order| mix(hash ^ order))
    }
}

/// A hash of bytes, good enough to tell states and values apart.
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed ^ bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    for byte in words.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mix(hash)
}

/// The finaliser of SplitMix64: every bit of the answer depends on every bit of the argument.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Numbers that look random and follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(mix(seed))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
