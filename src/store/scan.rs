//! The records of one segment in the order in which they lie. It reports and never repairs.
//!
//! A batch is handed out only after all of it was found valid: its records are there, are as many
//! as it says and carry its seq. Where the first record or batch is not wholly valid, the scan
//! ends; what that means is for recovery to say.

use std::path::Path;

use super::disk::{DiskFile, read_full_at};
use super::record::{self, ALIGN, HEAD, Invalid, MARK_BYTES, Record, Salt};
use super::segment::HEADER_BYTES;
use crate::error::{KvsError, Result};

/// What is read at once.
const CHUNK: usize = 128 << 10;

/// Reads a segment from its header to `limit`.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    salt: Salt,
    /// Bytes of the file from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    /// Where the next record begins, and where the file ends for this scan.
    offset: u64,
    limit: u64,
    durable_upto: u64,
    sealed: bool,
    ended: Option<Invalid>,
}

/// A valid record.
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(crate) record: Record<'a>,
    /// Its length on disk, padding included.
    pub(crate) disk_len: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, path: &'a Path, salt: Salt, limit: u64) -> Scan<'a> {
        Scan {
            file,
            path,
            salt,
            window: Vec::new(),
            window_start: 0,
            offset: HEADER_BYTES as u64,
            limit,
            durable_upto: 0,
            sealed: false,
            ended: None,
        }
    }

    /// Begins at an offset at which a record or a batch does.
    pub(crate) fn starting_at(self, offset: u64) -> Scan<'a> {
        Scan { offset, ..self }
    }

    /// The next record. None: there is no further valid one, see `offset`, `sealed`, `invalid`.
    pub(crate) fn next(&mut self) -> Result<Option<Found<'_>>> {
        if self.ended.is_some() || self.sealed {
            return Ok(None);
        }
        let offset = self.offset;
        match self.check(offset)? {
            Err(invalid) => {
                self.ended = Some(invalid);
                Ok(None)
            }
            Ok(disk_len) => {
                self.offset = offset + disk_len as u64;
                // Decoded a second time, because the first borrow could not be handed out.
                let record = record::Unverified::new(self.at(offset));
                let record = record.and_then(|unverified| unverified.decode());
                let record = record.map_err(|invalid| self.corrupt(offset, invalid))?;
                Ok(Some(Found { offset, record, disk_len }))
            }
        }
    }

    /// Shows the keys of the next records, `count` at most, that have been read from the file
    /// already, and says where they end. They are not verified: for guesses only.
    pub(crate) fn ahead(&self, count: usize, mut show: impl FnMut(&[u8])) -> u64 {
        let mut offset = self.offset;
        for _ in 0..count {
            let Ok(unverified) = record::Unverified::new(self.at(offset)) else {
                break;
            };
            let Ok(record) = unverified.decode() else {
                break;
            };
            if let Record::Set { key, .. } | Record::Remove { key, .. } = record {
                show(key);
            }
            offset += unverified.disk_len() as u64;
        }
        offset
    }

    /// Goes on behind what ended the scan, at the next valid record. False: there is none.
    /// For those who report damage; recovery never looks behind it.
    pub(crate) fn skip_damage(&mut self) -> Result<bool> {
        self.sealed = false;
        while self.offset < self.limit {
            self.offset += ALIGN as u64;
            if !self.is_plausible(self.offset)? {
                continue;
            }
            // A batch that is not whole may still hold valid records.
            let found = self.verified(self.offset)?.map(|(record, _)| record);
            if found.is_ok_and(|record| !matches!(record, Record::Batch { .. })) {
                self.ended = None;
                return Ok(true);
            }
        }
        self.offset = self.limit;
        Ok(false)
    }

    /// Whether the bytes at `offset` can be decoded as a record: asked before the checksum, which
    /// would take far too long if it were tried over every length that random bytes state.
    fn is_plausible(&mut self, offset: u64) -> Result<bool> {
        self.fetch(offset, HEAD)?;
        let left = self.limit.saturating_sub(offset);
        let len = record::stated_len(self.at(offset)).filter(|len| *len as u64 <= left);
        let Some(len) = len else {
            return Ok(false);
        };
        self.fetch(offset, len)?;
        let unverified = record::Unverified::new(self.at(offset));
        Ok(unverified.is_ok_and(|unverified| unverified.decode().is_ok()))
    }

    /// Where the scan stands: after its end, the first byte that is not a valid record.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a seal was found.
    pub(crate) fn sealed(&self) -> bool {
        self.sealed
    }

    /// Why the scan ended where it did, if it should not have.
    pub(crate) fn reason(&self) -> &'static str {
        self.ended.map_or("the seal is not at its end", Invalid::reason)
    }

    /// The highest offset that a mark says was durable.
    pub(crate) fn durable_upto(&self) -> u64 {
        self.durable_upto
    }

    fn corrupt(&self, offset: u64, invalid: Invalid) -> KvsError {
        let reason = invalid.reason();
        KvsError::Corrupt { path: self.path.to_owned(), segment: None, offset, reason }
    }

    /// Verifies the record or the whole batch at `offset`, gives the length of the record, and
    /// takes notice of batches, marks and seals.
    fn check(&mut self, offset: u64) -> Result<std::result::Result<usize, Invalid>> {
        let (mut batch, mut durable_upto, mut sealed) = (None, 0, false);
        let len = match self.verified(offset)? {
            Err(invalid) => return Ok(Err(invalid)),
            Ok((record, len)) => {
                match record {
                    Record::Batch { seq, count, bytes } => batch = Some((seq, count, bytes)),
                    Record::Mark { durable_upto: upto, .. } => {
                        durable_upto = u64::from_le_bytes(upto);
                    }
                    Record::Seal { .. } => sealed = true,
                    Record::Set { .. } | Record::Remove { .. } => {}
                }
                len
            }
        };
        if let Some((seq, count, bytes)) = batch
            && !kvs_bug!("batch_without_end")
            && let Err(invalid) = self.check_batch(offset + len as u64, seq, count, bytes)?
        {
            return Ok(Err(invalid));
        }
        self.durable_upto = self.durable_upto.max(durable_upto);
        self.sealed |= sealed;
        Ok(Ok(len))
    }

    /// Verifies the record at `offset`, fetching what is needed of it.
    fn verified(
        &mut self,
        offset: u64,
    ) -> Result<std::result::Result<(Record<'_>, usize), Invalid>> {
        self.fetch(offset, HEAD)?;
        let Some(len) = record::stated_len(self.at(offset)) else {
            return Ok(Err(Invalid::Length));
        };
        // With its padding: the next record begins behind it.
        if record::padded(len) as u64 > self.limit.saturating_sub(offset) {
            return Ok(Err(Invalid::Length));
        }
        self.fetch(offset, len)?;
        Ok(record::read(self.at(offset), self.salt, offset))
    }

    fn check_batch(
        &mut self,
        start: u64,
        batch_seq: u64,
        count: u64,
        bytes: u64,
    ) -> Result<std::result::Result<(), Invalid>> {
        let end = start.saturating_add(bytes);
        if end > self.limit {
            return Ok(Err(Invalid::Length));
        }
        // The records of a batch are gone over twice: here, and one by one afterwards.
        let (mut at, mut found) = (start, 0);
        while at < end {
            match self.verified(at)? {
                Ok((Record::Set { seq, .. } | Record::Remove { seq, .. }, len))
                    if seq == batch_seq =>
                {
                    at += len as u64;
                }
                Ok(_) => return Ok(Err(Invalid::Encoding)),
                Err(invalid) => return Ok(Err(invalid)),
            }
            found += 1;
        }
        if at != end || found != count {
            return Ok(Err(Invalid::Encoding));
        }
        Ok(Ok(()))
    }

    fn at(&self, offset: u64) -> &[u8] {
        let from = usize::try_from(offset - self.window_start).unwrap_or(usize::MAX);
        self.window.get(from..).unwrap_or_default()
    }

    /// Makes the window hold `len` bytes from `offset`, as far as the file has them. The window
    /// keeps what lies between the scan's own offset and there: a batch is gone over twice.
    fn fetch(&mut self, offset: u64, len: usize) -> Result<()> {
        let end = offset.saturating_add(len as u64).min(self.limit);
        let window_end = self.window_start + self.window.len() as u64;
        if offset >= self.window_start && end <= window_end {
            return Ok(());
        }
        // A scan does not go back.
        let passed = usize::try_from(self.offset - self.window_start).unwrap_or(usize::MAX);
        self.window.drain(..passed.min(self.window.len()));
        self.window_start = self.offset;
        let have = self.window.len();
        let from = self.window_start + have as u64;
        let wanted =
            (end.saturating_sub(from)).max(CHUNK as u64).min(self.limit.saturating_sub(from));
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        if self.window.try_reserve(wanted).is_err() {
            return Err(KvsError::OutOfMemory { bytes: wanted });
        }
        self.window.resize(have + wanted, 0);
        let rest = self.window.get_mut(have..).unwrap_or_default();
        let read = read_full_at(self.file, rest, from);
        let read = read.map_err(|error| KvsError::io("read", self.path, error))?;
        self.window.truncate(have + read);
        Ok(())
    }
}

