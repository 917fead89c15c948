#!/bin/bash
# Builds the sample driver as the kernel image Windows loads, on Debian, from the same source and lock file as on
# Windows. Prints size, imports and hash.
#
# usage: build-sys.sh      result: target/cross/vck-sample-driver.sys, with its .map beside it
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

prepare
say "building"
cross_cargo rustc --release --quiet -p vck-sample-driver --lib --crate-type cdylib

out=$cache/build/$target/release
name=vck-sample-driver
cp "$out/vck_sample_driver.dll" "$cache/$name.sys"
cp "$out/deps/vck_sample_driver.map" "$cache/$name.map"

image=$cache/$name.sys
say "image   ${image#"$workspace"/}"
say "size    $(stat -c %s "$image") bytes"
say "sha256  $(sha256sum "$image" | cut -d' ' -f1)"
say "imports"
"$llvm/llvm-readobj" --coff-imports "$image" |
    awk '$1 == "Name:" { dll = $2 } $1 == "Symbol:" && NF >= 2 && $2 != "(0)" { print "    " dll "!" $2 }' | LC_ALL=C sort
