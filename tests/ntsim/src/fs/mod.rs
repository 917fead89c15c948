//! Owned by the I/O side of the simulator.
