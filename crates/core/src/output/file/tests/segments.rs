//! That the driver, its queue and the writer know nothing of FLV: a format of several files, with an index, that writes nothing
//! before the next keyframe.

use crate::pool::Scratch;

use super::*;

type Fault = fn() -> io::Result<()>;

/// A file for each GOP, which is written once it is whole, and a list of them that is written
/// anew with each.
struct Segments {
    dir: PathBuf,
    path: PathBuf,
    waiting: Vec<Tag>,
    done: usize,
    written: u64,
    /// What goes wrong at a tag of this time.
    at: Option<(i64, Fault)>,
}

impl Segments {
    fn new(dir: &Path) -> Self {
        let mut segments = Self {
            dir: dir.to_owned(),
            path: PathBuf::new(),
            waiting: Vec::new(),
            done: 0,
            written: 0,
            at: None,
        };
        segments.begin();
        segments
    }

    fn begin(&mut self) {
        self.path = self.dir.join(format!("{}.gop", self.done));
    }

    fn end(&mut self) -> io::Result<()> {
        let times = self.waiting.drain(..).map(|tag| format!("{}\n", tag.timestamp.as_millis()));
        let text: String = times.collect();
        std::fs::write(&self.path, &text)?;
        std::fs::File::open(&self.path)?.sync_data()?;
        self.written += text.len() as u64;
        self.done += 1;
        let names = (0..self.done).map(|number| format!("{number}.gop\n"));
        let list = self.dir.join("list.new");
        std::fs::write(&list, names.collect::<String>())?;
        std::fs::rename(list, self.dir.join("list"))
    }
}

impl Format for Segments {
    fn largest_body(&self) -> usize {
        usize::MAX
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        for tag in tags.iter().filter(|tag| tag.is_video() && !tag.is_header()) {
            if let Some((_, what)) = self.at.filter(|(at, _)| tag.timestamp.as_millis() == *at) {
                what()?;
            }
            if tag.is_keyframe() && !self.waiting.is_empty() {
                self.end()?;
                self.begin();
            }
            self.waiting.push(tag.clone());
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn has_media(&self) -> bool {
        self.done > 0
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.end() }
    }
}

/// What an output reports in its next turn, and how it stands then.
fn turn(output: &mut FileOutput, ring: &Ring) -> (OutputState, Vec<PathBuf>) {
    let poll = mio::Poll::new().expect("a poll");
    let (mut scratch, mut notices) = (Scratch::default(), Vec::new());
    let state = output.turn(&mut OutputContext {
        output: OutputId(0),
        now: Instant::now(),
        registry: poll.registry(),
        token: mio::Token(1),
        ring,
        readable: false,
        writable: false,
        tick: false,
        scratch: &mut scratch,
        notices: &mut notices,
    });
    let opened = notices.into_iter().filter_map(|notice| match notice {
        EventKind::RecordingOpened { path, .. } => Some(path),
        _ => None,
    });
    (state, opened.collect())
}

/// Plays three GOPs of ten pictures to a format.
fn three_gops(output: &mut FileOutput, ring: &mut Ring) -> Vec<PathBuf> {
    let tape = Tape::new(2);
    ring.push(Tape::header());
    let mut opened = Vec::new();
    for slot in 0..6 {
        tape.play(slot, ring);
        opened.extend(turn(output, ring).1);
    }
    opened
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("it was written");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_format_may_write_several_files_and_write_late() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |number: i64| dir.path().join(format!("{number}.gop"));
    let mut output = started(Segments::new(dir.path()));
    let mut ring = Ring::new(BacklogConfig::default(), false);
    let tape = Tape::new(2);
    ring.push(Tape::header());
    tape.play(0, &mut ring);
    assert_eq!(turn(&mut output, &ring).1, [file(0)], "the first file is known at once");
    until("the tags are taken", || output.queue.bytes() == 0);
    assert_eq!((output.first_media(), output.writer.bytes()), (None, 0), "nothing is in a file yet");
    let mut opened = Vec::new();
    for slot in 1..6 {
        tape.play(slot, &mut ring);
        opened.extend(turn(&mut output, &ring).1);
    }
    until("two files are whole", || {
        opened.extend(turn(&mut output, &ring).1);
        opened == [file(1), file(2)]
    });
    assert!(output.first_media().is_some());
    let mut stats = OutputStats::new(OutputId(0), None, "a file".to_owned());
    output.stats(&mut stats);
    assert_eq!(stats.path, Some(file(2)));
    output.until = Some(ring.end());
    output.feed(&ring, Instant::now());
    until("it is complete", || output.is_finished());
    assert!(output.failure().is_none());
    assert_eq!(lines(&dir.path().join("list")), ["0.gop", "1.gop", "2.gop"]);
    for gop in 0..3 {
        let times = (0..10).map(|picture| (gop * 200 + picture * 20).to_string());
        assert!(lines(&file(gop)).into_iter().eq(times), "{gop}");
    }
}

#[test]
fn what_a_format_fails_with_is_told_with_the_file_it_wrote() {
    let dir = tempfile::tempdir().expect("a directory");
    let fails: [Fault; 2] = [|| Err(io::ErrorKind::StorageFull.into()), || panic!("a mistake in a format")];
    for (fail, expected) in fails.into_iter().zip(["no storage space", "panicked"]) {
        let mut output = started(Segments { at: Some((300, fail)), ..Segments::new(dir.path()) });
        let mut ring = Ring::new(BacklogConfig::default(), false);
        three_gops(&mut output, &mut ring);
        until("it has failed", || matches!(turn(&mut output, &ring).0, OutputState::Ended(_)));
        let Some(Error::Recording { path, source }) = output.failure() else { panic!("it failed") };
        assert_eq!(path, dir.path().join("1.gop"));
        assert!(source.to_string().contains(expected), "{source}");
        assert!(output.is_finished());
    }
}
