#!/bin/bash
# Predicts, without running it, how fast the AVX-512 code is: ours, OpenSSL's and aws-lc's in the built benchmark. llvm-mca
# simulates the innermost loop of each with a model of a processor that need not be at hand. A prediction, not a measurement.
#
# usage: mca.sh [DIRECTORY]     needs objdump and llvm-mca 19 or later (Debian: llvm-19); the loops are left in DIRECTORY
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
work=${1:-$target/mca}
mca=${LLVM_MCA:-$(compgen -c llvm-mca- | sort -V | tail -n 1)}
processors="icelake-server sapphirerapids znver4"
iterations=200

command -v "${mca:=llvm-mca}" >/dev/null || { echo "llvm-mca is not installed (Debian: llvm-19)" >&2; exit 1; }
mkdir -p "$work"
rm -f "$work"/*.s
cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml" --target-dir "$target"
objdump -d --no-show-raw-insn -M intel "$target/release/vck-xts-bench" >"$work/program.txt"

# The loop with the most 512-bit AES instructions of those that contain no other loop. Branches stay as such: the model takes
# them as not taken, and the next round follows anyway.
loop() {
    awk -v function_name="$1" -v nth="$2" '
        /^[0-9a-f]+ <.*>:$/ { inside = index($2, function_name) && ++seen == nth; next }
        inside && /^ +[0-9a-f]+:/ {
            at = $1; sub(":", "", at)
            text = $0; sub(/^ +[0-9a-f]+:[ \t]+/, "", text); sub(/ *(#|<).*$/, "", text)
            place[at] = ++count; line[count] = text
        }
        END {
            for (last = 1; last <= count; last++) {
                if (split(line[last], word, " +") != 2 || word[1] !~ /^j/ || !(word[2] in place)) continue
                first = place[word[2]]
                if (first > last) continue
                aes = nested = 0
                for (i = first; i < last; i++) {
                    aes += line[i] ~ /aes.*zmm/
                    if (split(line[i], word, " +") == 2 && word[1] ~ /^j/ && (word[2] in place))
                        nested += place[word[2]] >= first && place[word[2]] <= i
                }
                if (!nested && aes > best) { best = aes; from = first; to = last }
            }
            for (i = from; i <= to; i++) {
                if (line[i] ~ /^j/) { split(line[i], word, " +"); print word[1], "elsewhere" }
                else if (line[i] !~ /nop/) print line[i]
            }
        }' "$work/program.txt" >"$work/$3.s"
    [ -s "$work/$3.s" ] || { echo "no loop found in $1" >&2; exit 1; }
}

loop vck_common3xts7vaes51216batch_of_sectors 1 ours-1
loop vck_common3xts7vaes51216batch_of_sectors 2 ours-2
for direction in encrypt decrypt; do
    loop "<aesni_xts_256_${direction}_avx512" 1 "openssl-$direction"
    loop "aes_hw_xts_${direction}_avx512" 1 "aws-lc-$direction"
done
# Which of ours is which.
for number in 1 2; do
    mv "$work/ours-$number.s" "$work/vaes-512-$(grep -q vaesenc "$work/ours-$number.s" && echo encrypt || echo decrypt).s"
done

"$mca" --version | grep -o 'LLVM version .*'
printf '%-16s %-18s %6s  %10s  %10s  %10s  %s\n' processor loop blocks cycles AES-bound uops "(each per block)"
for processor in $processors; do
    for implementation in vaes-512 openssl aws-lc; do
        for direction in encrypt decrypt; do
            file=$work/$implementation-$direction.s
            "$mca" -march=x86-64 -mcpu="$processor" --x86-asm-syntax=intel -iterations=$iterations \
                --resource-pressure --instruction-info "$file" >"$work/report" 2>/dev/null
            awk -v name="$processor" -v loop_name="$implementation $direction" -v n=$iterations \
                -v aes="$(grep -c 'aes.*zmm' "$file")" '
                /^Total Cycles:/ { cycles = $3 } /^Total uOps:/ { uops = $3 }
                /aes(enc|dec).*zmm/ && !bound { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9.]+$/) value[i] = $i; bound = value[3] }
                END {
                    blocks = aes / 14 * 4
                    printf "%-16s %-18s %6d  %10.2f  %10.2f  %10.2f\n", name, loop_name, blocks,
                        cycles / n / blocks, aes * bound / blocks, uops / n / blocks
                }' "$work/report"
        done
    done
done
