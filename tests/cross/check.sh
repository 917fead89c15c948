#!/bin/bash
# Type-checks driver and sample for the Windows target against the published wdk-sys, and the layouts of the kernel
# structures used against the known x64 values.
#
# usage: check.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

prepare
# The release profile, so that bindings and build scripts are those build-sys.sh uses.
cross_cargo check --release --quiet -p vck-layout -p vck-windrv -p vck-sample-driver
say "vck-windrv and vck-sample-driver type-check for $target; structure layouts are those of vck-layout"
