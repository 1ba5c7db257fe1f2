//! What a process that dies, a full disk and a read-only directory leave of a store.
//!
//! The process that dies is this test's own program, run again for one test.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::super::index;
use super::*;

const DIR: &str = "FLOWCAST_TEST_REELS";
const KILLS: u64 = 100;

/// What the process that is killed says: it has the store, and one more reel is over.
const OPEN: u8 = b'\n';
const REEL: u8 = b'.';

fn say(byte: u8) {
    io::stdout().write_all(&[byte]).and_then(|()| io::stdout().flush()).expect("somebody reads it");
}

/// The process that is killed: cuts reels as fast as it can, replaces them, and runs out of room all the time.
#[test]
fn cutting_until_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let settings = ReelStore { max_bytes: 1 << 20, ..ReelStore::new(dir.join("reels")) };
    let store = Store::open(&settings).expect("whoever had it was killed");
    assert!(matches!(Store::open(&settings), Err(Error::ReelStoreInUse { .. })));
    io::stdout().write_all(b"open").expect("somebody reads it");
    say(OPEN);
    for n in 0u32.. {
        let source = dir.join("sources").join(format!("{}.mp4", n % 16));
        std::fs::write(&source, n.to_le_bytes()).expect("there is room");
        let script = Script::of(2 + i64::from(n % 5));
        let done = Box::new(|_| {});
        store.prepare_async(&source, what(&script), done);
        let Ok(reel) = prepare(&store, &source, &script) else { continue };
        // Every other one is left to itself, so that some are always on their way.
        if n % 2 == 0 {
            until("the reel is over", || reel.is_complete() || reel.failure().is_some());
            say(REEL);
        }
        if n % 7 == 0 {
            reel.damaged();
        }
    }
}

/// Every complete reel of a directory, by its index alone: each slot has its checksum.
fn verify(dir: &Path) -> usize {
    let names = names(dir);
    let indexes: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".reel")).collect();
    assert_eq!(names.len(), indexes.len() * 2, "{names:?}");
    for key in &indexes {
        let bytes = std::fs::read(dir.join(format!("{key}.reel"))).expect("it is there");
        let index = index::decode(&Bytes::from(bytes)).expect("a complete reel has a whole index");
        let path = dir.join(format!("{key}.flv"));
        let file = std::fs::File::open(&path).expect("a complete reel has its data");
        let reel = Reel::from_index(path, file, index);
        let seconds = i64::try_from(reel.slots() / 10).expect("it is short");
        assert_eq!(read_all(&reel).expect("it is whole"), frames(seconds));
        assert_eq!(reel.facts(), Some(facts(seconds)));
    }
    indexes.len()
}

