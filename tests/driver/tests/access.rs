//! Who may do what: the control device's security, the access bits of the codes, and the policy behind them.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{BenchResp, IoctlCode, decode_response};
use vck_driver_tests::{Bench, CONTROL, Client, Failure, Setup, VMK};
use vck_ntsim::user::{Access, Share, Token};

const ROOM: usize = 4096;
const DENIED: Failure = Failure(NtStatus::ACCESS_DENIED);
const EXECUTE: Access = Access(0x2010_0000);

fn prepared() -> Bench {
    let bench = Bench::boot(Setup { data_bytes: 1 << 20, ..Setup::default() });
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    drop(client);
    bench
}

fn may_open(bench: &Bench, token: Token, path: &str, access: Access) -> bool {
    let opened = bench.world.user(token).open(path, access, Share::ALL);
    if let Err(status) = opened {
        assert_eq!(NtStatus(status), NtStatus::ACCESS_DENIED);
    }
    bench.world.assert_clean();
    opened.is_ok()
}

#[test]
fn the_descriptor_holds_for_the_device_and_for_names_below_it() {
    let bench = prepared();
    for path in [CONTROL.to_owned(), format!(r"{CONTROL}\below"), r"\Device\VolumeCryptKitSample".to_owned()] {
        for access in
            [Access::READ, EXECUTE, Access::WRITE, Access::READ_WRITE, Access(0x0004_0000), Access(0x1000_0000)]
        {
            assert!(may_open(&bench, Token::system(), &path, access), "system, {path}, {access:?}");
            assert!(may_open(&bench, Token::administrator(), &path, access), "administrator, {path}, {access:?}");
            let reading = access == Access::READ || access == EXECUTE;
            assert_eq!(may_open(&bench, Token::user(), &path, access), reading, "user, {path}, {access:?}");
            assert!(!may_open(&bench, Token::restricted(), &path, access), "restricted, {path}, {access:?}");
        }
    }
    bench.tear_down();
}

#[test]
fn write_codes_need_a_write_handle_and_never_reach_the_driver() {
    let bench = prepared();
    let before = bench.footprint();
    for token in [Token::user(), Token::administrator(), Token::system()] {
        let reader = Client::open(&bench.world.user(token), Access::READ).expect("everybody may open for reading");
        let logged = bench.world.log().len();
        for code in IoctlCode::ALL.iter().filter(|code| code.code() & 0xC000 == 0x8000) {
            assert_eq!(reader.raw(code.code(), &[0x80], ROOM), Err(DENIED), "{code:?}");
        }
        assert_eq!(bench.world.log().len(), logged, "the driver saw a request");
        drop(reader);
    }
    bench.assert_untouched(&before, "write codes through a read handle");
    // A handle with other rights than reading is no way round.
    let executor = Client::open(&bench.world.user(Token::user()), EXECUTE).expect("granted by the descriptor");
    for code in IoctlCode::ALL {
        assert_eq!(executor.raw(code.code(), &[0x80], ROOM), Err(DENIED), "{code:?}");
    }
    drop(executor);
    bench.tear_down();
}

#[test]
fn ordinary_users_see_state_and_progress_of_known_names_only() {
    let bench = prepared();
    let path = bench.path();
    let before = bench.footprint();
    let user = Client::open(&bench.world.user(Token::user()), Access::READ).expect("opens");
    let status = user.status(&path).expect("a status");
    assert!(status.attached);
    assert_eq!(status.total, bench.data_sectors());
    assert_eq!(user.progress(&path), Ok((0, 0, String::new())));
    // The volume's device name is known too; what only an open could find out is not found out.
    for other in [r"\??\D:", r"\\.\D:", "D:", r"\\?\HarddiskVolume1", r"\Device\VolumeCryptKitSample", r"\??\Q:"] {
        let status = user.status(other).expect("a status of any path is a success");
        assert_eq!((status.attached, status.path.as_str(), status.total), (false, other, 0));
        assert_eq!(user.progress(other).err(), Some(Failure(NtStatus::OBJECT_NAME_NOT_FOUND)), "{other}");
    }
    bench.assert_untouched(&before, "queries of an ordinary user");
    assert!(bench.client().status(r"\??\D:").expect("a status").attached, "an administrator's spelling is resolved");
    drop(user);
    bench.tear_down();
}

