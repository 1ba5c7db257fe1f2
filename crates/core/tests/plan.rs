//! The plan of the house: which room may use which.
//!
//! A room is a file or a folder of `src`. The table lists them from the ground up, and each may use only rooms that stand below
//! it, so there is no circle. What is not in the table is not permitted, and what is not used does not stay in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, from the ground up, and the rooms each may use.
const PLAN: &[(&str, &str)] = &[
    ("sys", ""),
    ("pool", ""),
    ("id", ""),
    ("tracks", ""),
    ("bit_rate", ""),
    ("machine", ""),
    ("fence", ""),
    ("settings", ""),
    ("words", ""),
    ("written", ""),
    ("verdict", "bit_rate words"),
    ("error", "bit_rate id verdict words"),
    ("loudness", "error settings"),
    ("sound_format", "error words"),
    ("admission", "bit_rate error settings written"),
    ("stats", "bit_rate error id words"),
    ("event", "admission bit_rate error id loudness stats sys verdict"),
    ("adapt", "bit_rate error id settings stats words written"),
    ("overlay", "error settings words written"),
    ("limiter", "admission error settings"),
    ("config", "adapt admission error limiter settings written"),
    ("net", "config error sys"),
    ("fetch", "config error net"),
    ("ring", "config error pool"),
    ("thumbnail", "error ring settings sys"),
    ("content", "error event stats sys thumbnail"),
    ("clock", "event ring"),
    ("driver", "error event id pool ring stats"),
    ("playlist", "error id net words written"),
    ("fragment", "error net playlist settings sys words written"),
    ("scan", "bit_rate clock error settings tracks verdict"),
    ("ears", "error event loudness scan sys"),
    ("mix", "ears error event id loudness playlist settings sound_format sys written"),
    (
        "transcode",
        "adapt admission bit_rate clock content ears error event loudness mix overlay scan settings stats sys tracks verdict words written",
    ),
    ("lap", "clock config error event scan tracks transcode"),
    ("reel", "config error event lap loudness pool sys tracks transcode"),
    ("files", "error playlist reel sys"),
    ("recorded", "files"),
    (
        "playout",
        "adapt clock config driver error event files fragment id lap playlist pool reel ring stats sys tracks transcode",
    ),
    ("prepare", "bit_rate error event files lap scan sys tracks transcode verdict words"),
    ("health", "config error event id stats words"),
    ("usage", "config error event id net stats sys words written"),
    ("standby", "content driver error event ring settings stats sys words written"),
    (
        "stream",
        "adapt admission bit_rate clock config content driver error event fence files health id limiter machine mix net overlay pool recorded reel ring standby stats sys thumbnail usage",
    ),
    (
        "publish",
        "adapt clock config content driver error event id lap mix pool ring stats stream sys tracks transcode",
    ),
    ("frames", "clock driver error lap publish sound_format stats sys tracks transcode words"),
    ("pull", "clock config driver error event fetch lap net publish scan stats stream sys tracks written"),
    ("keys", "bit_rate error net stats stream words"),
    (
        "source",
        "admission bit_rate config content driver error files fragment frames loudness mix net overlay playlist playout publish pull sound_format standby stream sys tracks transcode verdict written",
    ),
    (
        "output",
        "adapt admission clock config driver error event fetch files id net recorded reel ring settings stats stream sys thumbnail tracks words written",
    ),
    ("monitor", "config error event id machine stats stream sys"),
    ("spec", "error output settings source stream written"),
    ("schedule", "error event id settings spec stream sys words written"),
    ("state", "error id output playlist schedule settings source spec stats stream sys words written"),
    (
        "engine",
        "admission config driver error event fence files frames health id keys limiter monitor net output playlist publish reel schedule source spec state stats stream sys usage",
    ),
    (
        "capacity",
        "admission bit_rate config engine error machine net output settings source stats stream sys words",
    ),
    ("check", "config driver engine error event files pool ring stats stream sys words"),
    ("serial", "bit_rate capacity error event id keys machine mix stats verdict"),
    ("signals", "engine error stream sys"),
];

