//! Tests of the whole engine on the simulated disk, with the machinery that they share.

pub(crate) mod clock;
mod oracle;
pub(crate) mod proof;
mod workload;
mod examine;
mod failing;
mod image;
#[cfg(feature = "server")]
pub(crate) mod fuzzed;

#[cfg(test)]
mod actions;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod bincode;
#[cfg(test)]
mod bit_rot;
#[cfg(test)]
mod bugs;
#[cfg(test)]
mod clock_reset;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod recovered;
#[cfg(test)]
mod space;
#[cfg(test)]
mod loomed;
#[cfg(test)]
mod many;
#[cfg(test)]
mod model;
#[cfg(test)]
mod named;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod pins;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod reader_backups;
#[cfg(test)]
mod reader_watches;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod salvage;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod shuttled;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod torn_batch;
#[cfg(test)]
mod watches;
