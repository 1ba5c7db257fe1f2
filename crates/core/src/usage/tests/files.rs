//! Files of usage records: whole lines, whatever fails.

use std::fs;
use std::io;

use super::*;
use crate::error::Error;
use crate::usage::file::{Target, Writer};
use crate::usage::record::RunId;

fn record(number: u64) -> Arc<UsageRecord> {
    let Unnumbered { cut, owner, stream, label, subject, from, to, used } = of_bytes(number);
    let run = "000000000000000000000000000000aa-1".parse::<UsageId>().expect("an id").run;
    Arc::new(UsageRecord { id: UsageId { run, number }, cut, owner, stream, label, subject, from, to, used })
}

fn numbers(text: &[u8]) -> Vec<u64> {
    assert!(text.is_empty() || text.ends_with(b"\n"), "the last line is not whole");
    let lines = std::str::from_utf8(text).expect("text").lines();
    lines.map(|line| serde_json::from_str::<UsageRecord>(line).expect(line).id.number()).collect()
}

/// A disk that fails as it is told.
#[derive(Default)]
struct Disk {
    content: Vec<u8>,
    /// How many bytes of the next write get there before it fails.
    fails_after: Option<usize>,
    is_stuck: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    fn fails(&self, after: Option<usize>, is_stuck: bool) {
        let mut disk = self.0.lock();
        (disk.fails_after, disk.is_stuck) = (after, is_stuck);
    }
}

impl Target for Shared {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().content.len() as u64)
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        let room = disk.fails_after.unwrap_or(bytes.len()).min(bytes.len());
        disk.content.extend_from_slice(&bytes[..room]);
        if disk.fails_after.is_some() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_back(&mut self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        if disk.is_stuck {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        disk.content.truncate(usize::try_from(length).expect("a small file"));
        Ok(())
    }
}

#[test]
fn a_write_that_fails_anywhere_leaves_whole_lines_and_is_made_up_for_once() {
    let line = serde_json::to_vec(&*record(1)).expect("it can be written").len() + 1;
    for fails_after in 0..line * 3 {
        for is_stuck in [false, true] {
            let disk = Shared::default();
            let mut writer = Writer::new("records".into(), Box::new(disk.clone()));
            writer.give(&[record(1)], 10);
            disk.fails(Some(fails_after), is_stuck);
            writer.give(&[record(2), record(3)], 10);
            let status = writer.status();
            assert_eq!((status.delivered, status.waiting, status.lost), (1, 2, 0));
            assert_eq!(status.last_error.as_ref().map(Error::code), Some("USAGE_FILE_FAILED"));
            if !is_stuck {
                assert_eq!(numbers(&disk.0.lock().content), [1], "after {fails_after} bytes");
            }
            disk.fails(None, false);
            writer.give(&[record(4)], 10);
            assert_eq!(
                numbers(&disk.0.lock().content),
                [1, 2, 3, 4],
                "after {fails_after} bytes, {is_stuck}"
            );
            let status = writer.status();
            assert_eq!((status.delivered, status.waiting, status.lost), (4, 0, 0));
            assert!(status.last_error.is_none());
        }
    }
}

#[test]
fn a_disk_that_stays_full_keeps_so_many_records_and_loses_the_newest() {
    let disk = Shared::default();
    let mut writer = Writer::new("records".into(), Box::new(disk.clone()));
    disk.0.lock().fails_after = Some(3);
    for number in (1..=40).step_by(2) {
        writer.give(&[record(number), record(number + 1)], 15);
    }
    let status = writer.status();
    assert_eq!((status.delivered, status.waiting, status.lost), (0, 15, 25));
    disk.0.lock().fails_after = None;
    let many: Vec<_> = (41..=3040).map(record).collect();
    writer.give(&many, 15);
    let status = writer.status();
    assert_eq!(
        (status.delivered, status.waiting, status.lost),
        (3015, 0, 25),
        "a batch larger than what is kept"
    );
    let expected: Vec<_> = (1..=15).chain(41..=3040).collect();
    assert_eq!(numbers(&disk.0.lock().content), expected);
}

