#!/bin/bash
# Builds a stand-in for the Windows Driver Kit out of mingw-w64's headers and the overlay beside this script.
#
# usage: wdk-root.sh DIR      DIR is replaced; it becomes WDKContentRoot
#
# The layout is the one wdk-build looks for: Include/10.x/{km/crt,km,shared} and Lib/10.x/km/x64. Nothing of Microsoft's
# is used. The import libraries list what mingw-w64's own do, plus the routines it does not know (ntoskrnl.extra).
set -euo pipefail

root=${1:?usage: wdk-root.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
version=10.0.22621.0
headers=/usr/share/mingw-w64/include
libraries=/usr/x86_64-w64-mingw32/lib
llvm=/usr/lib/llvm-19/bin
include=$root/Include/$version
lib=$root/Lib/$version/km/x64

rm -rf "$root"
mkdir -p "$include/km" "$lib"

# wdk-build searches km/crt first, so the overlay's wrappers win and reach the originals with #include_next.
ln -s "$here/overlay" "$include/km/crt"
ln -s "$headers"/ddk/* "$include/km/"
ln -s "$headers" "$include/shared"

# Two things that mingw-w64 says otherwise than the WDK: DEVICE_OBJECT and IRP are aligned to
# MEMORY_ALLOCATION_ALIGNMENT (0x150 bytes, not 0x148), and the priority of MmMapLockedPagesSpecifyCache is a ULONG,
# because the MdlMapping flags are or-ed into it.
rm "$include/km/wdm.h"
sed -E -e 's/^typedef struct (_DEVICE_OBJECT|_IRP) \{/typedef struct DECLSPEC_ALIGN(MEMORY_ALLOCATION_ALIGNMENT) \1 {/' \
    -e '/^MmMapLockedPagesSpecifyCache\(/,/;/s/MM_PAGE_PRIORITY Priority/ULONG Priority/' \
    "$headers/ddk/wdm.h" >"$include/km/wdm.h"
changed=$(diff "$headers/ddk/wdm.h" "$include/km/wdm.h" | grep -c '^>' || true)
[ "$changed" = 3 ] || { echo "wdk-root.sh: expected to change 3 lines of wdm.h, changed $changed" >&2; exit 1; }

# import_library NAME IMAGE [FILE WITH MORE NAMES]
import_library() {
    {
        echo "LIBRARY $2"
        echo EXPORTS
        { [ ! -f "$libraries/lib$1.a" ] || "$llvm/llvm-nm" "$libraries/lib$1.a" 2>/dev/null | awk '$2 == "T" { print $3 }'; cat "${3:-/dev/null}"; } |
            LC_ALL=C sort -u
    } >"$lib/$1.def"
    "$llvm/llvm-dlltool" -m i386:x86-64 -d "$lib/$1.def" -l "$lib/$1.lib"
}
import_library ntoskrnl ntoskrnl.exe "$here/ntoskrnl.extra"
import_library hal hal.dll
import_library wmilib wmilib.sys
import_library cng cng.sys "$here/cng.extra"

# The WDK's BufferOverflowFastFailK.lib supports /GS in C objects. Rust objects never refer to it: an empty archive.
: >"$root/empty.c"
"$llvm/clang" --target=x86_64-pc-windows-msvc -c "$root/empty.c" -o "$root/empty.obj"
"$llvm/llvm-lib" "/out:$lib/BufferOverflowFastFailK.lib" "$root/empty.obj"
