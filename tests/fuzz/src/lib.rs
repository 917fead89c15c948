//! What the fuzz targets do with their inputs. A target fails by a panic; what holds for every input is asserted.

pub mod block;
pub mod record;
pub mod volume;
pub mod wire;
