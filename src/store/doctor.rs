//! What is wrong with a directory or with the machine under it, and what to do about it.
//!
//! Each check is a function of what was found, and ends in a sentence. Nothing is written. While a
//! process has the store open, its files change all the time: what they hold is not looked at then.

use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::clock_floor::clock_floor_ms;
use super::damage::Damage;
use super::disk::{Access, Disk};
use super::machine::{FileSystem, Holder, Machine, holder_of};
use super::manifest::{Manifest, State};
use super::names::{self, Name, SegmentId};
use super::real_disk::{RealClock, RealDisk};
use super::recovery::{holds_store, leftovers};
use super::segment::Shelf;
use super::survey::{Survey, quarantined, survey};
use super::verify::{Progress, VerifyReport, verify_unlocked};
use crate::error::{KvsError, Result};
use crate::options::Options;

/// A clock floor that is further ahead of the wall clock is told.
const AHEAD_MAX_MS: u64 = 60 * 1000;
/// What a process needs beside its segments: descriptors for compaction, connections and the rest.
const DESCRIPTORS: u64 = 64;
/// The same for mappings: memory, libraries, threads.
const MAPPINGS: u64 = 1024;

/// How a check came out.
///
/// ```
/// use kvs::Verdict;
/// assert!(Verdict::Ok < Verdict::Warning && Verdict::Warning < Verdict::Problem);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; the store works.
    Warning,
    /// Something does not work, or will not for long.
    Problem,
}

/// What a check of [`doctor`] has found.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// for finding in kvs::doctor(dir.path(), false, &mut |_| ())? {
///     println!("{:?} {}: {} {:?}", finding.verdict, finding.check, finding.found, finding.advice);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was checked, in a word or two.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do, if anything.
    pub advice: Option<&'static str>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warning(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<Option<&'static str>>,
    ) -> Finding {
        let (found, advice) = (found.into(), advice.into());
        Finding { check, verdict: Verdict::Warning, found, advice }
    }

    fn problem(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<Option<&'static str>>,
    ) -> Finding {
        Finding { verdict: Verdict::Problem, ..Finding::warning(check, found, advice) }
    }
}

/// Checks a directory and the machine under it, and says what to do.
///
/// Looks at the manifest, the headers and lengths of all files, and at the hints; with `deep`, at
/// every record, as [`verify`](crate::verify) does, which calls `progress` now and then. Takes as
/// much memory as an open of the store. The limits are those of this process. Changes nothing, and
/// needs no right to write. Nobody can open the store meanwhile; while somebody has it open, what
/// is in it is not looked at.
///
/// # Errors
/// [`KvsError::Io`] if the directory cannot be listed. Everything else that is wrong is a finding.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// let findings = kvs::doctor(dir.path(), true, &mut |_| ())?;
/// assert!(findings.iter().any(|it| it.check == "damage" && it.verdict == kvs::Verdict::Ok));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn doctor(
    directory: &Path,
    deep: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Finding>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let machine = Machine::under(directory);
    // Before anything is read: from here on nobody comes to change it.
    let (owner, holder) = check_owner(holder_of(&directory.join(names::LOCK)));
    let (store, manifest) = check_store(&*disk, directory)?;
    let mut findings = vec![store];
    if let Some(manifest) = &manifest {
        findings.push(owner);
        let now_ms = RealClock.wall_ms();
        findings.push(check_clock(clock_floor_ms(&disk, directory), now_ms));
        let mut surveyed = None;
        if !matches!(holder, Some(Holder::Process(_))) {
            let records = deep.then(|| verify_unlocked(Arc::clone(&disk), directory, progress));
            let found = survey(&disk, directory, manifest, now_ms);
            surveyed = check_contents(found, records.transpose(), &mut findings);
            findings.push(check_leftovers(&disk, directory, manifest)?);
        } else if deep {
            let found = "not looked for, as the store is in use";
            findings.push(Finding::problem("damage", found, "stop that process first"));
        }
        findings.push(check_quarantine(quarantined(&*disk, directory)));
        findings.push(check_space(&machine, segment_bytes(manifest, surveyed.as_ref())));
        findings.push(check_ballast(&*disk, directory));
        let segments = manifest.segments.len() as u64;
        findings.push(check_descriptors(&machine, segments));
        findings.push(check_mappings(&machine, segments));
    }
    findings.push(check_file_system(&machine));
    Ok(findings)
}

