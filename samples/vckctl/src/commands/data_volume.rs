//! `data-volume`: prepare, attach, detach, encrypt, decrypt, pause.

use serde_json::json;
use vck_common::jvck::{
    BLOCK_SIZE, JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckSecrets, MetadataCodec, find_block,
};
use vck_common::wire::IoctlCode;
use vck_common::{DataSector, Geometry, Lba, RandomSource, Secret, SectorIo, VckError, VckResult, VolumeState, bpb};

use super::{attach_first, status, with_client};
use crate::cli::{AttachArgs, ConvertArgs, DataVolume, LayoutArgs, PrepareArgs};
use crate::client::{Client, Volume};
use crate::error::{CtlError, CtlResult, Exit};
use crate::follow::{Direction, follow};
use crate::output::{Format, print, volume_json};
use crate::transport::Destination;

/// Random bytes of the operating system.
pub(crate) struct OsRandom;

impl RandomSource for OsRandom {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        getrandom::fill(out).map_err(|_| VckError::CryptoFailed("the system's random source"))
    }
}

/// Runs one of the commands.
pub(super) fn run(destination: &Destination, command: DataVolume, format: Format) -> CtlResult<()> {
    let (note, name, volume) = with_client(destination, |client| {
        let note = match command {
            DataVolume::Prepare(args) => prepare(client, &args)?,
            DataVolume::Attach(args) => attach(client, &args)?,
            DataVolume::Detach(key) => {
                attach_first(client, &key, false)?;
                client.command(IoctlCode::Detach, "detach").map(|()| "detached")?
            }
            DataVolume::Pause(key) => {
                attach_first(client, &key, false)?;
                client.command(IoctlCode::Pause, "pause").map(|()| "conversion stands still")?
            }
            DataVolume::Encrypt(args) => convert(client, &args, Direction::Encrypt, format)?,
            DataVolume::Decrypt(args) => convert(client, &args, Direction::Decrypt, format)?,
        };
        Ok((note, client.name(), client.status()?))
    })?;
    report(format, note, &name, &volume);
    Ok(())
}

fn report(format: Format, note: &str, name: &str, volume: &Volume) {
    let mut value = volume_json(volume);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("result".into(), json!(note));
    }
    print(format, &format!("{}\n{name}: {note}", status::describe(name, volume)), &value);
}

fn options(layout: &LayoutArgs) -> JvckMetadataOptions {
    JvckMetadataOptions {
        use_header: layout.use_header,
        use_footer: layout.use_footer,
        metadata_size: layout.metadata_size,
    }
}

fn attach(client: &mut Client, args: &AttachArgs) -> CtlResult<&'static str> {
    client.path()?;
    let key = args.key.require()?;
    client.prepare(&key, &options(&args.layout), &[], "attach").map(|()| "attached")
}

fn convert(client: &mut Client, args: &ConvertArgs, direction: Direction, format: Format) -> CtlResult<&'static str> {
    attach_first(client, &args.key, false)?;
    client.command(direction.code(), direction.verb())?;
    if args.no_wait {
        return Ok("conversion started");
    }
    follow(client, direction, format)
}

