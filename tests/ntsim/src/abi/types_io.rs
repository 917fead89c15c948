//! Structures of the I/O manager.
