//! Full disks, bad sectors and failed writes on real file systems of this machine.
//!
//! Mounts need root: without it, and without what makes a device fail, a test says aloud that it
//! was skipped. The guard against SIGBUS is tested by everyone, on a file that is cut.

#[cfg(test)]
mod bad_sector;
#[cfg(test)]
mod cut_file;
#[cfg(test)]
mod full;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod records;
#[cfg(test)]
mod write_back;
