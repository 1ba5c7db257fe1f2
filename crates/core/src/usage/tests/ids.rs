//! Ids that no two records share.

use std::collections::HashSet;

use super::*;
use crate::usage::record::RunId;

#[test]
fn no_two_runs_are_the_same_and_ids_are_read_as_they_are_shown() {
    let runs: HashSet<_> = (0..20_000).map(|_| RunId::new()).collect();
    assert_eq!(runs.len(), 20_000);
    for run in runs.iter().take(100) {
        for number in [1, 17, u64::MAX] {
            let id = UsageId { run: *run, number };
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.run().len(), 32);
        }
    }
    let run = "0123456789abcdef0123456789abcdef";
    assert!(format!("{run}-1").parse::<UsageId>().is_ok());
    for text in
        [String::new(), run.to_owned(), format!("{run}-"), format!("{run}-+1"), format!("+{}-1", &run[1..])]
    {
        assert_eq!(text.parse::<UsageId>(), Err(ParseUsageIdError), "{text:?}");
    }
}

#[test]
fn a_later_run_has_larger_digits() {
    let first = RunId::new();
    let begin = SystemTime::now();
    // The digits begin with milliseconds.
    while begin.elapsed().unwrap_or_default() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert!(RunId::new().to_string() > first.to_string());
}

#[cfg(feature = "serde")]
#[test]
fn a_record_is_read_as_it_was_written_and_what_is_not_there_is_left_out() {
    let used = Used {
        wall_time: Duration::from_micros(60_000_001),
        media_time: Duration::from_millis(59_960),
        cpu_time: Duration::from_micros(123_457),
        codec_cpu_time: Duration::from_micros(3),
        frames_encoded: 1500,
        pixels_encoded: 1 << 60,
        fallback_time: Duration::from_millis(1),
        bytes: u64::MAX,
        drops: 1,
        reconnects: 2,
    };
    let subject = UsageSubject::Output {
        id: OutputId(3),
        label: Some(Arc::from("main \"one\"\n")),
        name: Arc::from("rtmp://host/app/****"),
        transport: OutputTransport::Rtmps,
    };
    let record = UsageRecord {
        id: UsageId { run: RunId::new(), number: 7 },
        cut: UsageCut::Owner,
        owner: Some(Arc::from("alice")),
        stream: STREAM,
        label: Some(Arc::from("show")),
        subject,
        from: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        to: UNIX_EPOCH + Duration::from_millis(1_700_000_060_124),
        used,
    };
    let text = serde_json::to_string(&record).expect("it can be written");
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(serde_json::from_str::<UsageRecord>(&text).expect("it can be read"), record);
    for number in 0..2000u64 {
        let wall_time = Duration::from_micros(number * 1_234_567_891);
        let record = UsageRecord {
            subject: UsageSubject::Players,
            used: Used { wall_time, ..Used::default() },
            ..record.clone()
        };
        let text = serde_json::to_string(&record).expect("it can be written");
        assert_eq!(serde_json::from_str::<UsageRecord>(&text).expect("it can be read"), record, "{text}");
    }
    let small = UsageRecord {
        id: "0123456789abcdef0123456789abcdef-1".parse().expect("an id"),
        cut: UsageCut::End,
        owner: None,
        label: None,
        subject: UsageSubject::Stream,
        used: Used { media_time: Duration::from_millis(2500), ..Used::default() },
        ..record
    };
    assert_eq!(
        serde_json::to_string(&small).expect("it can be written"),
        "{\"id\":\"0123456789abcdef0123456789abcdef-1\",\"cut\":\"end\",\"from\":\"2023-11-14T22:13:20.123Z\",\
         \"to\":\"2023-11-14T22:14:20.124Z\",\"stream\":\"s1\",\"subject\":\"stream\",\"media_seconds\":2.5}"
    );
}
