#!/usr/bin/perl
# Makes the vendored copy of `wdk-build` compile on a host that is not Windows.
#
# usage: patch-wdk-build.pl VENDORED_WDK_BUILD_DIR
#
# The crate finds the WDK through the registry and keeps one helper for cargo-make; neither can work here and neither
# is needed, because the location of the WDK comes from the environment. What binds the build to the WDK (headers,
# bindgen options, link arguments) stays as published. Every edit must hit exactly as often as it says: a new release
# of the crate that moved the code fails here instead of building something else.
use strict;
use warnings;

my $dir = shift or die "usage: $0 DIR\n";

sub edit {
    my ($file, @edits) = @_;
    my $path = "$dir/$file";
    open(my $in, '<:raw', $path) or die "$path: $!\n";
    my $text = do { local $/; <$in> };
    close $in;
    $text =~ s/\r\n/\n/g;
    while (my ($what, $count, $sub) = splice(@edits, 0, 3)) {
        my $done = $sub->(\$text);
        die "$path: '$what' applied $done times, expected $count; look at the new release of wdk-build\n"
            unless $done == $count;
    }
    open(my $out, '>:raw', $path) or die "$path: $!\n";
    print {$out} $text;
    close $out or die "$path: $!\n";
}

# Every edit returns how many places it changed.
edit('Cargo.toml',
    'windows dependency', 1,
    sub { ${$_[0]} =~ s/^\[dependencies\.windows\]/[target.'cfg(windows)'.dependencies.windows]/mg || 0 });

edit('src/utils.rs',
    'registry import', 1,
    sub { ${$_[0]} =~ s/^use windows::\{/#[cfg(windows)]\nuse windows::{/mg || 0 },
    'imports of the registry helper', 1,
    sub { ${$_[0]} =~ s/^    ffi::\{CStr, OsStr\},/    ffi::OsStr,/mg || 0 },
    'name used by the registry helper', 1,
    sub { ${$_[0]} =~ s/\bCStr::/std::ffi::CStr::/g || 0 },
    'registry helper', 1,
    sub { ${$_[0]} =~ s/^fn read_registry_key_string_value\(/#[cfg(windows)]\nfn read_registry_key_string_value(/mg || 0 },
    'call sites of the registry helper', 2,
    sub { ${$_[0]} =~ s/^    if let Some\(([^()]*)\) = read_registry_key_string_value\(/    #[cfg(windows)]\n    if let Some($1) = read_registry_key_string_value(/mg || 0 },
    'stubs that refuse other hosts', 2,
    sub { ${$_[0]} =~ s/^(?:#\[allow\(dead_code\)\]\n)?#\[cfg\(not\(target_os = "windows"\)\)\]\npub fn \w+_var<.*?^\}\n//msg || 0 },
    'real set_var and remove_var', 2,
    sub { ${$_[0]} =~ s/^#\[cfg\(target_os = "windows"\)\]\npub fn/pub fn/mg || 0 });

edit('src/cargo_make.rs',
    'symlink calls', 2,
    sub { ${$_[0]} =~ s/std::os::windows::fs::symlink_file/std::os::unix::fs::symlink/g || 0 });

# The checksum of the package as a whole stays, so Cargo.lock stays valid; those of the edited files are dropped.
my $sums = "$dir/.cargo-checksum.json";
open(my $in, '<', $sums) or die "$sums: $!\n";
my $text = do { local $/; <$in> };
close $in;
$text =~ s/"files":\{[^{}]*\}/"files":{}/ or die "$sums: no files table\n";
open(my $out, '>', $sums) or die "$sums: $!\n";
print {$out} $text;
close $out or die "$sums: $!\n";
