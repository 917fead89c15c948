//! Which bytes of a volume can be reached, by whom, and how large the volume says it is.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, FOOTERS, RawIo, RawMdl, RawReply, Setup, VMK, sealed_block};
use vck_ntsim::user::{Access, Share};

const DATA: u64 = 1 << 20;
const INVALID: NtStatus = NtStatus::INVALID_PARAMETER;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;

/// How the volume is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Provisional,
    Plain,
    Encrypted,
}

fn bound(phase: Phase, sector_size: u32, hostile: bool) -> Bench {
    let setup = Setup { data_bytes: DATA, sector_size, hostile, force_pending: hostile, ..Setup::default() };
    let bench = Bench::boot(setup);
    let (client, path) = (bench.client(), bench.path());
    let vmk: &[u8] = if phase == Phase::Provisional { &[] } else { &VMK };
    client.prepare(&path, JvckMetadataOptions::default(), vmk, &bench.block()).expect("prepares");
    if phase == Phase::Encrypted {
        client.encrypt(&path).expect("starts");
        assert_eq!(client.wait_until_idle(&path), Ok(0));
    }
    drop(client);
    bench
}

fn every_bench(mut check: impl FnMut(&Bench, u64)) {
    for phase in [Phase::Provisional, Phase::Plain, Phase::Encrypted] {
        for (sector_size, hostile) in [(512, false), (4096, false), (512, true)] {
            let bench = bound(phase, sector_size, hostile);
            check(&bench, u64::from(sector_size));
            bench.tear_down();
        }
    }
}

fn at(offset: u64) -> i64 {
    i64::try_from(offset).expect("an offset")
}

fn size(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a length")
}

/// Sends the request as READ and WRITE, from user mode, kernel mode and the pager, and asserts statuses; nothing may happen.
fn refused(bench: &Bench, offset: i64, length: u32, user: NtStatus, kernel: NtStatus) {
    let disk = bench.world.disk(bench.disk);
    let reached = disk.log().len();
    for request in [RawIo::read(offset, length), RawIo::write(offset, length, 0xAB)] {
        for (sent, expected) in [(request, kernel), (request.paging(), kernel), (request.from_user(), user)] {
            let reply = bench.send_raw(sent);
            assert_eq!((reply.status, reply.information), (expected, 0), "{sent:?}");
            assert!(reply.data.iter().all(|byte| *byte == sent.fill), "{sent:?} changed its buffer");
        }
    }
    assert_eq!(disk.log().len(), reached, "a request for {offset:#x}+{length:#x} reached the disk");
}

#[test]
fn requests_that_leave_the_data_region_are_refused_as_a_whole() {
    every_bench(|bench, sector| {
        let before = bench.footprint();
        let end = DATA + FOOTERS;
        // Across the end, behind it, into the last metadata block, and from one end to the other.
        refused(bench, at(DATA - sector), size(2 * sector), DENIED, INVALID);
        refused(bench, at(DATA), size(sector), DENIED, INVALID);
        refused(bench, at(end - sector), size(sector), DENIED, INVALID);
        refused(bench, at(end - sector), size(2 * sector), DENIED, INVALID);
        refused(bench, 0, size(DATA + sector), DENIED, INVALID);
        refused(bench, 0, u32::MAX - size(sector) + 1, DENIED, INVALID);
        refused(bench, at(DATA + sector), 0, DENIED, INVALID);
        // Outside the volume there is no metadata to protect.
        refused(bench, at(end), size(sector), INVALID, INVALID);
        refused(bench, 1 << 40, size(sector), INVALID, INVALID);
        refused(bench, i64::MAX - at(sector) + 1, size(sector), INVALID, INVALID);
        refused(bench, i64::MIN, size(sector), INVALID, INVALID);
        refused(bench, -at(sector), size(sector), INVALID, INVALID);
        refused(bench, -at(sector), size(2 * sector), INVALID, INVALID);
        refused(bench, -4096, size(1 << 20), INVALID, INVALID);
        // "Write to end of file" and "use file pointer position" mean nothing to a volume.
        refused(bench, -1, size(sector), INVALID, INVALID);
        refused(bench, -2, size(sector), INVALID, INVALID);
        bench.assert_untouched(&before, "requests outside the data region");
    });
}

