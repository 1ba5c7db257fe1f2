//! A place that takes nothing for a while: segments of that time are lost, and nothing else.

use std::fs;
use std::time::Duration;

use super::{advance, listed, open, stream, write};
use crate::event::EventKind;
use crate::output::file::format::Format;
use crate::output::hls::Hls;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_output_outlives_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("hls");
    let (mut made, news) = open(&Hls::directory(&at).target_duration(2 * SECOND));
    let tags = stream(0, 60);
    let part = |from: i64, to: i64| -> Vec<_> {
        let in_it = |ms: i64| (from * 1000..to * 1000).contains(&ms);
        tags.iter().filter(|tag| in_it(tag.timestamp.as_millis())).cloned().collect()
    };
    write(&mut made, &part(0, 10));
    assert!(matches!(news.try_recv(), Ok(EventKind::OutputLive { failures: 0, .. })));
    let old = fs::read_to_string(at.join("index.m3u8")).expect("a playlist");
    fs::remove_dir_all(&at).expect("it is removed");
    write(&mut made, &part(10, 20));
    let told: Vec<_> = news.try_iter().collect();
    assert!(told.len() >= 4, "{told:?}");
    assert!(told.iter().all(|told| matches!(told, EventKind::OutputRetrying { .. })), "{told:?}");
    assert!(!at.exists(), "it may have been a mount");
    fs::create_dir(&at).expect("there is room");
    advance(20 * SECOND);
    write(&mut made, &part(20, 30));
    let told: Vec<_> = news.try_iter().collect();
    assert!(matches!(told.last(), Some(EventKind::OutputLive { failures: 4.., .. })), "{told:?}");
    let new = fs::read_to_string(at.join("index.m3u8")).expect("a playlist");
    let names = listed(&at);
    assert!(names.iter().all(|name| at.join(name).exists()), "{names:?}");
    // Players that were there see that it goes on.
    assert_eq!(new.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{new}");
    assert!(!names.iter().any(|name| name.ends_with(".m4s") && old.contains(name.as_str())), "{new}");
    write(&mut made, &part(30, 60));
    made.finish().expect("there is room");
    assert!(news.try_iter().next().is_none());
}