/// Whether a segment holds any record. Only one segment ever has bytes that are not durable, so one
/// that does proves that the one before it in the log was whole.
pub(crate) fn holds_records(
    file: &dyn DiskFile,
    path: &Path,
    salt: Salt,
    limit: u64,
) -> Result<bool> {
    let mut scan = Scan::new(file, path, salt, limit);
    // The first ones may be damaged, or lost with the power where later ones are not.
    Ok(scan.next()?.is_some() || scan.skip_damage()?)
}

/// What lies behind the last valid record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// The highest offset that a mark found there says was durable; 0: no mark.
    pub(crate) durable_upto: u64,
    /// Where the last byte that is not zero ends; equal to the start if there is none.
    pub(crate) last_nonzero_end: u64,
}

/// Looks at every 8-byte position from `start` to `limit` for a mark, and for nothing else: other
/// records there prove nothing.
pub(crate) fn beyond(
    file: &dyn DiskFile,
    path: &Path,
    salt: Salt,
    start: u64,
    limit: u64,
) -> Result<Beyond> {
    let mut beyond = Beyond { durable_upto: 0, last_nonzero_end: start };
    let mut chunk = vec![0; CHUNK + MARK_BYTES];
    let mut base = start;
    while base < limit {
        let read = read_full_at(file, &mut chunk, base);
        let read = read.map_err(|error| KvsError::io("read", path, error))?;
        let read = read.min(usize::try_from(limit - base).unwrap_or(usize::MAX));
        let bytes = chunk.get(..read).unwrap_or_default();
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            beyond.last_nonzero_end = base + last as u64 + 1;
            for at in (0..last).step_by(ALIGN) {
                let place = bytes.get(at..).unwrap_or_default();
                beyond.durable_upto =
                    beyond.durable_upto.max(mark_at(place, salt, base + at as u64));
            }
        }
        if read <= MARK_BYTES {
            break;
        }
        // The last mark's length is looked at again: a mark may straddle two chunks.
        base += read.saturating_sub(MARK_BYTES).next_multiple_of(ALIGN) as u64;
    }
    Ok(beyond)
}

