//! What README.md and docs/ name is there: files, links and headings. The examples in the docs of the crates below `flowcast` are
//! written for its users, and import what it exports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the examples in the docs of flowcast-core and flowcast-server import. There `flowcast` is another name of the crate itself;
/// here it is seen that users find the same names in the facade.
#[cfg(all(feature = "libav", feature = "metrics"))]
#[allow(unused_imports, reason = "it is enough that they resolve")]
mod imports {
    use flowcast::admission::{CheaperEncoding, Costs, MeasuredAdmission, WhenFull};
    use flowcast::capacity::{Mix, StreamKind};
    use flowcast::encode::{Adaptation, Follow, FrameRate, QualityLadder, Rendition};
    use flowcast::fence::Fence;
    use flowcast::fragment::{FragmentDirectory, FragmentPublisher};
    use flowcast::frames;
    use flowcast::frames::{AudioFormat, ColorMatrix, FrameSink, Frames, PixelFormat, VideoFormat};
    use flowcast::keys::{KeyRules, Play, SavedKeys};
    use flowcast::loudness::{Loudness, LoudnessFacts};
    use flowcast::mix::{MixInput, Mixer, SampleSink};
    use flowcast::output::{FileFormat, Hls, HlsStore, IfTaken, Rotation, Segments};
    use flowcast::overlay::{Anchor, Clock, Font, Overlay, TextStyle};
    use flowcast::playlist::NothingPlays;
    use flowcast::pull::{Pull, Reach, Whereabouts};
    use flowcast::schedule::{Missed, Weekday, When, Window};
    use flowcast::server::{
        EncoderMetrics, EngineMetrics, Relay, ServerEventKind, StreamMetrics, TlsIdentity,
    };
    use flowcast::source::{At, Fallback, Reaction, Watchdog};
    use flowcast::spec::StreamSpec;
    use flowcast::state::{RestoreOptions, Resume, StateFile};
    use flowcast::thumbnail::ThumbnailOptions;
    use flowcast::usage::UsageFile;
    use flowcast::verdict::Interrupt;
    use flowcast::verdict::{ScanOptions, Strictness, facts, verdict};
    use flowcast::{
        BitRate, Config, Encoding, Engine, Error, Events, Existing, Mode, Output, OutputId, Platform,
        Playlist, Prepare, Profile, ReelStore, RtmpServerExt, Source, StreamHandle,
    };
}

/// Where paths in backticks begin.
const FOLDERS: [&str; 7] = ["benches/", "crates/", "docs/", "examples/", "fuzz/", "scripts/", "tests/"];
/// What paths of docs/decisions.md are relative to.
const CRATES: [&str; 6] = ["av/", "core/", "flowcast/", "redis/", "rtmp/", "server/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of pages") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = read(page);
    let headings = text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    headings
        .map(|heading| {
            let kept = heading.trim().to_lowercase().replace(' ', "-");
            kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
        })
        .collect()
}

/// What stands between two marks, wherever it stands in one line.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.lines()
        .flat_map(move |line| line.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0)))
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for link in between(&read(&page), "](", ')').filter(|link| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let is_there = target.exists() && anchor.is_none_or(|anchor| anchors(&target).contains(anchor));
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_are_named_are_there() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let is_decisions = page.ends_with("docs/decisions.md");
        for name in read(&page).split('`').skip(1).step_by(2) {
            let is_ours = FOLDERS.iter().any(|folder| name.starts_with(folder));
            let is_of_crate = is_decisions && CRATES.iter().any(|folder| name.starts_with(folder));
            if name.contains(char::is_whitespace) || name.contains('*') || !(is_ours || is_of_crate) {
                continue;
            }
            seen += 1;
            let path = if is_of_crate { root().join("crates").join(name) } else { root().join(name) };
            if !path.exists() {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(seen > 100, "{seen} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The paths that a `use flowcast::…;` brings in, one level of braces deep.
fn imported(statement: &str) -> Vec<String> {
    let path = statement.trim().trim_start_matches("use ").trim_end_matches(';');
    match path.split_once('{') {
        None => vec![path.to_owned()],
        Some((before, names)) => {
            let names = names.trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| format!("{before}{name}")).collect()
        }
    }
}

#[test]
fn examples_import_what_the_facade_exports() {
    let own = include_str!("docs.rs");
    let (_, module) = own.split_once("mod imports {").expect("the module above");
    let (module, _) = module.split_once("\n}").expect("its end");
    let joined = module.replace('\n', " ");
    let statements = joined.split(';').filter(|part| part.contains("use flowcast::"));
    let known: BTreeSet<String> = statements.flat_map(imported).collect();
    let mut folders = vec![root().join("crates/core/src"), root().join("crates/server/src")];
    let (mut seen, mut wrong) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = read(&path);
            let docs = text.lines().filter_map(|line| line.trim_start().strip_prefix("/// "));
            for statement in docs.filter(|line| line.starts_with("use flowcast")) {
                seen += 1;
                wrong.extend(imported(statement).into_iter().filter(|name| !known.contains(name)));
            }
        }
    }
    assert!(seen > 20, "{seen} examples were found");
    assert!(wrong.is_empty(), "not in the module `imports` of this file: {wrong:?}");
}

/// Every decision says which files it concerns, and is in the contents.
#[test]
fn decisions_can_be_found() {
    let text = read(&root().join("docs/decisions.md"));
    let (contents, _) = text.split_once("\n## All outputs").expect("the first decision");
    let mut wrong = Vec::new();
    for section in text.split("\n## ").skip(2) {
        let (heading, rest) = section.split_once('\n').expect("a heading");
        if !rest.trim_start().starts_with("*Files: `") || !contents.contains(&format!("[{heading}](#")) {
            wrong.push(heading);
        }
    }
    assert!(wrong.is_empty(), "without files, or not in the contents: {wrong:?}");
}

/// All text of the tests of a binary (`resilience`, `handover`), or of a crate (`core`).
fn tests_of(name: &str) -> Option<String> {
    let places = [format!("crates/{name}"), format!("tests/{name}"), format!("tests/{name}.rs")];
    let mut waiting: Vec<PathBuf> =
        places.map(|place| root().join(place)).into_iter().filter(|place| place.exists()).collect();
    let mut text = waiting.first().map(|_| String::new())?;
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting
                .extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&read(&path));
        }
    }
    Some(text)
}