/// Whether there is a store, and its manifest if that can be read.
fn check_store(disk: &dyn Disk, directory: &Path) -> Result<(Finding, Option<Manifest>)> {
    let read = holds_store(disk, directory).and_then(|holds| {
        let path = directory.join(names::MANIFEST);
        let read = if holds { Manifest::read(disk, &path)? } else { None };
        read.ok_or_else(|| KvsError::NotAStore { path: directory.to_owned() })
    });
    match read {
        Ok((version, manifest)) => {
            let segments = count(manifest.segments.len() as u64, "segment");
            let found = format!("engine kvs, format version {version}, {segments}");
            Ok((Finding::ok("store", found), Some(manifest)))
        }
        Err(error @ KvsError::Io { action: "list", .. }) => Err(error),
        Err(error) => Ok((Finding::problem("store", error.to_string(), remedy(&error)), None)),
    }
}

/// What to do about an error.
fn remedy(error: &KvsError) -> Option<&'static str> {
    match error {
        KvsError::NotAStore { .. } => Some("give its directory with --dir"),
        // The sentence says it already.
        KvsError::ManifestMissing { .. } => None,
        KvsError::Corrupt { .. } => Some("`kvs salvage` copies what can be read into a new store"),
        KvsError::UnsupportedVersion { .. } => Some("use the kvs that wrote it, or a newer one"),
        KvsError::WrongEngine { .. } => Some("use the program that it belongs to"),
        _ => Some("look at the rights of the file, and at the disk"),
    }
}

/// What is in the segments; none if that cannot be found out.
fn check_contents(
    found: Result<Survey>,
    records: Result<Option<VerifyReport>>,
    findings: &mut Vec<Finding>,
) -> Option<Survey> {
    match found.and_then(|found| Ok((found, records?))) {
        Ok((found, records)) => {
            findings.push(check_damage(&found, records.map(|report| report.damage)));
            findings.push(check_garbage(&found));
            findings.push(check_hints(&found));
            Some(found)
        }
        Err(error) => {
            findings.push(Finding::problem("damage", error.to_string(), remedy(&error)));
            None
        }
    }
}

fn check_owner(holder: std::io::Result<Holder>) -> (Finding, Option<Holder>) {
    let finding = match &holder {
        Ok(Holder::Nobody { .. }) => Finding::ok("owner", "nobody has the store open"),
        Ok(Holder::Process(id)) => {
            let who = id.map_or("another process".to_owned(), |id| format!("process {id}"));
            let advice = "stop it to have damage, leftovers, garbage and hints checked too";
            let found = format!("{who} has the store open");
            Finding { advice: Some(advice), ..Finding::ok("owner", found) }
        }
        Err(error) => {
            let found = format!("whether anybody has the store open cannot be told: {error}");
            let advice = "make sure that nobody has: what changes meanwhile may look damaged";
            Finding::warning("owner", found, advice)
        }
    };
    (finding, holder.ok())
}

fn check_clock(floor_ms: Result<u64>, now_ms: u64) -> Finding {
    let floor_ms = match floor_ms {
        Ok(floor_ms) => floor_ms,
        Err(error) => return Finding::warning("clock", format!("not known: {error}"), None),
    };
    let ahead_ms = floor_ms.saturating_sub(now_ms);
    if ahead_ms > AHEAD_MAX_MS {
        let found = format!(
            "the store takes it to be {} later than the machine does: keys expire early",
            span(ahead_ms)
        );
        let advice = "if the clock of the machine is right, `kvs doctor --reset-clock`";
        return Finding::problem("clock", found, advice);
    }
    Finding::ok("clock", if floor_ms == 0 { "nothing expires" } else { "not ahead of the machine" })
}

/// With the damage of all records, if those were read.
fn check_damage(survey: &Survey, records: Option<Vec<Damage>>) -> Finding {
    let ok = match records {
        Some(_) => "none",
        None => "none in the manifest, headers and lengths; --deep reads all records",
    };
    let found = records.as_ref().unwrap_or(&survey.damage);
    let Some(first) = found.first() else {
        return Finding::ok("damage", ok);
    };
    let places = count(found.len() as u64, "place");
    let Damage { path, offset, reason, .. } = first;
    let found = format!("{places}, first {} at offset {offset}: {reason}", path.display());
    let advice = "`kvs verify` lists all; `kvs salvage` copies what can be read into a new store";
    Finding::problem("damage", found, advice)
}

fn check_leftovers(disk: &Arc<dyn Disk>, directory: &Path, manifest: &Manifest) -> Result<Finding> {
    let shelf = Shelf::new(Arc::clone(disk), directory, manifest.store_id, &Options::new());
    let ours = leftovers(&shelf, manifest)?;
    let is_named = |id: SegmentId| manifest.segments.iter().any(|named| named.id() == id);
    let list = disk.list(directory).map_err(|error| KvsError::io("list", directory, error))?;
    let is_other = |name: &&String| {
        matches!(names::parse(name), Name::Segment(id) if !is_named(id)) && !ours.contains(name)
    };
    let others = list.iter().filter(is_other).count();
    let found = |number: usize, noun| count(number as u64, noun);
    Ok(match (ours.len(), others) {
        (0, 0) => Finding::ok("leftovers", "none"),
        (ours, 0) => {
            let found = format!("{} that no manifest names", found(ours, "file"));
            Finding::warning("leftovers", found, "not needed: the next open removes them")
        }
        (_, others) => {
            let found = format!("{} not of this store", found(others, "segment"));
            Finding::warning("leftovers", found, "move them to where they belong, or delete them")
        }
    })
}

