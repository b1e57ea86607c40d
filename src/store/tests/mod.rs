//! Tests of the whole engine on the simulated disk, with the machinery that they share.

mod actions;
pub(crate) mod clock;
mod oracle;
mod proof;
mod scene;
mod workload;

mod backups;
mod bincode;
mod bit_rot;
mod bugs;
mod clock_reset;
mod crash;
mod edges;
mod conditions;
mod exhaustive;
mod expiry;
mod faults;
mod inspect;
mod loomed;
mod model;
mod named;
mod nested;
mod notices;
mod observed;
mod pins;
mod ranges;
mod reader;
mod reader_watches;
mod retained;
mod salvage;
mod sequences;
mod shuttled;
mod snapshots;
mod sim;
mod torn_batch;
mod watches;
