//! Pages from the host.