fn check_garbage(survey: &Survey) -> Finding {
    let situation = &survey.situation;
    let (total, live) = (situation.total_bytes, situation.live_bytes);
    let percent = total.saturating_sub(live).saturating_mul(100) / total.max(1);
    let mut found = format!("{} in segments, {percent} % of it not alive", size(total));
    if live > 0 {
        found.push_str(&format!(", {:.2} x live", total as f64 / live as f64));
    }
    if total > situation.bound() {
        return Finding::warning("garbage", found, "`kvs compact` gives the space back");
    }
    Finding::ok("garbage", found)
}

fn check_hints(survey: &Survey) -> Finding {
    let sealed = survey.situation.segments.iter().filter(|facts| facts.is_eligible).count();
    if survey.unhinted == 0 {
        let found = format!("all there, for {}", count(sealed as u64, "sealed segment"));
        return Finding::ok("hints", found);
    }
    let found =
        format!("{} of {sealed} are missing: an open reads those segments", survey.unhinted);
    Finding::warning("hints", found, "the next command that opens the store writes them")
}

fn check_quarantine((files, bytes): (usize, u64)) -> Finding {
    if files == 0 {
        return Finding::ok("quarantine", "empty");
    }
    let found = format!(
        "{}, {}: ends of the log that a crash left unfinished, never durable",
        count(files as u64, "file"),
        size(bytes)
    );
    let advice = "look with `hexdump -C quarantine/*`; they are not needed and may be deleted";
    Finding::warning("quarantine", found, advice)
}

/// The size of a segment, by what is known.
fn segment_bytes(manifest: &Manifest, survey: Option<&Survey>) -> u64 {
    let sealed = manifest.segments.iter().map(|named| match named.state {
        State::Sealed { len } => len,
        State::Open { .. } => 0,
    });
    let least = sealed.max().unwrap_or_default().max(1 << 20);
    survey.map_or(least, |survey| survey.situation.segment_bytes.max(least))
}

fn check_space(machine: &Machine, segment_bytes: u64) -> Finding {
    let Some(free) = machine.free_bytes else {
        return Finding::warning("free space", "not known", None);
    };
    let needed = segment_bytes.saturating_mul(2);
    let found = format!("{}; compaction needs up to {}", size(free), size(needed));
    match free {
        free if free < needed => {
            Finding::problem("free space", found, "make room, or move the store to a larger disk")
        }
        free if free < needed.saturating_mul(4) => {
            Finding::warning("free space", found, "make room before it runs out")
        }
        _ => Finding::ok("free space", found),
    }
}

fn check_ballast(disk: &dyn Disk, directory: &Path) -> Finding {
    match disk.open(&directory.join(names::BALLAST), Access::Read).and_then(|file| file.len()) {
        Ok(bytes) => Finding::ok("ballast", format!("{} held back for a full disk", size(bytes))),
        Err(_) => {
            let found = "not there: on a full disk, removes and compaction fail too";
            let advice = "unless it was turned off, the next open makes it if there is room";
            Finding::warning("ballast", found, advice)
        }
    }
}

fn check_descriptors(machine: &Machine, segments: u64) -> Finding {
    let advice = "raise the limit (`ulimit -n`), or choose larger segments";
    check_limit("descriptors", machine.descriptors, segments, (DESCRIPTORS, advice))
}

fn check_mappings(machine: &Machine, segments: u64) -> Finding {
    let advice = "raise vm.max_map_count (`sysctl`), or choose larger segments";
    check_limit("mappings", machine.mappings, segments, (MAPPINGS, advice))
}