/// The tests that the fault matrix names are there, and each fault has one row.
#[test]
fn faults_have_their_tests() {
    let page = read(&root().join("docs/reliability.md"));
    let mut texts = std::collections::BTreeMap::new();
    let (mut seen, mut wrong) = (0, Vec::new());
    for name in page.split('`').skip(1).step_by(2) {
        let Some((place, test)) = name.split_once(' ').filter(|(_, test)| !test.contains([' ', '-'])) else {
            continue;
        };
        let Some(text) = texts.entry(place.to_owned()).or_insert_with(|| tests_of(place)) else {
            wrong.push(format!("{name}: there are no tests of {place}"));
            continue;
        };
        seen += 1;
        let function = test.rsplit("::").next().unwrap_or(test);
        // The attacks of `hostile` are made tests by a macro, which lists them.
        let is_there =
            text.contains(&format!("fn {function}(")) || text.contains(&format!("\n    {function}: "));
        if !is_there {
            wrong.push(name.to_owned());
        }
    }
    for fault in 1..=52 {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| F{fault} |"))).count();
        if rows != 1 {
            wrong.push(format!("F{fault} has {rows} rows"));
        }
    }
    assert!(seen > 80, "{seen} tests were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files of methods that the thread of a stream calls, and of what is behind the facade.
const NOT_OF_PROGRAMS: [&str; 2] = ["core/src/ring/", "core/src/sys/"];

/// The public functions of a file whose docs have a section about blocking.
fn blocking(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for section in text.split("/// # Blocking").skip(1) {
        let item =
            section.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['/', '#']));
        if let Some(rest) = item.and_then(|item| item.strip_prefix("pub fn ")) {
            found.push(rest.split(['(', '<']).next().unwrap_or(rest));
        }
    }
    found
}

/// What blocks is in the table for async programs, and nothing else is.
#[test]
fn what_blocks_is_in_the_page_for_async_programs() {
    let page = read(&root().join("docs/jobs/async.md"));
    let (_, rest) = page.split_once("## What blocks").expect("the section");
    let (table, _) = rest.split_once("Everything else").expect("what does not block");
    let mut listed = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let calls = row.split('|').nth(1).expect("a first column");
        let calls = calls.split('`').skip(1).step_by(2);
        listed.extend(calls.filter_map(|call| Some(call.rsplit_once("::")?.1)));
    }
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("crates/core/src"), root().join("crates/server/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !NOT_OF_PROGRAMS.iter().any(|part| path.to_string_lossy().contains(part)) {
                found.extend(blocking(&read(&path)).into_iter().map(str::to_owned));
            }
        }
    }
    // `Iterator::next` has no docs of its own; `platform` says what `start` does with it; `wait_heard` is for servers;
    // the others are short for what is listed.
    listed.remove("next");
    listed.extend(["platform", "wait_heard", "check_source", "check_output"]);
    let listed: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    let wrong: Vec<_> = listed.difference(&found).collect();
    assert!(found.len() > 15, "only {found:?}");
    assert!(missing.is_empty() && wrong.is_empty(), "not in the table: {missing:?}; not blocking: {wrong:?}");
}
