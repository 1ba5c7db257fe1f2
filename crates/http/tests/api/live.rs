//! What is on the air, for players.

use std::io::Read;

use flowcast_core::Config;
use flowcast_rtmp::flv::{FlvReader, Tag};
use flowcast_rtmp::limits::Limits;
use kit::{Clip, Need, need, shown, write_flv};
use serde_json::json;

use crate::support::{OPERATE, Reading, Studio, WATCH, options, wait_until};

/// Reads tags up to the first for which `is_last` is true.
fn tags(reading: &mut Reading, reader: &mut FlvReader, mut is_last: impl FnMut(&Tag) -> bool) -> Vec<Tag> {
    let (mut tags, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(tag) = reader.pull().unwrap() {
            let done = is_last(&tag);
            tags.push(tag);
            if done {
                return tags;
            }
        }
        let count = reading.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended after {} tags", tags.len());
        reader.push(&buffer[..count]);
    }
}

/// Seconds of media.
fn after(seconds: i64) -> impl FnMut(&Tag) -> bool {
    let mut first = None;
    move |tag| {
        let time = tag.timestamp.as_millis();
        !tag.is_header() && !tag.is_script() && time - *first.get_or_insert(time) > seconds * 1000
    }
}

#[test]
fn players_get_flv_that_begins_with_a_keyframe_and_has_every_tag_once() {
    let studio = Studio::start();
    let id = studio.on_air("show");
    let mut players = [(); 2].map(|()| (studio.open("/live/show.flv", &[]), FlvReader::new(&Limits::file())));
    let mut preview = studio
        .open(&format!("/api/v1/streams/{id}/live.flv"), &[("Authorization", &format!("Bearer {WATCH}"))]);
    for (reading, reader) in &mut players {
        assert_eq!(reading.status, 200);
        let tags = tags(reading, reader, after(4));
        let first = tags.iter().position(|tag| !tag.is_header() && !tag.is_script()).unwrap();
        assert!(tags[first].is_keyframe(), "{:?}", tags[first]);
        assert!(
            tags[..first].iter().any(Tag::is_video) && tags[..first].iter().any(Tag::is_audio),
            "headers first"
        );
        for is in [Tag::is_video as fn(&Tag) -> bool, Tag::is_audio] {
            let of = tags.iter().filter(|tag| is(tag) && !tag.is_header());
            let times: Vec<_> = of.map(|tag| tag.timestamp.as_millis()).collect();
            let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.iter().all(|step| (1..=60).contains(step)), "{steps:?}");
        }
    }
    tags(&mut preview, &mut FlvReader::new(&Limits::file()), |tag| tag.is_keyframe());
    let shown = studio.get(&format!("/api/v1/streams/{id}")).expect(200);
    assert!(shown["summary"]["players"].as_u64().unwrap() >= 3, "{}", shown["summary"]);
    let written = shown["stats"]["outputs"].as_array().unwrap().iter().filter(|of| of["name"] == "http-flv");
    assert_eq!(written.count(), 1, "it is written once for all");
    drop((players, preview));
    wait_until("they are gone", || {
        studio.get(&format!("/api/v1/streams/{id}")).expect(200)["summary"]["players"] == json!(0)
    });
}

/// FLV says it in the stream, HLS in a header of its own; a player that comes then begins with the size there is.
#[test]
fn another_size_goes_on_in_the_same_answer() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let at = studio.directory.path();
    let clips = [(320, 180), (480, 270)]
        .map(|size| Clip { size, gop: 12, ..Clip::default() }.make(at, &format!("{}.mp4", size.0)));
    let lap: Vec<_> = clips.iter().flat_map(|clip| shown(clip)).collect();
    let spec = json!({
        "label": "show", "source": {"playlist": {"files": clips, "on_change": "allow"}}, "outputs": [{"publish": "show"}],
    });
    studio.post("/api/v1/streams", &spec).expect(201);
    wait_until("it is on the air", || studio.get("/live/show.json").status == 200);
    // Two changes, and what is reordered behind them.
    let mut reading = studio.open("/live/show.flv", &[]);
    let tags = tags(&mut reading, &mut FlvReader::new(&Limits::file()), after(6));
    let file = at.join("played.flv");
    write_flv(&file, &tags);
    let pictures = shown(&file);
    let pictures = &pictures[..pictures.len() - 4];
    let first = lap.iter().position(|picture| picture.checksum == pictures[0].checksum).unwrap();
    for (number, picture) in pictures.iter().enumerate() {
        let next = &lap[(first + number) % lap.len()];
        assert_eq!((picture.size, &picture.checksum), (next.size, &next.checksum), "picture {number}");
    }
    assert!(pictures.len() > 120, "{}", pictures.len());
    let list = || String::from_utf8(studio.ask("GET", "/live/show/index.m3u8", "", None).bytes).unwrap();
    wait_until("a segment has another header", || list().matches("#EXT-X-MAP").count() >= 2);
}