fn mark_at(bytes: &[u8], salt: Salt, offset: u64) -> u64 {
    if record::stated_len(bytes).is_none_or(|len| record::padded(len) != MARK_BYTES) {
        return 0;
    }
    match record::read(bytes, salt, offset) {
        Ok((Record::Mark { durable_upto, .. }, _)) => u64::from_le_bytes(durable_upto),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::clock::NEVER;
    use super::super::disk::{Access, Disk, DiskFile, write_all_at};
    use super::super::sim_disk::SimDisk;
    use super::{ALIGN, Beyond, CHUNK, HEADER_BYTES, Path, Record, Salt, Scan, beyond, record};

    const SALT: Salt = Salt(7);

    /// A segment with these records, and where each of them begins.
    fn segment(records: &[Record<'_>]) -> (Arc<dyn DiskFile>, Vec<u64>) {
        let mut bytes = vec![0; HEADER_BYTES];
        let mut starts = Vec::new();
        for record in records {
            let start = bytes.len();
            record::encode(&mut bytes, record);
            record::stamp(&mut bytes[start..], SALT, start as u64);
            starts.push(start as u64);
        }
        let file = SimDisk::new().open(Path::new("/segment"), Access::Create).unwrap();
        write_all_at(&*file, &bytes, 0).unwrap();
        (file, starts)
    }

    fn scan(file: &dyn DiskFile) -> Scan<'_> {
        Scan::new(file, Path::new("/segment"), SALT, file.len().unwrap())
    }

    #[test]
    fn a_scan_says_why_it_has_ended() {
        let remove = Record::Remove { seq: 1, key: b"a" };
        let (_, starts) = segment(&[remove, remove]);
        let stamped = |record, change: fn(&mut [u8])| {
            let mut bytes = Vec::new();
            record::encode(&mut bytes, &record);
            change(&mut bytes);
            record::stamp(&mut bytes, SALT, starts[1]);
            bytes
        };
        let seal = stamped(Record::Seal { records: 1, min_seq: 1, max_seq: 1 }, |_| ());
        let nonsense = stamped(remove, |bytes| bytes[record::HEAD] = 0xff);
        for (at, damage, reason) in [
            (0, &seal[..], "the seal is not at its end"),
            (4, &[0; 4], "no record with a valid length"),
            (0, b"xxxx", "the checksum does not match"),
            (0, &nonsense, "the checksum matches, but the record cannot be decoded"),
        ] {
            let (file, _) = segment(&[remove, remove, remove, remove]);
            write_all_at(&*file, damage, starts[1] + at).unwrap();
            let mut scan = scan(&*file);
            while scan.next().unwrap().is_some() {}
            assert_eq!(scan.reason(), reason);
        }
    }

    /// Also one that lies in two chunks, and none behind the limit.
    #[test]
    fn a_mark_is_found_wherever_it_lies_before_the_limit() {
        let path = Path::new("/segment");
        let mark_at = |offset: usize| {
            let mut mark = Vec::new();
            record::encode(&mut mark, &Record::mark(7, 0));
            record::stamp(&mut mark, SALT, offset as u64);
            mark
        };
        let len = mark_at(0).len();
        let start = HEADER_BYTES as u64;
        for boundary in [CHUNK, 2 * CHUNK, 3 * CHUNK] {
            for offset in (boundary - 2 * len..boundary + 3 * len).step_by(ALIGN) {
                let mut bytes = vec![0; 4 * CHUNK];
                bytes[offset..offset + len].copy_from_slice(&mark_at(offset));
                let file = SimDisk::new().open(path, Access::Create).unwrap();
                write_all_at(&*file, &bytes, 0).unwrap();
                let look = |limit: usize| beyond(&*file, path, SALT, start, limit as u64).unwrap();
                let Beyond { durable_upto, last_nonzero_end } = look(4 * CHUNK);
                assert_eq!(durable_upto, 7, "at {offset}");
                let end = (offset + len) as u64;
                assert!((offset as u64 + 1..=end).contains(&last_nonzero_end));
                let none = Beyond { durable_upto: 0, last_nonzero_end: start };
                assert_eq!(look(offset), none, "behind {offset}");
            }
        }
    }

    #[test]
    fn nothing_is_behind_a_seal() {
        let seal = Record::Seal { records: 1, min_seq: 1, max_seq: 1 };
        let (file, starts) = segment(&[Record::Remove { seq: 1, key: b"a" }, seal, seal]);
        let mut scan = scan(&*file);
        for is_there in [true, true, false, false] {
            assert_eq!(scan.next().unwrap().is_some(), is_there);
        }
        assert!(scan.sealed());
        assert_eq!(scan.offset(), starts[2]);
    }

    #[test]
    fn a_batch_is_what_it_says() {
        let remove = Record::Remove { seq: 1, key: b"a" };
        let bytes = record::encode(&mut Vec::new(), &remove) as u64;
        for (count, bytes, is_whole) in [
            (2, 2 * bytes, true),
            (1, 2 * bytes, false),
            (3, 2 * bytes, false),
            (2, 2 * bytes - 8, false),
            (2, 2 * bytes + 8, false),
            (2, 9 * bytes, false),
        ] {
            let batch = Record::Batch { seq: 1, count, bytes };
            let (file, _) = segment(&[batch, remove, remove, remove]);
            let found = scan(&*file).next().unwrap().is_some();
            assert_eq!(found, is_whole, "{count} records, {bytes} bytes");
        }
        let batch = Record::Batch { seq: 1, count: 1, bytes };
        let (file, _) = segment(&[batch, Record::Remove { seq: 2, key: b"a" }]);
        assert!(scan(&*file).next().unwrap().is_none(), "a record of another write");
    }

    #[test]
    fn the_keys_ahead_are_those_that_were_read_and_look_like_records() {
        let set = |seq, key| Record::Set { seq, expires_at_ms: NEVER, key, value: b"value" };
        let (file, starts) = segment(&[set(1, b"a"), set(2, b"b"), set(3, b"c"), set(4, b"d")]);
        let end = file.len().unwrap();
        write_all_at(&*file, &[0xff; 64], end).unwrap();
        let mut scan = scan(&*file);
        let ahead = |scan: &Scan<'_>, count| {
            let mut keys = Vec::new();
            let end = scan.ahead(count, |key| keys.extend_from_slice(key));
            (end, String::from_utf8(keys).unwrap())
        };
        assert_eq!(ahead(&scan, 9), (starts[0], String::new()), "nothing has been read");
        assert!(scan.next().unwrap().is_some());
        assert_eq!(ahead(&scan, 2), (starts[3], "bc".to_owned()));
        assert_eq!(ahead(&scan, 9), (end, "bcd".to_owned()));
        assert_eq!(scan.offset(), starts[1], "nothing has moved");
    }
}