/// A file of the crate, without its tests.
struct Source {
    /// Its place below `src`.
    place: PathBuf,
    code: String,
}

impl Source {
    /// The room it stands in.
    fn room(&self) -> String {
        let first = self.place.iter().next().expect("a path has a first part");
        Path::new(first).with_extension("").display().to_string()
    }

    /// How many modules deep it is: 1 for the room itself.
    fn depth(&self) -> usize {
        let parts = self.place.iter().count();
        if self.place.ends_with("mod.rs") { parts - 1 } else { parts }
    }

    /// The rooms it names.
    fn uses(&self) -> BTreeSet<String> {
        let name = |rest: &str| -> String {
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        self.code.split("crate::").skip(1).map(name).collect()
    }
}

/// All files but tests and the root, whose re-exports are the crate's face.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if !name.contains("tests") && name != "lib.rs" {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let place = path.strip_prefix(&root).expect("it is below the root").to_owned();
                found.push(Source { place, code: without_tests_and_comments(&text) });
            }
        }
    }
    assert!(found.len() > 150, "only {} files were found", found.len());
    found
}

/// The code of a file up to its tests, which come last.
fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn plan() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    PLAN.iter().map(|(room, uses)| (*room, uses.split_whitespace().collect())).collect()
}

#[test]
fn each_room_uses_only_what_the_plan_permits() {
    let plan = plan();
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        let Some(permitted) = plan.get(room.as_str()) else {
            wrong.push(format!("{}: the room {room} is not in the plan", source.place.display()));
            continue;
        };
        for used in source.uses().into_iter().filter(|used| *used != room) {
            if !permitted.contains(used.as_str()) {
                wrong.push(format!("{}: {room} may not use {used}", source.place.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (room, uses) in PLAN {
        for used in uses.split_whitespace() {
            assert!(below.contains(used), "{room} uses {used}, which does not stand below it");
        }
        assert!(below.insert(room), "{room} is listed twice");
    }
}

#[test]
fn the_plan_permits_nothing_that_is_not_used() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        used.entry(source.room()).or_default().extend(source.uses());
    }
    for (room, permitted) in plan() {
        let Some(used) = used.get(room) else { panic!("there is no room {room}") };
        for other in permitted {
            assert!(used.contains(other), "{room} does not use {other}");
        }
    }
}

#[test]
fn paths_through_super_do_not_leave_their_room() {
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            for path in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
                let ups = path.split("::").take_while(|part| *part == "super").count();
                assert!(
                    ups < source.depth().max(1),
                    "{}:{}: {path} leads out of {}; other rooms are named from the crate's root",
                    source.place.display(),
                    number + 1,
                    source.room()
                );
            }
        }
    }
}

/// A wall clock that is set, forward or back, is noticed by nothing that gives a stream its pace and its times.
#[test]
fn what_paces_a_stream_does_not_know_the_wall_clock() {
    const ROOMS: [&str; 9] =
        ["clock", "driver", "lap", "net", "playout", "publish", "ring", "standby", "transcode"];
    const CLOCKS: [&str; 4] = ["SystemTime", "UNIX_EPOCH", "Timestamp", "ClockId::Realtime"];
    let paces = |source: &&Source| {
        ROOMS.contains(&source.room().as_str()) || source.place.starts_with("stream/thread")
    };
    let (sources, mut seen) = (sources(), 0);
    for source in sources.iter().filter(paces) {
        seen += 1;
        for word in source.code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
            let is_clock =
                CLOCKS.iter().any(|clock| word == *clock || word.starts_with(&format!("{clock}::")));
            assert!(!is_clock, "{}: {word} is the wall clock", source.place.display());
        }
    }
    assert!(seen > 60, "only {seen} files were looked at");
}
