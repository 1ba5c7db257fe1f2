//! The example `channels`: started from a file, told that the file has changed, and ended, by signals.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use flowcast::config::TlsRoots;
use flowcast::{Config, Engine, Output, Source};
use kit::rig::Known;
use kit::scripted::{Script, Scripted};
use kit::{Authority, PATIENCE, Peer, directory, example, text, wait_until};
use rustix::process::{Signal, kill_process};

const SECRET: &str = "a-canary-key";

/// A file with three channels that push, one of them under a schedule, one that is published, and a recording.
fn file(clip: &Path, archive: &Path, first: &str, second: &str, third: &str) -> String {
    format!(
        r#"
        [server]
        listen = "127.0.0.1:0"

        [keys]
        studio = "{SECRET}"

        [channels.first]
        source = {{ file = {clip:?}, looped = true }}
        outputs = [{{ server = "{first}", key = "{SECRET}" }}, {{ record = {archive:?} }}]

        [channels.second]
        source = {{ file = {clip:?}, looped = true }}
        outputs = [{{ server = "{second}", key = "{SECRET}", label = "only" }}, {{ publish = "second" }}]

        [channels.third]
        source = {{ file = {clip:?}, looped = true }}
        outputs = [{{ server = "{third}", key = "{SECRET}" }}]

        [channels.studio]
        source = {{ published = "studio" }}
        without_outputs = true

        [schedules.third]
        windows = [{{ from = "00:00", lasts = "47h" }}]
        "#
    )
}

fn send(peer: &Peer, signal: Signal) {
    kill_process(peer.pid(), signal).expect("it runs");
}

/// The connections that are open, and how many there were.
fn open(server: &Scripted) -> (usize, usize) {
    let visits = server.visits();
    (visits.iter().filter(|visit| visit.closed.is_none()).count(), visits.len())
}

/// Waits until another line that begins so was printed.
fn wait_line(peer: &Peer, begins: &str, many: usize) -> String {
    let lines = |peer: &Peer| -> Vec<String> {
        let output = peer.output();
        output.lines().filter(|line| line.starts_with(begins)).map(str::to_owned).collect()
    };
    assert!(wait_until(PATIENCE, || lines(peer).len() >= many), "no {begins}\n{}", peer.report());
    lines(peer).pop().expect("it came")
}