#[test]
fn misaligned_requests_are_refused() {
    every_bench(|bench, sector| {
        let before = bench.footprint();
        for (offset, length) in
            [(1, sector), (sector / 2, sector), (0, 1), (0, sector - 1), (0, sector + 1), (4096, 511)]
        {
            refused(bench, at(offset), size(length), INVALID, INVALID);
        }
        refused(bench, at(DATA - 1), size(sector), INVALID, INVALID);
        refused(bench, at(DATA + FOOTERS - 1), 1, INVALID, INVALID);
        refused(bench, 1, 0, INVALID, INVALID);
        bench.assert_untouched(&before, "misaligned requests");
    });
}

#[test]
fn nothing_is_read_and_written_with_success() {
    every_bench(|bench, sector| {
        let before = bench.footprint();
        for offset in [0, sector, DATA - sector, DATA] {
            for request in [RawIo::read(at(offset), 0), RawIo::write(at(offset), 0, 1)] {
                for request in [request, request.from_user(), request.described(RawMdl::Missing)] {
                    let expected = RawReply { status: NtStatus::SUCCESS, information: 0, data: Vec::new() };
                    assert_eq!(bench.send_raw(request), expected, "{request:?}");
                }
            }
        }
        bench.assert_untouched(&before, "empty requests");
    });
}

#[test]
fn buffers_must_cover_the_request_in_one_piece() {
    every_bench(|bench, _| {
        let before = bench.footprint();
        let reached = bench.world.disk(bench.disk).log().len();
        for mdl in [RawMdl::Missing, RawMdl::Short, RawMdl::Chained] {
            for request in [RawIo::read(8192, 16_384), RawIo::write(8192, 16_384, 5)] {
                for request in [request.described(mdl), request.described(mdl).from_user().paging()] {
                    let reply = bench.send_raw(request);
                    assert_eq!((reply.status, reply.information), (INVALID, 0), "{request:?}");
                }
            }
        }
        assert_eq!(bench.world.disk(bench.disk).log().len(), reached);
        bench.assert_untouched(&before, "buffers that do not cover the request");
        let long = RawIo::write(8192, 16_384, 5).described(RawMdl::Long);
        assert_eq!(bench.send_raw(long).information, 16_384, "more than the request is no harm");
        let read = bench.send_raw(RawIo::read(8192, 16_384).described(RawMdl::Long));
        assert_eq!((read.status, read.data), (NtStatus::SUCCESS, vec![5; 16_384]));
    });
}

#[test]
fn every_sector_of_the_data_region_can_be_reached() {
    every_bench(|bench, sector| {
        let last = DATA - sector;
        for (offset, length) in
            [(0, sector), (last, sector), (DATA - 3 * sector, 3 * sector), (4096, 65_536), (0, DATA)]
        {
            let fill = u8::try_from(length / 512 % 251).expect("a byte") | 1;
            for request in [
                RawIo::write(at(offset), size(length), fill),
                RawIo::write(at(offset), size(length), fill ^ 7).from_user(),
            ] {
                let reply = bench.send_raw(request);
                assert_eq!((reply.status, reply.information), (NtStatus::SUCCESS, length), "{request:?}");
                let read = bench.send_raw(RawIo::read(at(offset), size(length)));
                assert_eq!((read.status, read.information), (NtStatus::SUCCESS, length));
                assert!(read.data.iter().all(|byte| *byte == request.fill), "{request:?}");
            }
        }
    });
}

#[test]
fn the_pager_cannot_reach_metadata_through_a_file_system_that_is_too_large() {
    let bench = Bench::boot(Setup { data_bytes: DATA, ..Setup::default() });
    // Mounted before the PREPARE, so that it believes in the full size.
    let fs = bench.world.fs(bench.volume);
    assert_eq!(fs.length(), Ok(DATA + FOOTERS));
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    let before = bench.footprint();
    let fs = bench.world.fs(bench.volume);
    for offset in [DATA, DATA + 100, DATA + FOOTERS - 512] {
        assert_eq!(fs.read(offset, 16).map_err(NtStatus), Err(INVALID));
        assert_eq!(fs.write(offset, &[1; 16]).map_err(NtStatus), Err(INVALID));
    }
    let handle = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    assert_eq!(handle.read(DATA, 512).map_err(NtStatus), Err(DENIED));
    assert_eq!(handle.read(DATA - 512, 1024).map_err(NtStatus), Err(DENIED));
    assert_eq!(handle.read(DATA - 512, 512).map_err(NtStatus), Ok(vec![0; 512]));
    drop(handle);
    bench.assert_untouched(&before, "paging I/O behind the data region");
    drop(client);
    bench.tear_down();
}

