# Sourced by build-sys.sh and check.sh: packages, stand-in WDK, vendored crates, and the environment of the cross build.
#
# Everything made here lives in target/cross of the workspace. It has to be inside the workspace: wdk-build looks for
# Cargo.lock above the build directory. Cargo.toml, Cargo.lock and .cargo/config.toml stay what a Windows machine needs.
set -euo pipefail

cross=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$(cd "$cross/../.." && pwd)
cache=$workspace/target/cross
target=x86_64-pc-windows-msvc
llvm=/usr/lib/llvm-19/bin
packages=(rustc-web cargo-web rust-web-src libstd-rust-web-dev clang-19 lld-19 llvm-19 libclang-19-dev
    mingw-w64-x86-64-dev gcc-mingw-w64-x86-64 binutils-mingw-w64-x86-64)
# Oldest compiler that the workspace accepts (rust-version in Cargo.toml).
oldest_rustc=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$workspace/Cargo.toml" | head -n 1)

say() { printf 'cross: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

rustc_version() { /usr/bin/rustc --version 2>/dev/null | cut -d' ' -f2; }

packages_present() {
    [ "$(dpkg-query -W -f '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed)" = "${#packages[@]}" ] &&
        printf '%s\n%s\n' "$oldest_rustc" "$(rustc_version)" | sort -V -C
}

install_packages() {
    packages_present && return
    command -v apt-get >/dev/null || fail "needs a Debian system, or these packages: ${packages[*]}"
    [ "$(id -u)" = 0 ] || fail "run as root once, or install: ${packages[*]}"
    say "installing Debian packages"
    local log=$cache/apt.log
    # The compiler comes from the security archive; without an update an old index may name a version that is too old.
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${packages[@]}"; } >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get failed"; }
    packages_present || fail "the installed rustc ($(rustc_version)) is older than $oldest_rustc"
}

# stamp NAME HASH: true when NAME was last made from inputs with this hash.
stamped() { [ "$(cat "$cache/$1.stamp" 2>/dev/null)" = "$2" ]; }

make_wdk_root() {
    local hash
    hash=$(cat "$cross/wdk-root.sh" "$cross/ntoskrnl.extra" "$cross"/overlay/*.h "$cross"/overlay/*/*.h | sha256sum)
    stamped wdk "$hash" && return
    say "making the stand-in WDK"
    "$cross/wdk-root.sh" "$cache/wdk"
    echo "$hash" >"$cache/wdk.stamp"
}

vendor_crates() {
    local hash std
    std=$(echo /usr/src/rustc-"$(rustc_version)"/library/Cargo.toml)
    hash=$(cat "$workspace/Cargo.lock" "$std" "$cross/patch-wdk-build.pl" | sha256sum)
    stamped vendor "$hash" && return
    say "vendoring crates"
    rm -rf "$cache/vendor" "$cache/vendor.stamp"
    # The caller's own CARGO_HOME is used here, and only here, so that crates it has already are not fetched again.
    (cd "$workspace" && /usr/bin/cargo vendor --quiet --locked --versioned-dirs --sync "$std" "$cache/vendor" \
        >/dev/null 2>"$cache/vendor.log") || { cat "$cache/vendor.log" >&2; fail "cargo vendor failed"; }
    local copies=("$cache"/vendor/wdk-build-*)
    [ -d "${copies[0]}" ] || fail "no wdk-build among the vendored crates"
    local copy
    for copy in "${copies[@]}"; do "$cross/patch-wdk-build.pl" "$copy"; done
    echo "$hash" >"$cache/vendor.stamp"
}

# wdk-build runs its own `cargo metadata`, which does not see --config: the settings must be in CARGO_HOME.
write_cargo_home() {
    mkdir -p "$cache/home"
    cat >"$cache/home/config.toml.new" <<TOML
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$cache/vendor"
[net]
offline = true
[unstable]
build-std = ["core", "alloc", "panic_abort"]
build-std-features = ["compiler-builtins-mem"]
[target.$target]
linker = "$llvm/lld-link"
# /RELEASE writes the PE checksum, /Brepro a hash instead of the time. The remapped prefixes keep the place of the
# build out of panic messages. A PDB names every object file by its full path, and the image carries a hash of the PDB:
# /DEBUG:NONE, so that the bytes do not depend on where they were built. The map file names the functions.
rustflags = [
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=/RELEASE",
    "-Clink-arg=/Brepro",
    "-Clink-arg=/DEBUG:NONE",
    "--remap-path-prefix=$cache/vendor=vendor",
    "--remap-path-prefix=$cache/build=target",
    "--remap-path-prefix=$workspace=vck-windrv",
    "--remap-path-prefix=/usr/src=std",
    "--remap-path-prefix=/usr/lib/rustlib/src/rust=std",
]
TOML
    # Cargo keeps what it built only while its configuration is unchanged.
    cmp -s "$cache/home/config.toml.new" "$cache/home/config.toml" ||
        mv "$cache/home/config.toml.new" "$cache/home/config.toml"
}

# cross_cargo ARGS: Debian's cargo for the Windows target, apart from rustup and from the caller's settings.
cross_cargo() {
    (cd "$workspace" && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET -u RUSTUP_TOOLCHAIN \
        -u RUSTC_WRAPPER -u CARGO_INCREMENTAL \
        PATH="$llvm:/usr/bin:/bin:/usr/sbin:/sbin" RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo RUSTC_BOOTSTRAP=1 \
        LIBCLANG_PATH="${llvm%/bin}/lib" WDKContentRoot="$cache/wdk" CARGO_HOME="$cache/home" \
        CARGO_TARGET_DIR="$cache/build" RUST_LOG=error \
        /usr/bin/cargo "$@" --target "$target" --locked)
}

prepare() {
    mkdir -p "$cache"
    # Two runs at once would vendor over each other.
    exec 9>"$cache/lock"
    flock 9
    install_packages
    make_wdk_root
    vendor_crates
    write_cargo_home
}
