//! Paths: spellings of one volume, things that are no volumes, and requests that the volume's phase does not allow.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{AttachReq, IoctlCode, PrepareReq, VolumeRequest};
use vck_driver_tests::{Bench, Client, Failure, Setup, VMK, WRONG_VMK, default_prepare, sealed_block};
use vck_ntsim::World;
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::DiskConfig;
use vck_ntsim::user::{Access, Share, Token};

const NOT_FOUND: Failure = Failure(NtStatus::OBJECT_NAME_NOT_FOUND);
const TAKEN: Failure = Failure(NtStatus::OBJECT_NAME_COLLISION);
const NOT_NOW: Failure = Failure(NtStatus::INVALID_DEVICE_STATE);
const IN_USE: Failure = Failure(NtStatus::SHARING_VIOLATION);

fn bench() -> Bench {
    Bench::boot(Setup { data_bytes: 1 << 20, ..Setup::default() })
}

/// Every spelling that leads to the bench's volume.
fn spellings() -> Vec<&'static str> {
    vec![
        r"\Device\HarddiskVolume1",
        r"\Device\HarddiskVolume1\",
        r"\Device\HARDDISKVOLUME1",
        r"\??\D:",
        r"\??\d:",
        r"\??\D:\\",
        r"\\.\D:",
        r"\\?\D:\",
        r"\DosDevices\D:",
        "D:",
        r"\\?\HarddiskVolume1",
        r"\\.\Volume{6973746e-2d6d-6f76-6c75-6d652d303000}",
    ]
}

fn prepare(client: &Client<'_>, path: &str, block: &[u8]) -> Result<(), Failure> {
    client.prepare(path, JvckMetadataOptions::default(), &VMK, block).map(|_| ())
}

