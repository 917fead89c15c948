#!/bin/bash
# Boots the check of the cipher kernels in Bochs, an emulator of processors with AVX-512 and VAES.
#
# usage: run.sh      needs Debian's bochs and bochs-term (installed when run as root); exit code 0 when every kernel agrees
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${CARGO_TARGET_DIR:-$here/../../target}/emulator
target=x86_64-unknown-linux-gnu
# The boot sector loads this much.
most=$((7 * 64 * 512))

if ! dpkg-query -W -f '${db:Status-Status}' bochs bochs-term 2>/dev/null | grep -qx installedinstalled; then
    apt-get install -y -qq --no-install-recommends bochs bochs-term bochsbios vgabios >/dev/null
fi
mkdir -p "$work"
cd "$work"

as --32 "$here/boot.S" -o boot.o
ld -m elf_i386 -Ttext 0x7c00 --oformat binary boot.o -o boot.bin
link="-Crelocation-model=static"
for argument in -nostartfiles -nostdlib -static -no-pie "-Wl,-T,$here/link.ld" -Wl,--build-id=none; do
    link+=" -Clink-arg=$argument"
done
RUSTFLAGS=$link CARGO_TARGET_DIR=$work/build \
    cargo build --release --quiet --locked --target "$target" --manifest-path "$here/Cargo.toml"
objcopy -O binary "build/$target/release/vck-emulator-check" program.bin
[ "$(stat -c %s program.bin)" -le "$most" ] || { echo "the program is larger than the boot sector loads" >&2; exit 1; }

truncate -s 0 disk.img
truncate -s $((10 * 16 * 63 * 512)) disk.img
dd if=boot.bin of=disk.img conv=notrunc status=none
dd if=program.bin of=disk.img seek=1 bs=512 conv=notrunc status=none

# Bochs draws on a terminal and waits for a debugger's command.
echo c >start
TERM=xterm timeout "${SECONDS_AT_MOST:-300}" \
    script -qec "stty rows 50 cols 132; bochs -q -f '$here/bochsrc' -rc start" /dev/null </dev/null >output 2>&1 || true
grep -a -o -E '(detected|self-test passed|portable|aes-ni|vaes-[0-9]+|check): .*' output | tr -d '\r' | sort -u >verdict || true
cat verdict
grep -qx 'check: passed' verdict
