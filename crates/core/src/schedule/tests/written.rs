//! Schedules in files.

use super::super::*;
use super::{HOUR, date, time, utc};
use crate::output::Output;
use crate::source::Source;
use crate::spec::StreamSpec;

fn read(text: &str) -> Result<When, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn what_is_written_is_read_again() {
    let when = When::in_zone("Europe/Berlin")
        .window(Window::daily(time("20:00")).until(time("23:30")))
        .window(Window::weekly([Weekday::Sat, Weekday::Sun], time("10:00:30")).lasting(HOUR))
        .window(Window::on(date("2026-12-31"), time("22:00")).until_on(date("2027-01-01"), time("01:00")))
        .window(Window::on(date("2026-12-24"), time("18:00")))
        .except(date("2026-12-25"));
    for missed in [Missed::default(), Missed::Skip, Missed::StartLate(HOUR)] {
        for overlap in Overlap::ALL {
            let when = when.clone().missed(missed).overlap(*overlap);
            let text = serde_json::to_string(&when).expect("it can be written");
            assert_eq!(read(&text).expect(&text), when, "{text}");
        }
    }
    let text = serde_json::to_string(&when).expect("it can be written");
    assert_eq!(
        text,
        r#"{"zone":"Europe/Berlin","except":["2026-12-25"],"windows":[{"from":"20:00","to":"23:30"},{"days":["sat","sun"],"from":"10:00:30","lasts":"1h"},{"on":"2026-12-31","from":"22:00","to":"2027-01-01 01:00"},{"on":"2026-12-24","from":"18:00"}]}"#
    );
    // A schedule as it is kept, with the key of its stream only where that is asked for.
    let spec =
        StreamSpec::new(Source::published("studio")).to(Output::rtmp("rtmp://127.0.0.1/live", "secret"));
    let mut schedule = Schedule::new(spec, when);
    schedule.began = Some(utc("2026-12-24T17:00:00Z"));
    let hidden = serde_json::to_string(&schedule).expect("it can be written");
    assert!(!hidden.contains("secret"), "{hidden}");
    let open = serde_json::to_string(&schedule.with_keys()).expect("it can be written");
    assert_eq!(serde_json::from_str::<Schedule>(&open).expect(&open), schedule);
}

#[test]
fn what_is_not_understood_is_named() {
    for (text, part) in [
        (r#"{"windows":[{"from":"20:00","till":"21:00"}]}"#, "till"),
        (r#"{"windows":[{"from":"8pm"}]}"#, "8pm"),
        (r#"{"windows":[{"from":"20:00","to":"21:00","lasts":"1h"}]}"#, "either `to` or `lasts`"),
        (r#"{"windows":[{"from":"20:00","on":"2026-01-01","days":["mon"]}]}"#, "either `days` or `on`"),
        (r#"{"windows":[{"from":"20:00","days":["monday"]}]}"#, "there are mon, tue"),
        (r#"{"windows":[{"from":"20:00","on":"2026-02-30"}]}"#, "2026-02-30"),
        (r#"{"missed":"skip","start_late":"1h"}"#, "either `missed` or `start_late`"),
        (r#"{"overlap":"both"}"#, "there are extend, skip, replace"),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