#[test]
fn one_volume_has_many_spellings_and_is_bound_once() {
    for bound_as in spellings() {
        let bench = bench();
        let client = bench.client();
        prepare(&client, bound_as, &bench.block()).expect("prepares");
        let before = bench.footprint();
        for other in spellings() {
            assert_eq!(prepare(&client, other, &bench.block()), Err(TAKEN), "{bound_as}, then {other}");
            assert_eq!(client.reattach(other, &VMK).err(), Some(TAKEN), "{bound_as}, then {other}");
            assert_eq!(client.attach(other, &VMK), Err(TAKEN), "{bound_as}, then {other}");
            let status = client.status(other).expect("a status");
            assert!(status.attached, "{bound_as}, asked as {other}");
            assert_eq!(status.path, bound_as, "the name of the PREPARE is reported");
        }
        assert_eq!(client.list(), Ok(vec![bound_as.to_owned()]));
        bench.assert_untouched(&before, bound_as);
        client.detach(r"\??\D:").expect("detaches under another spelling");
        assert_eq!(client.detach(bound_as), Err(NOT_FOUND), "twice");
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn a_name_stands_for_one_volume_only() {
    let bench = bench();
    let disk = bench.world.add_disk(DiskConfig::memory(2 << 20));
    let second = bench.world.plug(VolumeConfig::whole(disk).letter('E')).expect("starts");
    let client = bench.client();
    let name = bench.path();
    prepare(&client, &name, &bench.block()).expect("prepares");
    let before = bench.footprint();
    let block = sealed_block(JvckMetadataOptions::default(), 512, 4096, 3);
    let disguised = PrepareReq { nt_device_path: r"\??\E:", ..default_prepare(&name, &block) };
    assert_eq!(client.send(IoctlCode::JvckPrepare, &disguised).err(), Some(TAKEN));
    bench.assert_untouched(&before, "two volumes under one name");
    let honest = PrepareReq { volume_path: "backup disk", ..disguised };
    client.send(IoctlCode::JvckPrepare, &honest).expect("any name will do");
    assert_eq!(client.list(), Ok(vec![name.clone(), "backup disk".to_owned()]));
    assert_eq!(client.status(r"\??\E:").expect("a status").path, "backup disk");
    assert_eq!(client.status("backup disk").expect("a status").path, "backup disk");
    drop(client);
    bench.world.remove(second).expect("removed");
    bench.tear_down();
}

#[test]
fn a_path_to_nothing() {
    let bench = bench();
    let (client, before) = (bench.client(), bench.footprint());
    for path in [r"\??\Q:", r"\Device\HarddiskVolume9", r"\\.\Volume{00000000-0000-0000-0000-000000000000}", "nothing"]
    {
        assert_eq!(prepare(&client, path, &bench.block()), Err(NOT_FOUND), "{path}");
        assert_eq!(client.reattach(path, &VMK).err(), Some(NOT_FOUND), "{path}");
        assert_eq!(client.attach(path, &VMK), Err(NOT_FOUND), "{path}");
        assert_eq!(client.detach(path), Err(NOT_FOUND), "{path}");
        assert_eq!(client.encrypt(path), Err(NOT_FOUND), "{path}");
        assert_eq!(client.decrypt(path), Err(NOT_FOUND), "{path}");
        assert_eq!(client.pause(path), Err(NOT_FOUND), "{path}");
        assert_eq!(client.progress(path).err(), Some(NOT_FOUND), "{path}");
        let status = client.status(path).expect("a status of any path is a success");
        assert_eq!((status.attached, status.path.as_str()), (false, path));
        assert_eq!((status.state, status.boundary, status.total), (0, 0, 0));
    }
    bench.assert_untouched(&before, "paths to nothing");
    drop(client);
    bench.tear_down();
}

#[test]
fn paths_that_are_no_volumes() {
    let bench = bench();
    let (client, before) = (bench.client(), bench.footprint());
    let none = Failure(NtStatus::BAD_DEVICE_TYPE);
    let paths = [
        r"\Device\VolumeCryptKitSample",
        r"\\.\VolumeCryptKitSample",
        r"\??\D:\some file",
        r"\Device\HarddiskVolume1\directory\file",
    ];
    for path in paths {
        assert_eq!(prepare(&client, path, &bench.block()), Err(none), "{path}");
        assert_eq!(client.reattach(path, &VMK).err(), Some(none), "{path}");
        assert_eq!(client.attach(path, &VMK), Err(none), "{path}");
        assert_eq!(client.detach(path), Err(none), "{path}");
        assert!(!client.status(path).expect("a status").attached, "{path}");
    }
    bench.assert_untouched(&before, "paths that are no volumes");
    for path in ["", r"\", r"\\.\", r"\??\", r"\Device\", "\u{0}", "a\u{0}b"] {
        let answer = prepare(&client, path, &bench.block());
        assert!(matches!(answer, Err(Failure(status)) if status.is_error()), "{path:?}: {answer:?}");
        assert!(!client.status(path).expect("a status").attached, "{path:?}");
    }
    let long = "x".repeat(4096);
    assert!(prepare(&client, &long, &bench.block()).is_err());
    assert_eq!(client.status(&long).expect("a status").path, long);
    bench.assert_untouched(&before, "odd paths");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_volume_that_was_there_before_the_driver_has_no_filter() {
    let world = World::boot(3);
    let disk = world.add_disk(DiskConfig::memory(2 << 20));
    world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    let config = DriverConfig {
        service: "VolumeCryptKitSample",
        entry: vck_sample_driver::DriverEntry,
        filter: FilterPosition::VolumeLower,
    };
    world.load_driver(config).expect("loads");
    let before = (world.pool_blocks(), world.live_irps());
    let client = Client::open(&world.user(Token::administrator()), Access::READ_WRITE).expect("opens");
    let block = sealed_block(JvckMetadataOptions::default(), 512, 4096, 3);
    assert_eq!(prepare(&client, r"\??\D:", &block), Err(Failure(NtStatus::NOT_SUPPORTED)));
    assert!(!client.status(r"\??\D:").expect("a status").attached);
    drop(client);
    world.assert_clean();
    assert_eq!((world.pool_blocks(), world.live_irps()), before);
    assert_eq!(world.disk(disk).peek(0, 4096), vec![0; 2 << 20]);
}

#[test]
fn requests_about_a_volume_that_is_not_attached() {
    let bench = bench();
    let (client, path, before) = (bench.client(), bench.path(), bench.footprint());
    assert_eq!(client.attach(&path, &VMK), Err(NOT_FOUND));
    assert_eq!(client.detach(&path), Err(NOT_FOUND));
    assert_eq!(client.encrypt(&path), Err(NOT_FOUND));
    assert_eq!(client.decrypt(&path), Err(NOT_FOUND));
    assert_eq!(client.pause(&path), Err(NOT_FOUND));
    assert_eq!(client.progress(&path).err(), Some(NOT_FOUND));
    assert_eq!(client.list(), Ok(Vec::new()));
    bench.assert_untouched(&before, "a volume that is not attached");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_provisional_volume_waits_for_its_key() {
    for with_block in [true, false] {
        let bench = bench();
        let (client, path) = (bench.client(), bench.path());
        let block = if with_block { bench.block() } else { Vec::new() };
        let prepared = client.prepare(&path, JvckMetadataOptions::default(), &[], &block).expect("prepares");
        assert!(!prepared.complete);
        let before = bench.footprint();
        assert_eq!(client.encrypt(&path), Err(NOT_NOW));
        assert_eq!(client.decrypt(&path), Err(NOT_NOW));
        assert_eq!(client.pause(&path), Err(NOT_NOW));
        assert_eq!(client.progress(&path), Ok((0, 0, String::new())));
        assert_eq!(prepare(&client, &path, &bench.block()), Err(TAKEN));
        let wrong = if with_block { NtStatus::WRONG_PASSWORD } else { NtStatus::NOT_FOUND };
        assert_eq!(client.attach(&path, &WRONG_VMK), Err(Failure(wrong)));
        bench.assert_untouched(&before, "a provisional volume");
        if with_block {
            client.attach(&path, &VMK).expect("the right key");
            assert_eq!(client.attach(&path, &VMK), Err(TAKEN), "twice");
            client.encrypt(&path).expect("starts");
            assert_eq!(client.wait_until_idle(&path), Ok(0));
        }
        client.detach(&path).expect("detaches");
        assert_eq!(client.detach(&path), Err(NOT_FOUND), "twice");
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn an_attach_may_name_another_layout_but_not_another_volume() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    client.prepare(&path, JvckMetadataOptions::default(), &[], &bench.block()).expect("prepares");
    // What ATTACH states about the layout is not used, and its second path only helps to open the first.
    let request = AttachReq {
        volume_path: "anything",
        vmk: &VMK,
        use_header: 9,
        use_footer: 9,
        metadata_size: 1,
        nt_device_path: r"\??\D:",
        raw_partition_path: r"\Device\Harddisk9\Partition9",
    };
    client.send(IoctlCode::JvckAttach, &request).expect("attaches");
    assert_eq!(client.status(&path).expect("a status").total, bench.data_sectors());
    drop(client);
    bench.tear_down();
}

#[test]
fn a_provisional_layout_that_the_metadata_contradicts() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    client.detach(&path).expect("detaches");
    let other = JvckMetadataOptions { use_footer: 1, ..JvckMetadataOptions::default() };
    let before = bench.footprint();
    let answer = client.prepare(&path, other, &[], &[]);
    assert_eq!(answer, Err(Failure(NtStatus::INVALID_PARAMETER_MIX)), "the volume's own metadata says otherwise");
    bench.assert_untouched(&before, "another layout");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_volume_in_use_is_neither_detached_nor_bound() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    prepare(&client, &path, &bench.block()).expect("prepares");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    let before = bench.footprint();
    let file = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    assert_eq!(client.detach(&path), Err(IN_USE));
    drop(file);
    let owner = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
    owner.lock().expect("alone");
    assert_eq!(client.detach(&path), Err(IN_USE), "another program holds the lock");
    drop(owner);
    bench.assert_untouched(&before, "detach of a volume in use");
    assert!(client.status(&path).expect("a status").attached, "it stays attached");
    assert_eq!(client.list(), Ok(vec![path.clone()]), "and known");
    client.detach(&path).expect("nobody uses it");

    let before = bench.footprint();
    let file = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    assert_eq!(client.reattach(&path, &VMK).err(), Some(IN_USE), "it would change under the file's feet");
    drop(file);
    bench.assert_untouched(&before, "re-attach of a volume in use");
    client.reattach(&path, &VMK).expect("nobody uses it");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_paging_file_keeps_a_volume_attached() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    prepare(&client, &path, &bench.block()).expect("prepares");
    bench.world.fs(bench.volume).set_paging_file(true).expect("mounted");
    let before = bench.footprint();
    assert!(client.detach(&path).is_err());
    client.raw(IoctlCode::DetachAllVolumes.code(), &[], 0).expect("failures are logged alone");
    bench.assert_untouched(&before, "a paging file");
    assert!(client.status(&path).expect("a status").attached);
    bench.world.fs(bench.volume).set_paging_file(false).expect("mounted");
    client.raw(IoctlCode::DetachAllVolumes.code(), &[], 0).expect("detaches");
    assert!(!client.status(&path).expect("a status").attached);
    drop(client);
    bench.tear_down();
}

#[test]
fn the_running_system_is_not_encrypted_whatever_it_was_prepared_as() {
    for is_os_volume in [false, true] {
        let bench = bench();
        bench.world.set_system_root(bench.volume);
        let (client, path) = (bench.client(), bench.path());
        let block = bench.block();
        client
            .send(IoctlCode::JvckPrepare, &PrepareReq { is_os_volume, ..default_prepare(&path, &block) })
            .expect("prepares");
        let before = bench.footprint();
        assert_eq!(client.encrypt(&path), Err(Failure(NtStatus::NOT_SUPPORTED)));
        bench.assert_untouched(&before, "encryption of the running system");
        client.decrypt(&path).expect("nothing is encrypted");
        client.detach(&path).expect("detaches");
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn with_the_system_on_another_volume_a_data_volume_is_encrypted() {
    let bench = bench();
    let disk = bench.world.add_disk(DiskConfig::memory(1 << 20));
    let other = bench.world.plug(VolumeConfig::whole(disk).letter('C')).expect("starts");
    bench.world.set_system_root(other);
    let (client, path) = (bench.client(), bench.path());
    client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    drop(client);
    bench.world.remove(other).expect("removed");
    bench.tear_down();
}

#[test]
fn an_os_volume_is_detached_only_when_it_is_plain() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    let block = bench.block();
    let request = PrepareReq { is_os_volume: true, ..default_prepare(&path, &block) };
    client.send(IoctlCode::JvckPrepare, &request).expect("prepares");
    client.send(IoctlCode::StartEncrypt, &VolumeRequest { volume_path: &path }).expect("starts");
    client.raw(IoctlCode::PauseOsVolume.code(), &[], 0).expect("pauses");
    let (state, ..) = client.progress(&path).expect("progress");
    assert!(state == 3 || state == 0, "paused, or at its end already");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    let before = bench.footprint();
    assert_eq!(client.detach(&path), Err(NOT_NOW));
    client.raw(IoctlCode::DetachAllVolumes.code(), &[], 0).expect("leaves it alone");
    assert!(client.status(&path).expect("a status").attached);
    bench.assert_untouched(&before, "detach of an encrypted OS volume");
    client.decrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    client.detach(&path).expect("it is plain");
    drop(client);
    bench.tear_down();
}