#[test]
fn a_file_that_changes_touches_what_has_changed_and_nothing_else() {
    let Some(program) = example("channels") else { return };
    let (clip, folder) = (Known::small(), directory());
    let [config, archive, other] =
        ["channels.toml", "archive.flv", "other.mp4"].map(|name| folder.path().join(name));
    let [first, second, third, elsewhere] = [(); 4].map(|()| Scripted::start(Script::Record));
    let before = file(&clip.file, &archive, &first.url(), &second.url(), &third.url());
    fs::write(&config, &before).expect("a file");
    let mut channels = Peer::spawn(&program, [text(&config)]);
    assert_eq!(
        wait_line(&channels, "started", 1),
        "started: 4 added, 0 changed, 0 removed, 0 untouched, 0 failed"
    );
    for server in [&first, &second, &third] {
        assert!(server.wait_pictures(0, 10, PATIENCE), "{}", channels.report());
    }

    // Another output: the channel stays, its other outputs too, and all other channels.
    let moved = file(&clip.file, &archive, &first.url(), &elsewhere.url(), &third.url());
    fs::write(&config, &moved).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 1),
        "reloaded: 0 added, 1 changed, 0 removed, 3 untouched, 0 failed"
    );
    assert!(elsewhere.wait_pictures(0, 10, PATIENCE), "{}", channels.report());
    assert!(wait_until(PATIENCE, || open(&second) == (0, 1)), "{:?}", open(&second));
    assert_eq!([open(&first), open(&third)], [(1, 1), (1, 1)]);

    // Another source: the connections of the channel stay, and get its pictures.
    fs::copy(&clip.file, &other).expect("a copy");
    let text_of_second = moved.split("[channels.third]").next().expect("what is before");
    let replaced = text_of_second.replace(&format!("{:?}", clip.file), &format!("{other:?}"))
        + &moved[text_of_second.len()..];
    fs::write(&config, &replaced).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 2),
        "reloaded: 0 added, 2 changed, 0 removed, 2 untouched, 0 failed"
    );
    let seen = elsewhere.visits()[0].tags.len();
    assert!(wait_until(PATIENCE, || elsewhere.visits()[0].tags.len() > seen + 20), "{}", channels.report());

    // What cannot be read changes nothing, and shows no key.
    fs::write(&config, replaced.replace("key = ", "key = 5, schlüssel = ")).expect("a file");
    send(&channels, Signal::HUP);
    wait_line(&channels, "not reloaded", 1);
    fs::write(&config, replaced.replace("[keys]", "[keys]\nguest = [\"a-canary-key\"]")).expect("a file");
    send(&channels, Signal::HUP);
    wait_line(&channels, "not reloaded", 2);

    // A channel less.
    fs::write(&config, replaced.replace("[channels.studio]", "[channels.studio2]")).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 3),
        "reloaded: 1 added, 0 changed, 1 removed, 3 untouched, 0 failed"
    );
    assert_eq!([open(&first), open(&third), open(&elsewhere)], [(1, 1), (1, 1), (1, 1)]);

    send(&channels, Signal::TERM);
    channels.wait_success(PATIENCE);
    assert!(
        channels.output().lines().last().expect("a last line").starts_with("stopped 4, abandoned 0"),
        "{}",
        channels.report()
    );
    assert!(wait_until(PATIENCE, || open(&first).0 == 0 && open(&third).0 == 0));
    assert!(fs::metadata(&archive).expect("it was recorded").len() > 10_000);
    let said = channels.output() + &channels.errors();
    assert!(!said.contains(SECRET) && !said.contains("canary"), "{said}");
}

