//! The demonstration.

use crate::cli::DemoArgs;
use crate::error::CtlResult;
use crate::output::Format;
use crate::transport::Destination;

/// Runs it.
pub(crate) fn run(_: &Destination, _: &DemoArgs, _: Format) -> CtlResult<()> {
    Ok(())
}
