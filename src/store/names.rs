//! Every file name of a data directory is formatted and parsed here, and nowhere else.

use std::fmt;

/// The file that says which segments are alive.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// The next manifest, before it takes the place of the last one.
pub(crate) const MANIFEST_NEW: &str = "MANIFEST.new";
/// The file whose lock makes one process the owner.
pub(crate) const LOCK: &str = "LOCK";
/// The file that names the engine to which the directory belongs.
pub(crate) const ENGINE: &str = "ENGINE";
/// The same, before it has its name.
pub(crate) const ENGINE_NEW: &str = "ENGINE.new";
/// The reserve that is given up when the disk is full.
pub(crate) const BALLAST: &str = "BALLAST";
/// The file that says that a directory is a backup.
pub(crate) const BACKUP: &str = "BACKUP";
/// A file of a backup, before it has its name.
pub(crate) const BACKUP_NEW: &str = "BACKUP.new";
/// What a file of a backup is called that waits for its name begins with this.
const BACKUP_LATE: &str = "BACKUP.";
/// Two files that each database of sled has.
pub(crate) const SLED_CONF: &str = "conf";
pub(crate) const SLED_DB: &str = "db";
/// The directory of what was cut off the log.
pub(crate) const QUARANTINE: &str = "quarantine";

/// The number of a segment on disk: never given twice in the life of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// What a name in a data directory stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(SegmentId),
    Hint(SegmentId),
    /// A file that was to replace another.
    New,
    Other,
}

pub(crate) fn segment(id: SegmentId) -> String {
    format!("{id}.seg")
}

pub(crate) fn hint(id: SegmentId) -> String {
    format!("{id}.hint")
}

/// The name of a segment in a backup as long as another file has its own.
pub(crate) fn late_segment(id: SegmentId) -> String {
    format!("{BACKUP_LATE}{id}")
}

/// The name, inside the quarantine, of what was cut off a segment at an offset.
pub(crate) fn quarantined(id: SegmentId, offset: u64) -> String {
    format!("{id}.seg.{offset}")
}

/// Tells what a name stands for. Only names that this file formats are segments or hints.
pub(crate) fn parse(name: &str) -> Name {
    // Two names must never stand for one segment: "00000000001" is not what 1 is formatted as.
    let id = |stem: &str| {
        stem.parse().ok().map(SegmentId).filter(|id: &SegmentId| id.to_string() == stem)
    };
    let is_late = name.strip_prefix(BACKUP_LATE).and_then(id).is_some();
    if is_late || [MANIFEST_NEW, ENGINE_NEW, BACKUP_NEW].contains(&name) {
        return Name::New;
    }
    if let Some(id) = name.strip_suffix(".seg").and_then(id) {
        return Name::Segment(id);
    }
    if let Some(id) = name.strip_suffix(".hint").and_then(id) {
        return Name::Hint(id);
    }
    Name::Other
}

/// Whether a file holds data of the store; what says whose the directory is, and who has it open,
/// does not.
#[cfg(feature = "sled")]
pub(crate) fn is_of_kvs(name: &str) -> bool {
    [MANIFEST, BALLAST].contains(&name) || parse(name) != Name::Other
}

/// Whether a file or directory is one that sled makes.
#[cfg(feature = "sled")]
pub(crate) fn is_of_sled(name: &str) -> bool {
    let is_snapshot = |rest: &str| {
        let number = rest.strip_suffix(".generating").unwrap_or(rest);
        number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    [SLED_CONF, SLED_DB, "blobs"].contains(&name)
        || name.strip_prefix("snap.").is_some_and(is_snapshot)
}

#[cfg(test)]
mod tests {
    use super::{Name, SegmentId, hint, late_segment, parse, segment};

    #[test]
    fn names_are_parsed_as_they_are_formatted() {
        for id in [SegmentId(1), SegmentId(9_999_999_999), SegmentId(u64::MAX)] {
            assert_eq!(parse(&segment(id)), Name::Segment(id));
            assert_eq!(parse(&hint(id)), Name::Hint(id));
            assert_eq!(parse(&late_segment(id)), Name::New);
        }
        let others = [
            "1.seg",
            "000000000a.seg",
            "0000000001.segx",
            "+000000001.seg",
            ".hint",
            "00000000001.seg",
            "00000000001.hint",
            "18446744073709551616.seg",
        ];
        for other in others {
            assert_eq!(parse(other), Name::Other, "{other}");
        }
    }
}