#[test]
fn a_process_killed_at_any_point_leaves_whole_reels_and_orphans_that_go() {
    let room = Room::new();
    let program = std::env::current_exe().expect("it runs");
    let this = "reel::tests::crash::cutting_until_killed";
    let (mut orphans, mut verified) = (0, 0);
    let mut random = u64::from(std::process::id());
    for _ in 0..KILLS {
        let mut child = Command::new(&program)
            .args(["--exact", this, "--nocapture"])
            .env(DIR, room.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be run again");
        let out = child.stdout.as_mut().expect("it is piped");
        let mut said = Vec::new();
        let mut hear = |ends: &[u8]| {
            while !said.ends_with(ends) {
                let mut byte = [0];
                out.read_exact(&mut byte).expect("it goes on");
                said.extend(byte);
            }
            said.clear();
        };
        hear(&[b"open".as_slice(), &[OPEN]].concat());
        assert!(
            matches!(Store::open(&room.settings()), Err(Error::ReelStoreInUse { .. })),
            "another process has it"
        );
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // However fast the machine is: behind some of its reels, and then at any moment.
        (0..(random >> 62)).for_each(|_| hear(&[REEL]));
        std::thread::sleep(Duration::from_micros((random >> 33) % 10_000));
        child.kill().expect("it runs until then");
        child.wait().expect("it is ours");

        let store = room.open();
        orphans += store.stats().orphans_removed;
        assert!(store.stats().reels < 16);
        assert_eq!(names(&room.settings().dir).len(), store.stats().reels * 2);
        verified += verify(&room.settings().dir);
    }
    assert!(
        orphans > 0 && verified > 0,
        "{orphans} orphans, {verified} reels: the kills came at no interesting time"
    );
}

/// A file system of one megabyte, if we may have one.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).expect("it is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_reel_and_not_those_who_play_it() {
    let room = Room::new();
    let Some(disk) = Small::mount(room.dir.path().join("disk")) else {
        let required = std::env::var_os("FLOWCAST_PEERS").is_some_and(|value| value == "required");
        assert!(!required, "mounting a small file system is not permitted here");
        eprintln!("skipped: mounting a small file system is not permitted here");
        return;
    };
    let sources: Vec<_> = (0..6).map(|n| room.source(&format!("{n}.mp4"), 1000)).collect();
    let store = Store::open(&ReelStore::new(disk.0.join("reels"))).expect("it is ours");
    let reel = prepare(&store, &sources[0], &Script::of(60)).expect("its beginning fits");
    until("the disk is full", || reel.failure().is_some());
    let error = reel.failure().expect("it was just there");
    let Error::ReelStore { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    let seen = read_all(&reel).expect("what is there is whole");
    assert_eq!(seen, frames(60)[..seen.len()]);
    assert!(seen.len() > 500, "{}", seen.len());
    until("nothing is left", || names(&disk.0.join("reels")).is_empty());
    drop(reel);
    // More than the disk holds, one after the other: the oldest make room.
    for source in &sources {
        let reel = prepare(&store, source, &Script::of(8)).expect("it fits alone");
        settled(&store, &reel);
        assert_eq!(read_all(&reel).expect("it is whole"), frames(8));
    }
    let reels = store.stats().reels;
    assert!((1..sources.len()).contains(&reels), "{reels}");
    drop(store);
    assert_eq!(verify(&disk.0.join("reels")), reels);
}

#[test]
fn a_directory_that_is_read_only_still_gives_the_reels_in_it() {
    let room = Room::new();
    let sources = [room.source("a.mp4", 1000), room.source("b.mp4", 1000)];
    let store = room.open();
    let reel = prepare(&store, &sources[0], &Script::of(3)).expect("it is cut");
    settled(&store, &reel);
    drop((reel, store));
    let dir = room.settings().dir;
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    };
    allow(room.dir.path(), 0o755);
    allow(&dir, 0o555);
    let settings = ReelStore { max_bytes: 1000, ..room.settings() };
    let by_somebody_else = std::thread::spawn(move || {
        // Nothing is read-only for root. This thread, and those it starts, are somebody else from here on.
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).expect("root may do so");
        }
        // It has more than it may, and cannot remove anything.
        let store = Store::open(&settings).expect("it can be read");
        let script = Script::of(3);
        let reel = prepare(&store, &sources[0], &script).expect("it is there");
        assert_eq!((script.opened(), read_all(&reel).expect("it is whole")), (0, frames(3)));
        let error = prepare(&store, &sources[1], &script).expect_err("nothing can be written");
        assert!(matches!(&error, Error::ReelStore { .. } | Error::ReelStoreFull { .. }), "{error:?}");
        drop((reel, store));
        let store = Store::open(&ReelStore::new(settings.dir)).expect("it can be read");
        let error = prepare(&store, &sources[1], &script).expect_err("nothing can be written");
        let Error::ReelStore { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
        prepare(&store, &sources[0], &script).expect("it is there");
    });
    let outcome = by_somebody_else.join();
    allow(&dir, 0o755);
    outcome.expect("it went as it should");
    assert_eq!(room.names().len(), 2);
}