/// Code, bytes of the answer, offset of the length in it.
const SIZE_QUERIES: [(u32, usize, usize); 3] = [(0x0007_405C, 8, 0), (0x0007_4004, 32, 8), (0x0007_0048, 144, 16)];

fn sizes(bench: &Bench) -> Vec<u64> {
    let handle = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    let size = |(code, room, field): (u32, usize, usize)| {
        let answer = handle.ioctl(code, &[], room).expect("answers");
        assert_eq!(answer.len(), room, "{code:#x}");
        let short = handle.ioctl(code, &[], room - 1).map_err(NtStatus);
        assert_eq!(short, Err(NtStatus::BUFFER_TOO_SMALL), "{code:#x}");
        u64::from_le_bytes(answer[field..field + 8].try_into().expect("eight bytes"))
    };
    SIZE_QUERIES.into_iter().map(size).collect()
}

#[test]
fn size_queries_hide_the_metadata_while_the_volume_is_bound() {
    for sector_size in [512, 4096] {
        let bench = Bench::boot(Setup { data_bytes: DATA, sector_size, ..Setup::default() });
        let (client, path) = (bench.client(), bench.path());
        let geometry = |bench: &Bench| {
            let handle = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
            (handle.ioctl(0x0007_0000, &[], 24), handle.ioctl(0x0056_0000, &[], 32))
        };
        let told = geometry(&bench);
        assert_eq!(sizes(&bench), [DATA + FOOTERS; 3], "unbound");
        client.prepare(&path, JvckMetadataOptions::default(), &[], &bench.block()).expect("prepares");
        assert_eq!(sizes(&bench), [DATA; 3], "provisional");
        client.attach(&path, &VMK).expect("attaches");
        assert_eq!(sizes(&bench), [DATA; 3], "complete");
        client.encrypt(&path).expect("starts");
        assert_eq!(client.wait_until_idle(&path), Ok(0));
        assert_eq!(sizes(&bench), [DATA; 3], "encrypted");
        assert_eq!(geometry(&bench), told, "geometry and extents stay true");
        client.detach(&path).expect("detaches");
        assert_eq!(sizes(&bench), [DATA + FOOTERS; 3], "unbound again");
        drop(client);
        bench.tear_down();
    }
}

/// Controls that would pass by the cipher, or part the volume from its metadata, from the public headers.
const REFUSED: [(u32, &str); 15] = [
    (0x002D_9404, "STORAGE_MANAGE_DATA_SET_ATTRIBUTES"),
    (0x002D_08C0, "STORAGE_MANAGE_BYPASS_IO"),
    (0x0056_402E, "VOLUME_READ_PLEX"),
    (0x0007_C018, "DISK_FORMAT_TRACKS"),
    (0x0007_C02C, "DISK_FORMAT_TRACKS_EX"),
    (0x0007_C064, "DISK_COPY_DATA"),
    RESIZING[0],
    RESIZING[1],
    (0x0007_C01C, "DISK_REASSIGN_BLOCKS"),
    (0x0007_C0A4, "DISK_REASSIGN_BLOCKS_EX"),
    (0x0004_D004, "SCSI_PASS_THROUGH"),
    (0x0004_D014, "SCSI_PASS_THROUGH_DIRECT"),
    (0x0004_D008, "SCSI_MINIPORT"),
    (0x0004_D02C, "ATA_PASS_THROUGH"),
    (0x0004_D030, "ATA_PASS_THROUGH_DIRECT"),
];

/// Those of them that tell a volume of a new size.
const RESIZING: [(u32, &str); 2] = [(0x0007_C0D0, "DISK_GROW_PARTITION"), (0x0056_C05C, "VOLUME_PREPARE_FOR_SHRINK")];