#[test]
fn the_driver_opens_nothing_for_an_ordinary_user() {
    let bench = Bench::boot(Setup { data_bytes: 1 << 20, ..Setup::default() });
    let disk = bench.world.disk(bench.disk);
    let user = Client::open(&bench.world.user(Token::user()), Access::READ).expect("opens");
    disk.clear_log();
    for path in [r"\??\D:", r"\Device\HarddiskVolume1", r"\??\D:\pagefile.sys"] {
        assert!(!user.status(path).expect("a status").attached, "{path}");
        assert!(user.progress(path).is_err(), "{path}");
    }
    assert!(disk.log().is_empty(), "the disk was touched");
    let mounted = bench.admin().open(r"\??\D:", Access::ATTRIBUTES, Share::ALL).expect("opens");
    drop(mounted);
    drop(user);
    bench.tear_down();
}

#[test]
fn the_policy_comes_first_for_known_and_unknown_codes() {
    let bench = prepared();
    let before = bench.footprint();
    let user = Client::open(&bench.world.user(Token::user()), Access::READ).expect("opens");
    for code in [IoctlCode::ListVolumes, IoctlCode::BenchAes] {
        assert_eq!(user.raw(code.code(), &[0x80], ROOM), Err(DENIED), "{code:?}");
        assert_eq!(
            user.raw(code.code(), &[0xC1], 0),
            Err(DENIED),
            "{code:?}, before its message and room are looked at"
        );
    }
    for code in [0x0022_6030, 0x0022_6FFC, 0x0022_2000, 0x0022_0000, 0x0007_0000] {
        assert_eq!(user.raw(code, &[0xC1; 100], ROOM), Err(DENIED), "{code:#x}");
    }
    bench.assert_untouched(&before, "refused by policy");
    for token in [Token::administrator(), Token::system()] {
        let client = Client::open(&bench.world.user(token), Access::READ_WRITE).expect("opens");
        assert_eq!(client.list(), Ok(vec![bench.path()]));
        let unknown = Failure(NtStatus::INVALID_DEVICE_REQUEST);
        assert_eq!(client.raw(0x0022_6030, &[0xC1; 100], ROOM), Err(unknown));
        let size = b"\x81\xAAsize_bytes\x01";
        let answer = client.raw(IoctlCode::BenchAes.code(), size, ROOM).expect("a benchmark of a MiB");
        assert_eq!(answer.first(), Some(&0x83));
        let compared = b"\x82\xAAsize_bytes\x01\xA7compare\xC3";
        let answer = client.raw(IoctlCode::BenchAes.code(), compared, ROOM).expect("a comparison");
        let answer: BenchResp<'_> = decode_response(&answer).expect("an answer");
        assert_eq!((answer.size_bytes, answer.kernel.is_empty()), (1 << 20, false));
        // Room for what others ask is not room for this.
        let small = client.raw(IoctlCode::BenchAes.code(), compared, BenchResp::MAX_LEN);
        assert_eq!(small, Err(Failure(NtStatus::BUFFER_TOO_SMALL)));
        client.raw(IoctlCode::BenchAes.code(), size, BenchResp::MAX_LEN).expect("a benchmark of a MiB");
        client.encrypt(&bench.path()).expect("starts");
        assert_eq!(client.wait_until_idle(&bench.path()), Ok(0));
    }
    drop(user);
    bench.tear_down();
}

#[test]
fn a_read_handle_serves_an_administrator_s_queries() {
    let bench = prepared();
    let reader = Client::open(&bench.admin(), Access::READ).expect("opens");
    assert_eq!(reader.list(), Ok(vec![bench.path()]));
    assert!(reader.status(r"\??\D:").expect("a status").attached);
    assert_eq!(reader.detach(&bench.path()), Err(DENIED));
    drop(reader);
    bench.tear_down();
}