/// What stands in the way of, or for, new metadata on a volume.
enum Ground {
    /// It has metadata already.
    Prepared,
    /// There is room.
    Free,
    /// The file system reaches too far.
    Occupied(&'static str),
    /// It begins with something that is neither blank nor a known file system: ciphertext looks like that.
    Unknown,
}

/// Bytes at a volume's beginning that show which file system it carries.
const BOOT_REGION: usize = 4096;

fn survey(io: &dyn SectorIo, geometry: &Geometry) -> VckResult<Ground> {
    if find_block(io)?.is_some() {
        return Ok(Ground::Prepared);
    }
    let mut boot = vec![0; BOOT_REGION.max(io.sector_size().usize())];
    io.read_sectors(Lba::ZERO, &mut boot)?;
    Ok(match bpb::recognise(&boot) {
        Some(found) if found.end > geometry.data_bytes() => Ground::Occupied(found.kind.name()),
        Some(_) => Ground::Free,
        None if bpb::is_blank(&boot) => Ground::Free,
        None => Ground::Unknown,
    })
}

/// First-time set-up, or attach when the volume has metadata.
fn prepare(client: &mut Client, args: &PrepareArgs) -> CtlResult<&'static str> {
    let options = options(&args.layout);
    if options.use_footer == 0 || options.metadata_size == 0 {
        return Err(CtlError::usage("--use-footer and --metadata-size must not be 0"));
    }
    client.path()?;
    let key = args.key.require()?;
    let name = client.name();
    let library = |error| CtlError::library("prepare", &name, error);
    // An attached volume hides its end, so the place of the metadata could not be seen.
    if client.status()?.attached {
        return Err(CtlError::new(Exit::Conflict, format!("{name} is already attached")));
    }
    let mut io = client.transport().sectors()?;
    let mut geometry = options.geometry(io.sector_size(), io.total_sectors()).map_err(library)?;
    match survey(&*io, &geometry).map_err(library)? {
        Ground::Prepared => {
            client.prepare(&key, &options, &[], "attach")?;
            return Ok("the volume has metadata already; it was attached with it");
        }
        Ground::Free => {}
        Ground::Unknown if args.unknown_content => {}
        Ground::Unknown => {
            let text =
                format!("cannot prepare {name}: it begins with data of no known file system, maybe encrypted data");
            return Err(CtlError::new(Exit::Conflict, text).advise(
                "if it was ever prepared, its metadata is not where its end is now: give it back its former size and \
                 attach it; if it was not, give --unknown-content",
            ));
        }
        Ground::Occupied(kind) if !args.grow && client.transport().is_ephemeral() => {
            let text = format!("cannot prepare {name}: its {kind} file system leaves no room for the metadata");
            return Err(CtlError::new(Exit::NoRoom, text)
                .advise("shrink the file system first, or give --grow to make the image larger"));
        }
        Ground::Occupied(_) => {
            drop(io);
            let bytes = u64::from(options.use_footer).saturating_mul(u64::from(options.metadata_size));
            client.transport().make_room(bytes)?;
            io = client.transport().sectors()?;
            geometry = options.geometry(io.sector_size(), io.total_sectors()).map_err(library)?;
        }
    }
    if options.use_header > 0 {
        let mut first = vec![0; io.sector_size().usize()];
        io.read_sectors(Lba::ZERO, &mut first).map_err(library)?;
        if !bpb::is_blank(&first) {
            let text = format!("cannot prepare {name}: replicas at the front would overwrite what is there");
            return Err(CtlError::new(Exit::NoRoom, text).advise("use --use-header 0 unless the volume is blank"));
        }
    }
    drop(io);
    let block = new_block(&geometry, &key).map_err(library)?;
    client.prepare(&key, &options, &block, "prepare")?;
    Ok("prepared; nothing is encrypted yet")
}

/// A block with new keys, boundary 0, direction encrypt.
fn new_block(geometry: &Geometry, key: &[u8]) -> VckResult<[u8; BLOCK_SIZE]> {
    new_block_from(geometry, key, &OsRandom)
}

/// The same with a given random source.
pub(crate) fn new_block_from(
    geometry: &Geometry,
    key: &[u8],
    random: &dyn RandomSource,
) -> VckResult<[u8; BLOCK_SIZE]> {
    let (mut key1, mut key2) = (Secret::<32>::zeroed(), Secret::<32>::zeroed());
    random.fill(key1.expose_mut())?;
    random.fill(key2.expose_mut())?;
    let secrets = JvckSecrets { fvek_key1: key1, fvek_key2: key2 };
    let (mut volume_id, mut salt, mut block) = ([0; 16], [0; 16], [0; BLOCK_SIZE]);
    random.fill(&mut volume_id)?;
    random.fill(&mut salt)?;
    let header = JvckHeader::for_new_volume(geometry, volume_id);
    JvckCbcCodec.seal(&header, &secrets, DataSector::ZERO, VolumeState::Encrypt, &salt, key, &mut block)?;
    Ok(block)
}
