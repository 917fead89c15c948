//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::EXIT_CODES;
use crate::key::KeyArgs;
use crate::volume_name::VolumeName;

const ABOUT: &str = "Manages encrypted volumes.

On Windows the tool talks to the driver (\\\\.\\VolumeCryptKitSample) about the volume named with --volume.
Elsewhere it runs the same driver in a simulated kernel over the file named with --image: a machine is booted for one
command, and the image is all that stays. Such a machine knows no attached volumes when it starts, so every command
but `prepare` and `inspect` attaches the image first and takes the key for that; `status` and `volume-info` show an
image as unattached when they get no key. Attaching may write: it mends what a loss of power left, and goes on with a
conversion that was running. Conversion goes on as long as the command waits for it.

The key is base64 text. Give it with --vmk-file, --vmk-stdin or --vmk-env; --vmk is visible to other users.";

/// The whole command line.
#[derive(Parser, Debug)]
#[command(name = "vckctl", version, about = ABOUT, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The volume: D:, \\.\D:, \\?\Volume{GUID}\ or \Device\HarddiskVolumeN (Windows)
    #[arg(long, global = true, value_name = "VOLUME")]
    pub(crate) volume: Option<VolumeName>,
    /// A volume in a file; the driver runs in a simulated kernel over it (not on Windows)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Bytes of a sector of the image; found out when left away
    #[arg(long, global = true, value_name = "BYTES")]
    pub(crate) sector_size: Option<u32>,
    /// Seed of the simulated machine; the same seed gives the same run
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print the log of the driver in the simulated kernel on standard error
    #[arg(long, global = true)]
    pub(crate) driver_log: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show one volume, or all attached ones
    Status(KeyArgs),
    /// Show length and sector size as the operating system sees them
    VolumeInfo(KeyArgs),
    /// Show the metadata of a volume in a file or block device, without the driver
    Inspect(InspectArgs),
    /// Measure the driver's cipher
    BenchAes {
        /// Bytes to encrypt and decrypt; 0 for 1 GiB
        #[arg(long, default_value_t = 0, value_name = "BYTES")]
        size: u64,
    },
    /// Prepare, attach, convert and detach a data volume
    #[command(subcommand)]
    DataVolume(DataVolume),
    /// Do the driver's main job on a volume with real files, and prove that no byte is lost
    Demo(DemoArgs),
}

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Image file or block device; --image does the same
    #[arg(value_name = "IMAGE")]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// Commands about data volumes.
#[derive(Subcommand, Debug)]
pub(crate) enum DataVolume {
    /// Give a volume its metadata and attach it; nothing is encrypted yet
    Prepare(PrepareArgs),
    /// Attach a prepared volume: mend what a loss of power left, and go on with a conversion that was running
    Attach(AttachArgs),
    /// Detach a volume
    Detach(KeyArgs),
    /// Encrypt what is not encrypted yet
    Encrypt(ConvertArgs),
    /// Decrypt what is encrypted
    Decrypt(ConvertArgs),
    /// Stop conversion where it is, also over a restart, until `encrypt` or `decrypt`
    Pause(KeyArgs),
}

/// Counts and size of metadata replicas.
#[derive(Args, Debug)]
pub(crate) struct LayoutArgs {
    /// Metadata replicas at the front; for blank volumes only
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(crate) use_header: u32,
    /// Metadata replicas at the end
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    pub(crate) use_footer: u32,
    /// Bytes of one replica
    #[arg(long, default_value_t = 131_072, value_name = "BYTES")]
    pub(crate) metadata_size: u32,
}

/// Arguments of `prepare`.
#[derive(Args, Debug)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// Make the image larger by the room that the metadata needs
    #[arg(long)]
    pub(crate) grow: bool,
    /// Prepare although the volume begins with data of no known file system. Never for one that was prepared before
    #[arg(long)]
    pub(crate) unknown_content: bool,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// Arguments of `attach`. The layout is accepted for compatibility; the volume's own metadata decides.
#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// Arguments of `encrypt` and `decrypt`.
#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Start, and do not wait for the end. On an image nothing goes on after the command
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// Arguments of `demo`. `--image FILE --copy` works on a copy of that volume.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Work on a copy of the volume named with --image; the original is only read
    #[arg(long)]
    pub(crate) copy: bool,
    /// Size of the volume that is made when no image is given, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..=2048))]
    pub(crate) size: u32,
    /// Folder for the copy; the system's folder for temporary files when left away
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("vckctl").chain(line.split_whitespace()))
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [r"--volume D: status", r"status --volume \\.\d:\", r"data-volume --volume D: detach"] {
            assert_eq!(parse(line).unwrap().global.volume, Some(VolumeName::Letter('D')), "{line}");
        }
        assert!(parse("status --volume nonsense").is_err());
    }

    #[test]
    fn defaults_are_those_of_existing_clients() {
        let Command::DataVolume(DataVolume::Prepare(args)) = parse("data-volume prepare").unwrap().command else {
            panic!("another command");
        };
        let LayoutArgs { use_header, use_footer, metadata_size } = args.layout;
        assert_eq!((use_header, use_footer, metadata_size, args.grow), (0, 2, 131_072, false));
        let Command::BenchAes { size } = parse("bench-aes").unwrap().command else { panic!("another command") };
        assert_eq!(size, 0);
    }

    #[test]
    fn key_sources_exclude_each_other() {
        assert!(parse("data-volume attach --vmk-file a").is_ok());
        assert!(parse("data-volume encrypt --no-wait --vmk AAEC").is_ok());
        for line in ["--vmk-file a --vmk AAEC", "--vmk-stdin --vmk-env X", "--vmk AAEC --vmk-env X"] {
            assert!(parse(&format!("data-volume attach {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "os-volume prepare", "data-volume", "demo --size 0", "demo --size x", "status extra"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