/// TRIM of the whole volume.
fn trim() -> Vec<u8> {
    [28_u32, 1, 1, 0, 0, 28, 0].into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn controls_that_pass_by_the_cipher_are_refused_on_a_bound_volume() {
    for phase in [Phase::Provisional, Phase::Plain, Phase::Encrypted] {
        let bench = bound(phase, 512, false);
        let before = bench.footprint();
        let handle = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
        for (code, name) in REFUSED {
            let reply = handle.ioctl_raw(code, &trim(), 64);
            assert_eq!((NtStatus(reply.status), reply.information), (NtStatus::NOT_SUPPORTED, 0), "{name}, {phase:?}");
        }
        // Unknown controls are the drivers' below.
        for code in [0x0007_4CCC, 0x002D_1400, 0x004D_0008, 0x0053_C000] {
            let unbound = NtStatus(handle.ioctl_raw(code, &[], 64).status);
            assert_ne!(unbound, NtStatus::NOT_SUPPORTED, "{code:#x}");
        }
        drop(handle);
        bench.assert_untouched(&before, "refused controls");
        bench.client().detach(&bench.path()).expect("detaches");
        let handle = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
        assert_eq!(handle.ioctl_raw(0x002D_9404, &trim(), 64).status, 0, "an unbound volume takes TRIM");
        // The simulated device knows none of these, and says so otherwise than the filter.
        for (code, name) in RESIZING {
            let unbound = NtStatus(handle.ioctl_raw(code, &[], 64).status);
            assert_ne!(unbound, NtStatus::NOT_SUPPORTED, "{name} passes an unbound filter");
        }
        drop(handle);
        bench.tear_down();
    }
}

#[test]
fn header_replicas_shift_every_request() {
    for (sector_size, headers) in [(512, 1), (512, 2), (4096, 2)] {
        let bench = Bench::boot(Setup { data_bytes: DATA, sector_size, ..Setup::default() });
        assert_eq!(bench.world.fs(bench.volume).length(), Ok(DATA + FOOTERS), "mounted before");
        let (client, path) = (bench.client(), bench.path());
        let options = JvckMetadataOptions { use_header: headers, use_footer: 1, metadata_size: 131_072 };
        let shift = u64::from(headers) * 131_072;
        let data = DATA + FOOTERS - shift - 131_072;
        let sectors = (DATA + FOOTERS) / u64::from(sector_size);
        let block = sealed_block(options, sector_size, sectors, 3);
        let prepared = client.prepare(&path, options, &VMK, &block).expect("a blank volume");
        assert_eq!((prepared.offset, prepared.data), (shift / u64::from(sector_size), data / u64::from(sector_size)));
        assert_eq!(sizes(&bench), [data; 3]);
        assert_eq!(bench.world.fs(bench.volume).length(), Ok(data), "the file system mounted again on what it sees");
        let image = bench.image();
        let (from, to) = (usize::try_from(shift).expect("small"), usize::try_from(shift + data).expect("small"));
        assert_eq!(image[..512], block[..], "the block is at the start");
        for encrypted in [false, true] {
            let before = bench.image();
            assert_eq!(bench.send_raw(RawIo::write(0, 4096, 0x11).from_user()).status, NtStatus::SUCCESS);
            let last = at(data) - 4096;
            assert_eq!(bench.send_raw(RawIo::write(last, 4096, 0x22)).status, NtStatus::SUCCESS);
            assert_eq!(bench.send_raw(RawIo::write(at(data), 4096, 0x33).from_user()).status, DENIED);
            assert_eq!(bench.send_raw(RawIo::write(last, 8192, 0x33)).status, INVALID);
            assert_eq!(bench.send_raw(RawIo::write(-4096, 4096, 0x33)).status, INVALID, "backwards into the header");
            assert_eq!(bench.send_raw(RawIo::read(0, 4096)).data, [0x11; 4096]);
            assert_eq!(bench.send_raw(RawIo::read(last, 4096)).data, [0x22; 4096]);
            let image = bench.image();
            assert_eq!(image[from..from + 4096] == [0x11; 4096], !encrypted);
            assert_eq!(image[to - 4096..to] == [0x22; 4096], !encrypted);
            assert!(image[..from] == before[..from] && image[to..] == before[to..], "metadata belongs to nobody above");
            client.encrypt(&path).expect("starts");
            assert_eq!(client.wait_until_idle(&path), Ok(0));
        }
        client.detach(&path).expect("detaches");
        client.reattach(&path, &VMK).expect("attaches");
        assert_eq!(bench.send_raw(RawIo::read(0, 4096)).data, [0x11; 4096]);
        client.decrypt(&path).expect("starts");
        assert_eq!(client.wait_until_idle(&path), Ok(0));
        client.detach(&path).expect("detaches");
        let image = bench.image();
        assert!(image[from..from + 4096] == [0x11; 4096] && image[to - 4096..to] == [0x22; 4096]);
        drop(client);
        bench.tear_down();
    }
}