#[test]
fn who_does_not_read_holds_nobody_up() {
    let studio = Studio::start();
    studio.on_air("show");
    let idle: Vec<_> = (0..20).map(|_| studio.open("/live/show.flv", &[])).collect();
    let mut reading = studio.open("/live/show.flv", &[]);
    tags(&mut reading, &mut FlvReader::new(&Limits::file()), after(6));
    drop(idle);
}

#[test]
fn a_player_is_told_when_the_stream_ends() {
    let studio = Studio::start();
    let id = studio.on_air("show");
    let mut reading = studio.open("/live/show.flv", &[]);
    tags(&mut reading, &mut FlvReader::new(&Limits::file()), |tag| tag.is_keyframe());
    studio.ask("DELETE", &format!("/api/v1/streams/{id}"), OPERATE, None).expect(200);
    let mut rest = Vec::new();
    reading.read_to_end(&mut rest).unwrap();
    assert_eq!(studio.ask("GET", "/live/show.flv", "", None).problem(404), "NOT_FOUND");
}

#[test]
fn hls_is_made_when_somebody_asks_and_goes_when_nobody_does() {
    let options = options().with(|options| options.hls_idle = std::time::Duration::from_secs(5));
    let studio = Studio::with(options, Config::default());
    let id = studio.on_air("show");
    let list = studio.ask("GET", "/live/show/index.m3u8", "", None);
    assert_eq!((list.status, list.header("content-type")), (200, Some("application/vnd.apple.mpegurl")));
    assert_eq!(list.header("cache-control"), Some("no-store"));
    let text = String::from_utf8(list.bytes).unwrap();
    let init = text.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let segment = text.lines().find(|line| line.ends_with(".m4s")).unwrap();
    let init = studio.ask("GET", &format!("/live/show/{init}"), "", None);
    assert!(init.bytes[4..8] == *b"ftyp" && init.header("cache-control").unwrap().contains("immutable"));
    let media = studio.ask("GET", &format!("/api/v1/streams/{id}/hls/{segment}"), WATCH, None);
    assert!(media.status == 200 && media.bytes.len() > 1000, "the preview has the same files");
    assert_eq!(studio.ask("GET", "/live/show/seg-1.m4s", "", None).problem(404), "NOT_FOUND");
    let has_hls = || {
        let shown = studio.get(&format!("/api/v1/streams/{id}/outputs")).expect(200);
        shown["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|of| of["transport"] == "hls" && of["phase"] != "ended")
    };
    assert!(has_hls());
    wait_until("nobody asks any more", || !has_hls());
}

#[test]
fn a_picture_is_what_is_shown() {
    let studio = Studio::start();
    let id = studio.on_air("show");
    let small = studio.ask("GET", "/live/show.jpg?size=64", "", None);
    assert_eq!((small.status, small.header("content-type")), (200, Some("image/jpeg")));
    assert!(small.bytes.starts_with(&[0xFF, 0xD8]) && small.bytes.ends_with(&[0xFF, 0xD9]));
    let large = studio.ask("GET", &format!("/api/v1/streams/{id}/picture.jpg"), WATCH, None);
    assert!(large.bytes.len() > small.bytes.len());
    assert_eq!(studio.ask("GET", "/live/show.jpg?size=4", "", None).problem(400), "REQUEST_INVALID");
}

#[test]
fn what_is_playing_is_said_without_its_path() {
    let studio = Studio::start();
    studio.on_air("show");
    let now = studio.ask("GET", "/live/show.json", "", None);
    let value = now.expect(200);
    assert_eq!((&value["name"], &value["title"]), (&json!("show"), &json!("show")));
    assert!(!String::from_utf8(now.bytes).unwrap().contains("mp4"));
    let options = options().with(|options| options.players_need_tokens = true);
    let studio = Studio::with(options, Config::default());
    studio.on_air("show");
    assert_eq!(studio.ask("GET", "/live/show.json", "", None).problem(401), "TOKEN_REQUIRED");
    assert_eq!(studio.ask("GET", "/live/show.json", WATCH, None).status, 200);
}
