#!/usr/bin/env bash
# Builds the fuzz targets with a nightly compiler and runs them over the corpus, then on.
#
# usage: run.sh [SECONDS [TARGET...]]     default: 15 seconds for each target
#        run.sh --minimise [TARGET...]    merges what was found into the corpus of the repository
#
# It needs no cargo-fuzz; with it, `cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET` works as well. What a run finds new goes into
# target/corpus, inputs that fail into target/failures.
set -euo pipefail
cd "$(dirname "$0")"

targets=(block record wire)
host=x86_64-unknown-linux-gnu
out=${CARGO_TARGET_DIR:-$PWD/target}
minimise=no seconds=15
case ${1:-} in
--minimise) minimise=yes && shift ;;
[0-9]*) seconds=$1 && shift ;;
esac
[ $# -eq 0 ] || targets=("$@")

# What cargo-fuzz passes: coverage that libFuzzer can read, and AddressSanitizer.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address" \
    cargo +nightly build --release --locked --target "$host" --target-dir "$out"

for target in "${targets[@]}"; do
    program=$out/$host/release/$target
    found=$out/corpus/$target
    mkdir -p "$found" "corpus/$target" "$out/failures"
    if [ $minimise = yes ]; then
        fresh=$(mktemp -d)
        "$program" -set_cover_merge=1 "$fresh" "corpus/$target" "$found" 2>/dev/null
        # A corpus is kept small: the largest inputs say the most.
        (cd "$fresh" && ls -S | tail -n +251 | xargs -r rm)
        rm -r "corpus/$target" && mv "$fresh" "corpus/$target" && chmod 755 "corpus/$target"
        echo "$target: $(find "corpus/$target" -type f | wc -l) inputs"
        continue
    fi
    echo "== $target, $seconds s"
    # The memory limit is part of the test: no input makes the code allocate without bounds.
    if ! "$program" -max_total_time="$seconds" -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=8192 -len_control=10 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$out/failures/$target-" "$found" "corpus/$target" >"$out/$target.log" 2>&1; then
        tail -n 60 "$out/$target.log"
        echo "$target failed: the input is in $out/failures" >&2
        exit 1
    fi
    grep -E '^#[0-9]+.DONE|^stat::(number_of_executed|peak_rss)' "$out/$target.log"
done