#[test]
fn what_fails_at_a_reload_is_tried_again_and_costs_nothing_else() {
    let Some(program) = example("channels") else { return };
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let folder = directory();
    let (config, missing) = (folder.path().join("channels.toml"), folder.path().join("missing"));
    let content = |keys: [&str; 2], outputs: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[keys]\nfirst = \"{}\"\nsecond = \"{}\"\n[channels.only]\n\
             source = {{ file = {:?}, looped = true }}\n\
             outputs = [{outputs}{{ server = \"{}\", key = \"{SECRET}\" }}]\n",
            keys[0],
            keys[1],
            clip.file,
            server.url(),
        )
    };
    fs::write(&config, content(["canary-1", "canary-2"], "")).expect("a file");
    let channels = Peer::spawn(&program, [text(&config)]);
    wait_line(&channels, "started", 1);
    assert!(server.wait_pictures(0, 5, PATIENCE), "{}", channels.report());

    // Names swap their keys; a recording goes to a folder that is not there.
    let recording = missing.join("only.flv");
    let swapped = content(["canary-2", "canary-1"], &format!("{{ record = {recording:?} }}, "));
    fs::write(&config, &swapped).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 1),
        "reloaded: 0 added, 1 changed, 0 removed, 0 untouched, 1 failed"
    );
    // The same file, once the folder is there.
    fs::create_dir(&missing).expect("a folder");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 2),
        "reloaded: 0 added, 1 changed, 0 removed, 0 untouched, 0 failed"
    );
    assert!(wait_until(PATIENCE, || recording.exists()), "{}", channels.report());
    // Without the recording again: the push that stood behind it is not touched.
    fs::write(&config, content(["canary-2", "canary-1"], "")).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 3),
        "reloaded: 0 added, 1 changed, 0 removed, 0 untouched, 0 failed"
    );
    let seen = server.visits()[0].tags.len();
    assert!(wait_until(PATIENCE, || server.visits()[0].tags.len() > seen + 20), "{}", channels.report());
    assert_eq!(open(&server), (1, 1));
    let said = channels.output() + &channels.errors();
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_file_is_checked_without_starting_anything_and_no_key_is_shown() {
    let Some(program) = example("channels") else { return };
    let folder = directory();
    let config = folder.path().join("channels.toml");
    let check = |content: &str| {
        fs::write(&config, content).expect("a file");
        let mut peer = Peer::spawn(&program, [text(&config), "--check"]);
        let status = peer.wait(PATIENCE);
        (status.code(), peer.output() + &peer.errors())
    };
    let good =
        file(Path::new("show.mp4"), Path::new("show.flv"), "rtmp://a/live", "rtmp://b/live", "rtmp://c/live");
    assert_eq!(check(&good), (Some(0), "ok: 4 channels, 1 of them scheduled, 1 keys\n".to_owned()));
    let admission = "[admission]\ncpu = 0.8\nmemory = { share = 0.9 }\nuplink = \"900M\"\n\
                     when_full = { lower = [{ size = \"854x480\", preset = \"ultrafast\" }] }\n";
    assert_eq!(check(&format!("{good}\n{admission}")).0, Some(0));
    for (wrong, parts) in [
        (format!("{good}\n[admission]\ncpu = 80"), vec!["admission.cpu: must be more than 0 and at most 1"]),
        (format!("{good}\n[admission]\ncores = 2"), vec!["unknown field `cores`"]),
        (good.replace("looped", "looop"), vec![":9:", "unknown field `looop`"]),
        (good.replace("lasts = \"47h\"", "lasts = \"two days\""), vec!["no length of time"]),
        (
            good.replace("[schedules.third]", "[schedules.fourth]\nzone = \"Mars/Olympus\""),
            vec!["schedules.fourth: there is no such channel", "time zone database"],
        ),
        (
            good.replace("[channels.studio]", "[channels.studio]\nlabel = \"first\""),
            vec!["channels.studio: label: channels.first has the same"],
        ),
        (good.replace("rtmp://a/live", "rtmp://a:x/live"), vec!["channels.first: ", "outputs[0]"]),
        (good.replace(&format!("studio = \"{SECRET}\""), &format!("studio = [\"{SECRET}\"]")), vec![":6:"]),
        // A key that somebody wrote without quotes.
        (good.replace(&format!("studio = \"{SECRET}\""), "studio = 48151623"), vec![":6:", "integer `****`"]),
        (good.replace("key = ", "existing = "), vec!["there are"]),
        (good.replace("key = \"", "key = "), vec!["channels.toml:"]),
    ] {
        let (code, said) = check(&wrong);
        assert_eq!(code, Some(1), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
        assert!(!said.contains("canary") && !said.contains("48151623"), "{said}");
    }
}

#[test]
fn what_ran_when_the_process_was_killed_runs_again_once() {
    let Some(program) = example("channels") else { return };
    let (clip, folder) = (Known::small(), directory());
    let [config, archive, state] =
        ["channels.toml", "archive.flv", "state"].map(|name| folder.path().join(name));
    let [first, second, third] = [(); 3].map(|()| Scripted::start(Script::Record));
    let channels = file(&clip.file, &archive, &first.url(), &second.url(), &third.url());
    fs::write(&config, format!("engine.state = {state:?}\n{channels}")).expect("a file");
    let start = |line: &str| {
        let channels = Peer::spawn(&program, [text(&config)]);
        assert_eq!(wait_line(&channels, "started", 1), line);
        channels
    };
    let mut channels = start("started: 4 added, 0 changed, 0 removed, 0 untouched, 0 failed");
    for visit in 0..4 {
        if visit > 0 {
            // Those that run all the time were taken over from the file; the schedule goes on with its window.
            channels = start("started: 1 added, 0 changed, 0 removed, 3 untouched, 0 failed");
        }
        for server in [&first, &second, &third] {
            assert!(server.wait_pictures(visit, 10, PATIENCE), "{}", channels.report());
        }
        let is_kept = || {
            let kept = fs::read_to_string(&state).unwrap_or_default();
            ["first", "second", "third", "studio"].iter().all(|label| kept.contains(&format!("\"{label}\"")))
        };
        assert!(wait_until(PATIENCE, is_kept), "{:?}", fs::read_to_string(&state));
        channels.kill();
    }
    for server in [&first, &second, &third] {
        assert!(wait_until(PATIENCE, || open(server).0 == 0));
        assert_eq!(open(server).1, 4, "one connection in each run");
    }
}

/// A channel that plays this, and pushes it there.
fn channel(name: &str, source: &str, server: &str) -> String {
    format!(
        "[channels.{name}]\nsource = {{ {source} }}\n\
         outputs = [{{ server = \"{server}\", key = \"{SECRET}\", label = \"main\" }}]\n"
    )
}

#[test]
fn a_reload_that_waits_holds_up_neither_signals_nor_other_channels() {
    let Some(program) = example("channels") else { return };
    let (clip, other) = (Known::small(), Known::small());
    let folder = directory();
    let config = folder.path().join("channels.toml");
    let [first, second, elsewhere] = [(); 3].map(|()| Scripted::start(Script::Record));
    let plays = |clip: &Known| format!("file = {:?}, looped = true", clip.file);
    let before =
        channel("first", &plays(&clip), &first.url()) + &channel("second", &plays(&clip), &second.url());
    fs::write(&config, before).expect("a file");
    let mut channels = Peer::spawn(&program, [text(&config)]);
    wait_line(&channels, "started", 1);
    for server in [&first, &second] {
        assert!(server.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    }
    // The first channel waits for somebody to publish; the second one has another source, and goes to another server.
    let after = channel("first", "published = \"nobody\"", &first.url())
        + &channel("second", &plays(&other), &elsewhere.url());
    fs::write(&config, after).expect("a file");
    send(&channels, Signal::HUP);
    let said = |channels: &Peer, part: &str| channels.errors().contains(part);
    for part in ["replaced at a keyframe, without a gap", "another source is on the air"] {
        assert!(wait_until(PATIENCE, || said(&channels, part)), "{part}: {}", channels.report());
    }
    assert!(elsewhere.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    assert!(wait_until(PATIENCE, || open(&second) == (0, 1)), "{:?}", open(&second));
    send(&channels, Signal::TERM);
    channels.wait_success(PATIENCE);
    let printed = channels.output();
    assert!(printed.lines().last().expect("a last line").starts_with("stopped 2, abandoned 0"), "{printed}");
    assert!(!printed.contains("reloaded"), "the reload was not waited for: {printed}");
}

#[test]
fn an_output_that_cannot_go_on_elsewhere_ends_where_it_was_and_is_tried_there() {
    let Some(program) = example("channels") else { return };
    let clip = Known::small();
    let folder = directory();
    let config = folder.path().join("channels.toml");
    let (here, mut there) = (Scripted::start(Script::Record), Scripted::start(Script::Record));
    there.down();
    let plays = format!("file = {:?}, looped = true", clip.file);
    fs::write(&config, channel("only", &plays, &here.url())).expect("a file");
    let channels = Peer::spawn(&program, [text(&config)]);
    wait_line(&channels, "started", 1);
    assert!(here.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    fs::write(&config, channel("only", &plays, &there.url())).expect("a file");
    send(&channels, Signal::HUP);
    // The file does not name it any more, so the stream is not there any more either.
    assert!(wait_until(PATIENCE, || open(&here) == (0, 1)), "{}", channels.report());
    there.up();
    assert!(there.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
}

#[test]
fn a_show_that_is_complete_is_not_played_again_after_a_reload_or_a_restart_in_its_window() {
    let Some(program) = example("channels") else { return };
    let (clip, folder) = (Known::small(), directory());
    let [config, state] = ["channels.toml", "state"].map(|name| folder.path().join(name));
    let [show, marker] = [(); 2].map(|()| Scripted::start(Script::Record));
    let once = format!("file = {:?}", clip.file);
    // A window that began half a day ago, so that no other one begins while this runs.
    let seconds =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set").as_secs();
    let begins = (seconds / 3600 + 12) % 24;
    let content = |owner: &str, has_marker: bool| {
        let window = |name: &str| {
            let window = format!("{{ from = \"{begins:02}:00\", lasts = \"20h\" }}");
            format!("[schedules.{name}]\nzone = \"UTC\"\nwindows = [{window}]\n")
        };
        let marker = channel("marker", &format!("{once}, looped = true"), &marker.url()) + &window("marker");
        format!("engine.state = {state:?}\n")
            + &channel("a_show", &once, &show.url())
                .replace("source =", &format!("owner = \"{owner}\"\nsource ="))
            + &window("a_show")
            + if has_marker { marker.as_str() } else { "" }
    };
    let is_kept = |part: &str| fs::read_to_string(&state).is_ok_and(|kept| kept.contains(part));
    fs::write(&config, content("alice", false)).expect("a file");
    let mut channels = Peer::spawn(&program, [text(&config)]);
    assert!(show.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    assert!(wait_until(PATIENCE, || open(&show) == (0, 1)), "it is complete: {}", channels.report());
    // It belongs to somebody else now. Another one, which is begun after it, shows that it had its turn.
    fs::write(&config, content("bob", true)).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 1),
        "reloaded: 1 added, 1 changed, 0 removed, 0 untouched, 0 failed"
    );
    assert!(marker.wait_pictures(0, 10, PATIENCE), "{}", channels.report());
    assert_eq!(open(&show), (0, 1));
    assert!(wait_until(PATIENCE, || is_kept("done") && is_kept("began")), "{:?}", fs::read_to_string(&state));
    channels.kill();
    let channels = Peer::spawn(&program, [text(&config)]);
    assert!(marker.wait_pictures(1, 10, PATIENCE), "{}", channels.report());
    assert_eq!(open(&show), (0, 1));
    // Another show in the same window has not been played.
    let other = folder.path().join("other.mp4");
    fs::copy(&clip.file, &other).expect("a copy");
    let once = format!("file = {:?}", clip.file);
    let other = content("bob", true).replacen(&once, &format!("file = {other:?}"), 1);
    fs::write(&config, other).expect("a file");
    send(&channels, Signal::HUP);
    assert!(show.wait_pictures(1, 5, PATIENCE), "{}", channels.report());
}

#[test]
fn an_output_that_cannot_be_opened_is_tried_again_and_told_once() {
    let Some(program) = example("channels") else { return };
    let (clip, folder, server) = (Known::small(), directory(), Scripted::start(Script::Record));
    let (config, missing) = (folder.path().join("channels.toml"), folder.path().join("missing"));
    let record = missing.join("all.flv");
    let content = |more: &str| {
        format!(
            "[channels.only]\nsource = {{ file = {:?}, looped = true }}\n\
             outputs = [{{ server = \"{}\", key = \"{SECRET}\" }}{more}]\n",
            clip.file,
            server.url(),
        )
    };
    fs::write(&config, content("")).expect("a file");
    let channels = Peer::spawn(&program, [text(&config)]);
    assert!(server.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    fs::write(&config, content(&format!(", {{ record = {record:?} }}"))).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 1),
        "reloaded: 0 added, 1 changed, 0 removed, 0 untouched, 1 failed"
    );
    fs::create_dir(&missing).expect("a folder");
    assert!(wait_until(PATIENCE, || record.exists()), "{}", channels.report());
    let is_said = || channels.report().contains("only: all its outputs are there");
    assert!(wait_until(PATIENCE, is_said), "{}", channels.report());
    let report = channels.report();
    let told = report.lines().filter(|line| line.contains("only: ") && line.contains("all.flv")).count();
    assert_eq!(told, 1, "{report}");
    assert_eq!(open(&server), (1, 1), "the push goes on");
}

#[test]
fn an_output_that_goes_takes_no_backup_of_another_along() {
    let Some(program) = example("channels") else { return };
    let clip = Known::small();
    let [primary, backup, other] = [(); 3].map(|()| Scripted::start(Script::Record));
    let folder = directory();
    let config = folder.path().join("channels.toml");
    let content = |more: &str| {
        format!(
            "[channels.only]\nsource = {{ file = {:?}, looped = true }}\n\
             outputs = [{{ server = \"{}\", key = \"{SECRET}\", backup = \"{}\" }}{more}]\n",
            clip.file,
            primary.url(),
            backup.url(),
        )
    };
    let more = format!(", {{ server = \"{}\", key = \"{SECRET}\" }}", other.url());
    fs::write(&config, content(&more)).expect("a file");
    let channels = Peer::spawn(&program, [text(&config)]);
    for server in [&primary, &backup, &other] {
        assert!(server.wait_pictures(0, 5, PATIENCE), "{}", channels.report());
    }
    fs::write(&config, content("")).expect("a file");
    send(&channels, Signal::HUP);
    assert_eq!(
        wait_line(&channels, "reloaded", 1),
        "reloaded: 0 added, 1 changed, 0 removed, 0 untouched, 0 failed"
    );
    assert!(wait_until(PATIENCE, || open(&other) == (0, 1)), "{:?}", open(&other));
    let seen = [&primary, &backup].map(|server| server.visits()[0].tags.len());
    for (server, seen) in [&primary, &backup].into_iter().zip(seen) {
        let goes_on = || server.visits()[0].tags.len() > seen + 20;
        assert!(wait_until(PATIENCE, goes_on), "{}", channels.report());
        assert_eq!(open(server), (1, 1));
    }
}

#[test]
fn who_publishes_by_rtmps_is_passed_on_and_a_certificate_that_cannot_be_used_is_told() {
    let Some(program) = example("channels") else { return };
    let (clip, folder) = (Known::small(), directory());
    let (config, chain, key) =
        (folder.path().join("channels.toml"), folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let authority = Authority::new("flowcast test authority");
    let (certificates, secret) = authority.issue(&["127.0.0.1"]);
    fs::write(&chain, certificates).expect("there is room");
    let receiver = Scripted::start(Script::Record);
    let file = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nrtmps = \"127.0.0.1:0\"\ntls = [{chain:?}, {key:?}]\n\
         [keys]\nstudio = \"studio-key\"\n\
         [channels.passed-on]\nsource = {{ published = \"studio\" }}\noutputs = [{{ server = {:?}, key = \"k\" }}]\n",
        receiver.url()
    );
    fs::write(&config, file).expect("there is room");

    // Without the key's file it does not start, and says which file it is.
    let mut fails = Peer::spawn(&program, [text(&config)]);
    assert!(!fails.wait(PATIENCE).success(), "{}", fails.report());
    assert!(fails.errors().contains("key.pem"), "{}", fails.report());

    fs::write(&key, secret).expect("there is room");
    let mut channels = Peer::spawn(&program, [text(&config)]);
    let url = channels.wait_for_line("listening on rtmps://", PATIENCE);
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let trusted = folder.path().join("authority.pem");
    fs::write(&trusted, authority.pem()).expect("there is room");
    let roots = TlsRoots::from_pem_file(&trusted).expect("the authority's certificate");
    let push = Output::rtmp_url(&format!("rtmps://{url}/studio-key")).tls_roots(roots);
    let live =
        engine.stream(Source::file(&clip.file).looped()).to(push).start().expect("a file that is there");
    assert!(receiver.wait_pictures(0, 10, PATIENCE), "{}\n{}", live.stats(), channels.report());
    drop(live);
    send(&channels, Signal::TERM);
    channels.wait_success(PATIENCE);
    assert!(!channels.output().contains("studio-key") && !channels.errors().contains("studio-key"));
}