/// Each segment takes one; beside them, so many are needed.
fn check_limit(
    check: &'static str,
    limit: Option<u64>,
    segments: u64,
    (beside, advice): (u64, &'static str),
) -> Finding {
    let Some(limit) = limit else {
        return Finding::ok(check, "no limit is known");
    };
    let found = format!("at most {limit}; one for each segment makes {segments}");
    if limit < segments + beside {
        return Finding::problem(check, found, advice);
    }
    // The store may grow, and a server wants some for its clients.
    if limit < 2 * segments + beside {
        return Finding::warning(check, found, advice);
    }
    Finding::ok(check, found)
}

fn check_file_system(machine: &Machine) -> Finding {
    let check = "file system";
    match machine.file_system {
        None => Finding::warning(check, "not known", None),
        Some(FileSystem::Local(name)) => Finding::ok(check, name),
        Some(FileSystem::Network(name)) => Finding::problem(
            check,
            format!("{name}: over a network, neither locks nor syncs can be relied on"),
            "move the store to a disk of this machine",
        ),
        Some(FileSystem::Memory(name)) => Finding::warning(
            check,
            format!("{name}: in memory, nothing is durable"),
            "move the store to a disk if it is to outlive the machine",
        ),
        Some(FileSystem::Overlay) => Finding::warning(
            check,
            "overlayfs: what is in a container is gone with it",
            "put the store on a volume",
        ),
        Some(FileSystem::Fuse) => Finding::warning(
            check,
            "FUSE: syncs are worth what the process behind it makes of them",
            "make sure that it passes them on, or move the store to a disk",
        ),
        Some(FileSystem::Other(number)) => {
            Finding::ok(check, format!("one that is not known here, number {number:#x}"))
        }
    }
}

/// So many of something.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Bytes, for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// A time, for people.
fn span(ms: u64) -> String {
    match ms / 60_000 {
        minutes @ 0..120 => count(minutes, "minute"),
        minutes @ 120..2880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        FileSystem, Finding, Holder, KvsError, Machine, Verdict, check_clock, check_descriptors,
        check_file_system, check_mappings, check_owner, check_quarantine, check_space, size, span,
    };

    #[track_caller]
    fn is(verdict: Verdict, finding: &Finding) {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(verdict == Verdict::Ok || finding.advice.is_some(), "{finding:?}");
    }

    #[test]
    fn a_floor_that_is_ahead_is_a_problem() {
        for (floor_ms, verdict) in [
            (0, Verdict::Ok),
            (1_000_000, Verdict::Ok),
            (1_060_000, Verdict::Ok),
            (1_060_001, Verdict::Problem),
            (u64::MAX, Verdict::Problem),
        ] {
            is(verdict, &check_clock(Ok(floor_ms), 1_000_000));
        }
        assert_eq!(check_clock(Err(KvsError::Closed), 0).verdict, Verdict::Warning);
        let spans = [(61_000, "1 minute"), (7_200_000, "2 hours"), (864_000_000, "10 days")];
        assert!(spans.into_iter().all(|(ms, text)| span(ms) == text));
    }

    #[test]
    fn each_file_system_has_its_verdict() {
        for (file_system, verdict) in [
            (FileSystem::Local("ext"), Verdict::Ok),
            (FileSystem::Other(5), Verdict::Ok),
            (FileSystem::Memory("tmpfs"), Verdict::Warning),
            (FileSystem::Overlay, Verdict::Warning),
            (FileSystem::Fuse, Verdict::Warning),
            (FileSystem::Network("NFS"), Verdict::Problem),
        ] {
            let machine = Machine { file_system: Some(file_system), ..Machine::default() };
            is(verdict, &check_file_system(&machine));
        }
        assert_eq!(check_file_system(&Machine::default()).verdict, Verdict::Warning);
    }

    #[test]
    fn limits_are_compared_with_the_segments() {
        let machine = Machine {
            descriptors: Some(1024),
            mappings: Some(65_530),
            free_bytes: Some(100 << 20),
            file_system: None,
        };
        let descriptors = |segments| check_descriptors(&machine, segments);
        is(Verdict::Ok, &descriptors(480));
        is(Verdict::Warning, &descriptors(481));
        is(Verdict::Warning, &descriptors(960));
        is(Verdict::Problem, &descriptors(961));
        is(Verdict::Ok, &check_mappings(&machine, 961));
        is(Verdict::Problem, &check_mappings(&machine, 65_000));
        is(Verdict::Ok, &check_mappings(&Machine::default(), 65_000));
        is(Verdict::Ok, &check_space(&machine, 12 << 20));
        is(Verdict::Warning, &check_space(&machine, 13 << 20));
        is(Verdict::Problem, &check_space(&machine, 51 << 20));
        is(Verdict::Problem, &check_space(&machine, u64::MAX));
    }

    #[test]
    fn owners_and_the_quarantine() {
        is(Verdict::Ok, &check_owner(Ok(Holder::Nobody { _guard: None })).0);
        let (held, _) = check_owner(Ok(Holder::Process(Some(7))));
        assert_eq!(held.found, "process 7 has the store open");
        is(Verdict::Ok, &held);
        is(Verdict::Warning, &check_owner(Err(std::io::ErrorKind::PermissionDenied.into())).0);
        is(Verdict::Ok, &check_quarantine((0, 0)));
        let found = check_quarantine((2, 3 << 20));
        is(Verdict::Warning, &found);
        assert!(found.found.starts_with("2 files, 3.0 MiB: "), "{found:?}");
        let sizes = [(1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")];
        assert!(sizes.into_iter().all(|(bytes, text)| size(bytes) == text));
    }
}