#[test]
fn an_unfinished_end_is_cut_off_told_and_written_on_from_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("usage.jsonl");
    let line = |number| {
        let mut line = serde_json::to_vec(&*record(number)).expect("it can be written");
        line.push(b'\n');
        line
    };
    let whole = [line(1), line(2)].concat();
    let third = line(3);
    for torn in 0..third.len() {
        fs::write(&path, [&whole[..], &third[..torn]].concat()).expect("it can be written");
        let file = UsageFile::open(&path).expect("it can be opened");
        assert_eq!(file.torn_bytes(), torn as u64);
        let mut writer = file.writer();
        writer.give(&[record(4)], 10);
        drop(writer);
        assert_eq!(numbers(&fs::read(&path).expect("a file")), [1, 2, 4], "{torn} bytes of the third");
    }
    // The first line itself; zeros that a power failure left; a last line further back than one block.
    let long = vec![0; 200_000];
    for (content, left) in [(third[..20].to_vec(), 0), ([&whole[..], &long].concat(), whole.len())] {
        fs::write(&path, &content).expect("it can be written");
        let file = UsageFile::open(&path).expect("it can be opened");
        assert_eq!(file.torn_bytes(), (content.len() - left) as u64);
        assert_eq!(fs::read(&path).expect("a file").len(), left);
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("letter.txt");
    let mut long = b"{\"id\":\"".to_vec();
    long.resize(2 << 20, b'x');
    for content in [b"Dear Alice".to_vec(), b"{".repeat(3), vec![0; 100], long] {
        fs::write(&path, &content).expect("it can be written");
        let refused = UsageFile::open(&path).expect_err("it is no file of usage records");
        assert_eq!((refused.code(), refused.http_status()), ("USAGE_FILE_FAILED", 500));
        assert!(fs::read(&path).expect("a file") == content, "it was changed");
    }
    let refused = UsageFile::open(directory.path().join("no/such/folder")).expect_err("no folder");
    assert_eq!(refused.code(), "USAGE_FILE_FAILED");
}

#[test]
fn a_file_has_one_writer_and_is_free_after_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("usage.jsonl");
    let (usage, _engine) = usage(|_| {});
    let sink = usage.to_file(UsageFile::open(&path).expect("it can be opened")).expect("a thread");
    let refused = UsageFile::open(&path).expect_err("it is in use");
    assert_eq!((refused.code(), refused.http_status()), ("USAGE_FILE_IN_USE", 409));
    (1..=10).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
    assert!(usage.flush(PATIENCE));
    assert_eq!(sink.status().delivered, 10);
    sink.cancel(PATIENCE);
    let content = fs::read(&path).expect("a file");
    assert_eq!(numbers(&content), (1..=10).collect::<Vec<_>>());
    assert_eq!(UsageFile::open(&path).expect("it is free").torn_bytes(), 0);
}

#[test]
fn a_file_that_cannot_be_written_does_not_keep_callbacks_from_theirs() {
    let (usage, _engine) = usage(|_| {});
    let disk = Shared::default();
    disk.0.lock().fails_after = Some(0);
    let writer = Writer::new("records".into(), Box::new(disk.clone()));
    let sink = usage.add(Kind::File(Box::new(FileSink::new(writer)))).expect("a thread");
    let (_callback, all) = collected(&usage);
    (1..=10).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
    assert!(usage.flush(PATIENCE), "a write that failed is no wait");
    assert_eq!((all.lock().len(), sink.status().waiting), (10, 10));
    // The engine ends: it is tried once more.
    disk.0.lock().fails_after = None;
    assert!(usage.desk.close(Instant::now() + PATIENCE), "the thread ends");
    assert_eq!((sink.status().delivered, sink.status().waiting), (10, 0));
    assert_eq!(numbers(&disk.0.lock().content).len(), 10);
}

#[test]
fn a_file_that_somebody_emptied_meanwhile_gets_whole_lines_even_if_a_write_fails() {
    let disk = Shared::default();
    let mut writer = Writer::new("records".into(), Box::new(disk.clone()));
    writer.give(&[record(1), record(2)], 10);
    disk.0.lock().content.clear();
    disk.fails(Some(5), false);
    writer.give(&[record(3)], 10);
    disk.fails(None, false);
    writer.give(&[record(4)], 10);
    assert_eq!(numbers(&disk.0.lock().content), [3, 4]);
}

#[test]
fn a_file_is_closed_with_the_engine_though_somebody_has_its_sink() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("usage.jsonl");
    let (usage, _engine) = usage(|_| {});
    let sink = usage.to_file(UsageFile::open(&path).expect("it can be opened")).expect("a thread");
    usage.desk.push(of_bytes(1));
    assert!(usage.desk.close(Instant::now() + PATIENCE), "the thread ends");
    drop(UsageFile::open(&path).expect("it is free"));
    assert_eq!(sink.status().delivered, 1);
    // An engine that has ended takes no file away from others.
    let late = usage.to_file(UsageFile::open(&path).expect("it is free")).expect("no thread is needed");
    drop(UsageFile::open(&path).expect("it is free"));
    assert_eq!(late.status().delivered, 0);
}

#[test]
fn runs_are_told_apart_in_one_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("usage.jsonl");
    for _ in 0..3 {
        let (usage, _engine) = usage(|_| {});
        let sink = usage.to_file(UsageFile::open(&path).expect("it is free")).expect("a thread");
        (1..=3).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
        sink.cancel(PATIENCE);
    }
    let text = fs::read_to_string(&path).expect("a file");
    let ids: std::collections::BTreeSet<UsageId> =
        text.lines().map(|line| serde_json::from_str::<UsageRecord>(line).expect(line).id).collect();
    let runs: std::collections::BTreeSet<RunId> = ids.iter().map(|id| id.run).collect();
    assert_eq!((ids.len(), runs.len()), (9, 3));
}
