//! Tests of the whole engine on the simulated disk, with the machinery that they share.

mod oracle;
mod proof;
mod scene;
mod workload;

mod bincode;
mod bit_rot;
mod bugs;
mod crash;
mod edges;
mod exhaustive;
mod faults;
mod loomed;
mod model;
mod named;
mod nested;
mod pins;
mod salvage;
mod sequences;
mod shuttled;
mod sim;
mod torn_batch;
