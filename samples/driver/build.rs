//! Build script of the sample driver: how the linker makes a kernel image of it.
//!
//! On a Windows machine `wdk-build` decides, from the WDK that is installed. For the Windows target on another host it
//! cannot be compiled; the same arguments for a WDM driver are listed here, and the libraries come from the folder that
//! `WDKContentRoot` names. A build for any other target (the tests against the simulated kernel) needs nothing.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("windows") {
        return Ok(());
    }
    #[cfg(windows)]
    wdk_build::configure_wdk_binary_build()?;
    #[cfg(not(windows))]
    elsewhere::configure()?;
    Ok(())
}

#[cfg(not(windows))]
mod elsewhere {
    use std::error::Error;
    use std::path::PathBuf;
    use std::{env, fs};

    /// What `wdk-build` 0.6 passes for `driver-type = "WDM"`, less two switches that silence Microsoft's linker.
    const LINKER_ARGUMENTS: &[&str] = &[
        "/DRIVER",
        "/NODEFAULTLIB",
        "/SUBSYSTEM:NATIVE",
        "/KERNEL",
        "/ENTRY:DriverEntry",
        "/NXCOMPAT",
        "/DYNAMICBASE",
        "/MAP",
        "/OPT:REF,ICF",
        "/INTEGRITYCHECK",
        "/MANIFEST:NO",
    ];

    pub(super) fn configure() -> Result<(), Box<dyn Error>> {
        println!("cargo::rerun-if-env-changed=WDKContentRoot");
        let root = env::var_os("WDKContentRoot").ok_or("WDKContentRoot must name a WDK; see tests/cross")?;
        let versions = PathBuf::from(root).join("Lib");
        let newest = fs::read_dir(&versions)?.filter_map(|entry| Some(entry.ok()?.path())).max();
        let libraries = newest.ok_or("no libraries below WDKContentRoot")?.join("km").join("x64");
        println!("cargo::rustc-link-search={}", libraries.display());
        for argument in LINKER_ARGUMENTS {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
        Ok(())
    }
}
