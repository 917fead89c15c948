//! The engine over the real metadata store and cipher, on a device and a gate that record and fail as told.
extern crate std;

mod commands;
mod faults;
mod journaled;
mod ordering;
mod outages;
mod recovery;
mod rig;
mod vectors;
mod world;
mod yielding;
