#!/usr/bin/env bash
# Builds and tests the driver of docs/oem-guide.md as somebody would who follows the guide: a crate of its own beside a clone,
# its files word for word from the document.
#
# usage: tests/guide/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
# Cargo's working directory changes below.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/target}/guide
[[ $CARGO_TARGET_DIR = /* ]] || CARGO_TARGET_DIR=$top/$CARGO_TARGET_DIR

# Always the same name: cargo builds anew what lies in another place.
folder=${TMPDIR:-/tmp}/vck-guide.$(id -u)
rm -rf "$folder"
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
ln -s "$top" "$folder/vck-windrv"
driver=$folder/my-driver
mkdir "$driver"

# A block of code that follows `<!-- file: NAME -->` is that file.
awk -v driver="$driver" '
    /^<!-- file: .* -->$/ { name = $3; next }
    name != "" && /^```/ {
        if (open) { close(file); name = ""; open = 0 }
        else { file = driver "/" name; folder = file; sub(/\/[^\/]*$/, "", folder); system("mkdir -p " folder); open = 1; files++ }
        next
    }
    open { print > file }
    END { if (files != 3) { print "docs/oem-guide.md has " files " files, not 3" > "/dev/stderr"; exit 1 } }
' docs/oem-guide.md
cp samples/driver/build.rs rust-toolchain.toml "$driver"
# The versions that everything else here was tested with; what the crate does not need is dropped.
cp Cargo.lock "$driver"

cd "$driver"
cargo test
