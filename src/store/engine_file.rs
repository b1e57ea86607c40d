//! The file `ENGINE`: which engine a directory belongs to.
//!
//! It is what decides. Only where it is missing or empty, as in a directory that was lost half of
//! and copied back by hand, the other names in the directory tell.

use std::io;
use std::path::Path;

use super::disk::{Access, Disk, read_full_at, replace};
use super::names::{self, Name};
use crate::error::{KvsError, Result};

/// What stands in it for the log-structured store.
pub(crate) const KVS: &str = "kvs";
/// What stands in it for sled.
pub(crate) const SLED: &str = "sled";

/// The name of the engine that a directory belongs to; none if it is not there, or holds nothing
/// of any engine.
pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<String>> {
    let stated = read_small(disk, &directory.join(names::ENGINE))?;
    match stated.as_deref().map(str::trim).filter(|stated| !stated.is_empty()) {
        Some(stated) => Ok(Some(stated.to_owned())),
        None => Ok(guess(disk, directory)?.map(str::to_owned)),
    }
}

/// The engine whose files are in a directory.
fn guess(disk: &dyn Disk, directory: &Path) -> Result<Option<&'static str>> {
    let found = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|error| KvsError::io("list", directory, error))?,
    };
    let is_of_kvs =
        |name: &String| name == names::MANIFEST || matches!(names::parse(name), Name::Segment(_));
    if found.iter().any(is_of_kvs) {
        return Ok(Some(KVS));
    }
    // Others may have files of these names too: sled's begin with its options.
    let has = |wanted: &str| found.iter().any(|name| name == wanted);
    if !has(names::SLED_CONF) || !has(names::SLED_DB) {
        return Ok(None);
    }
    // A directory of that name is not sled's.
    let conf = read_small(disk, &directory.join(names::SLED_CONF)).unwrap_or_default();
    Ok(conf.is_some_and(|conf| conf.starts_with("segment_size:")).then_some(SLED))
}

/// Refuses a directory that belongs to another engine.
pub(crate) fn check(disk: &dyn Disk, directory: &Path, wanted: &'static str) -> Result<()> {
    match read(disk, directory)? {
        Some(found) if found != wanted => {
            Err(KvsError::WrongEngine { path: directory.to_owned(), found, wanted })
        }
        _ => Ok(()),
    }
}

/// Writes whose directory this is. It is durable after a sync of the directory.
pub(crate) fn claim(disk: &dyn Disk, directory: &Path, engine: &'static str) -> Result<()> {
    let path = directory.join(names::ENGINE);
    if read_small(disk, &path)?.is_some_and(|found| found.trim() == engine) {
        return Ok(());
    }
    let names = (names::ENGINE_NEW, names::ENGINE);
    replace(disk, directory, names, format!("{engine}\n").as_bytes())
}

/// The start of a small file as text; none if there is no file.
fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| KvsError::io("open", path, error))?,
    };
    let mut bytes = [0; 64];
    let read = read_full_at(&*file, &mut bytes, 0);
    let read = read.map_err(|error| KvsError::io("read", path, error))?;
    Ok(Some(String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::real_disk::RealDisk;
    use super::{KVS, SLED, check, claim, read};
    use crate::error::KvsError;

    #[test]
    fn the_file_decides_and_where_there_is_none_the_other_names_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        assert_eq!(read(&RealDisk, &path.join("none")).unwrap(), None);
        assert_eq!(read(&RealDisk, path).unwrap(), None);
        fs::write(path.join("conf"), "Dear").unwrap();
        fs::write(path.join("db"), "").unwrap();
        assert_eq!(read(&RealDisk, path).unwrap(), None);
        fs::write(path.join("conf"), "segment_size: 524288\n").unwrap();
        assert_eq!(read(&RealDisk, path).unwrap().as_deref(), Some(SLED));
        let refused = check(&RealDisk, path, KVS);
        assert!(matches!(refused, Err(KvsError::WrongEngine { found, wanted: KVS, .. })
            if found == SLED));
        check(&RealDisk, path, SLED).unwrap();
        fs::write(path.join("MANIFEST"), "").unwrap();
        assert_eq!(read(&RealDisk, path).unwrap().as_deref(), Some(KVS));
        fs::write(path.join("ENGINE"), "").unwrap();
        assert_eq!(read(&RealDisk, path).unwrap().as_deref(), Some(KVS));
        claim(&RealDisk, path, SLED).unwrap();
        assert_eq!(read(&RealDisk, path).unwrap().as_deref(), Some(SLED));
    }
}
