//! Routines of the I/O manager, the object manager and security.
