//! What goes into records: exact differences, whatever comes and goes.

use super::*;

/// A stream whose figures the test gives.
struct Stream {
    usage: Usage,
    account: Account,
    all: Arc<Mutex<Vec<UsageRecord>>>,
    stats: StreamStats,
    codecs: Duration,
    begin: Instant,
    _engine: Arc<Empty>,
    _sink: UsageSink,
}

impl Stream {
    fn of(owner: Option<&str>) -> Self {
        let (usage, engine) = usage(|_| {});
        let (sink, all) = collected(&usage);
        let account = Account::of(&usage.desk, Some(Arc::from("show")));
        account.open(owner.map(str::to_owned));
        let (stats, begin) = (StreamStats::new(STREAM, None), Instant::now());
        Self { usage, account, all, stats, codecs: Duration::ZERO, begin, _engine: engine, _sink: sink }
    }

    /// The moment this much after its start.
    fn after(&self, time: Duration) -> Moment {
        Moment { now: self.begin + time, at: UNIX_EPOCH + Duration::from_secs(1_000_000_000) + time }
    }

    fn figures(&self) -> Figures {
        Figures { stats: self.stats.clone(), codecs: self.codecs }
    }

    fn cut(&self, why: UsageCut, after: Duration) {
        self.account.cut(why, None, self.after(after), || self.figures());
    }

    fn add(&mut self, id: u64, after: Duration) {
        let mut stats = OutputStats::new(OutputId(id), None, format!("rtmp://host/{id}"));
        stats.transport = OutputTransport::Rtmp;
        self.account.output_comes(self.after(after), &stats);
        self.stats.outputs.push(stats);
    }

    fn output(&mut self, id: u64) -> &mut OutputStats {
        self.stats.outputs.iter_mut().find(|output| output.id == OutputId(id)).expect("it is there")
    }

    /// An output sends more, and the figures show it.
    fn sends(&mut self, id: u64, bytes: u64) {
        self.output(id).bytes_sent += bytes;
        self.stats.bytes_sent += bytes;
    }

    fn ends(&mut self, id: u64, after: Duration) {
        let last = self.output(id).clone();
        self.account.output_ends(self.after(after), STREAM, &last);
    }

    /// The records so far.
    fn records(&self) -> Vec<UsageRecord> {
        assert!(self.usage.flush(PATIENCE));
        self.all.lock().clone()
    }

    fn sum(&self, which: impl Fn(&UsageRecord) -> bool) -> Used {
        self.records().iter().filter(|record| which(record)).map(|record| record.used).sum()
    }
}

fn is_output(id: u64) -> impl Fn(&UsageRecord) -> bool {
    move |record| matches!(record.subject, UsageSubject::Output { id: it, .. } if it == OutputId(id))
}

fn is(kind: &'static str) -> impl Fn(&UsageRecord) -> bool {
    move |record| record.subject.as_str() == kind
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn differences_add_up_to_the_last_figures_to_the_microsecond() {
    let mut stream = Stream::of(Some("alice"));
    stream.add(0, secs(0));
    let mut expected = Used::default();
    for number in 1..=100u32 {
        // No whole microseconds: what is cut off must not be lost a hundred times.
        stream.stats.uptime = Duration::from_nanos(60_000_000_777) * number;
        stream.stats.cpu_time = Duration::from_nanos(333_333) * number;
        stream.codecs = Duration::from_nanos(1_999) * number;
        stream.stats.media_time = MediaTime::from_millis(i64::from(number) * 59_987);
        (stream.stats.frames_encoded, stream.stats.pixels_encoded) =
            (u64::from(number) * 1500, 7 * u64::from(number));
        let time = Duration::from_millis(u64::from(number) * 3);
        stream.stats.fallback = Some(FallbackStats { time, ..FallbackStats::default() });
        stream.sends(0, 1_000_003);
        (stream.output(0).drops, stream.output(0).reconnects) = (u64::from(number) * 2, u64::from(number));
        let why = if number == 100 { UsageCut::End } else { UsageCut::Interval };
        stream.cut(why, secs(60) * number);
        expected = Used {
            wall_time: stream.stats.uptime,
            media_time: Duration::from_millis(u64::from(number) * 59_987),
            cpu_time: stream.stats.cpu_time,
            codec_cpu_time: stream.codecs,
            frames_encoded: stream.stats.frames_encoded,
            pixels_encoded: stream.stats.pixels_encoded,
            fallback_time: Duration::from_millis(u64::from(number) * 3),
            ..Used::default()
        };
    }
    assert_eq!(stream.sum(is("stream")), expected.in_micros());
    let output = Used {
        wall_time: secs(6000),
        bytes: 100 * 1_000_003,
        drops: 200,
        reconnects: 100,
        ..Used::default()
    };
    assert_eq!(stream.sum(is_output(0)), output);
    assert_eq!(stream.sum(is("players")), Used::default(), "there was none");
    let records = stream.records();
    let numbers: Vec<_> = records.iter().map(|record| record.id.number()).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.owner.as_deref() == Some("alice")));
    assert_eq!(records.iter().filter(|record| record.cut == UsageCut::End).count(), 2);
    let of_stream: Vec<_> = records.iter().filter(|record| is("stream")(record)).collect();
    assert!(of_stream.windows(2).all(|pair| pair[0].to == pair[1].from), "one begins where the other ends");
}

#[test]
fn an_output_that_is_removed_is_counted_to_its_end_and_older_figures_do_not_count_it_again() {
    let mut stream = Stream::of(None);
    stream.add(0, secs(0));
    stream.add(1, secs(10));
    stream.sends(0, 500);
    stream.sends(1, 50);
    stream.cut(UsageCut::Interval, secs(60));
    let published = stream.stats.clone();
    stream.sends(1, 7);
    stream.sends(0, 100);
    stream.ends(1, secs(70));
    // What is published is from before that, and does not have the last seven bytes.
    let (now, bytes) = (std::mem::replace(&mut stream.stats, published), 57);
    stream.cut(UsageCut::Interval, secs(120));
    stream.stats = now;
    stream.stats.outputs.retain(|output| output.id != OutputId(1));
    stream.cut(UsageCut::Interval, secs(180));
    stream.cut(UsageCut::End, secs(200));
    let removed = Used { wall_time: secs(60), bytes, ..Used::default() };
    assert_eq!(stream.sum(is_output(1)), removed);
    assert_eq!(stream.sum(is_output(0)).bytes, 600);
    assert_eq!(stream.sum(is("players")), Used::default());
    assert_eq!(stream.sum(|_| true).bytes, stream.stats.bytes_sent);
    let ends = stream
        .records()
        .iter()
        .filter(|record| is_output(1)(record))
        .map(|record| record.cut)
        .collect::<Vec<_>>();
    assert_eq!(ends, [UsageCut::Interval, UsageCut::End]);
    // What comes after the end of the stream is nobody's.
    stream.sends(0, 1);
    stream.ends(0, secs(201));
    stream.cut(UsageCut::End, secs(201));
    assert_eq!(stream.sum(|_| true).bytes, 657);
}

#[test]
fn players_are_one_record_of_all_that_the_stream_sent_without_its_outputs() {
    let mut stream = Stream::of(Some("bob"));
    stream.add(0, secs(0));
    // Players are not announced; ten of them come, send and go.
    for _ in 0..10 {
        stream.sends(0, 100);
        stream.stats.bytes_sent += 1000;
        stream.stats.drops += 3;
    }
    stream.cut(UsageCut::Interval, secs(60));
    stream.cut(UsageCut::Interval, secs(120));
    stream.stats.bytes_sent += 5;
    stream.ends(0, secs(130));
    stream.cut(UsageCut::End, secs(130));
    let players = Used { bytes: 10_005, drops: 30, ..Used::default() };
    assert_eq!(stream.sum(is("players")), players);
    let records = stream.records();
    assert_eq!(
        records.iter().filter(|record| is("players")(record)).count(),
        2,
        "none where they got nothing"
    );
    assert_eq!(stream.sum(|_| true).bytes, stream.stats.bytes_sent);
}

#[test]
fn an_owner_pays_for_what_came_before_the_next_one() {
    let mut stream = Stream::of(Some("alice"));
    stream.add(0, secs(0));
    stream.sends(0, 300);
    stream.stats.cpu_time = secs(3);
    stream.cut(UsageCut::Interval, secs(60));
    stream.sends(0, 20);
    stream.stats.cpu_time = secs(4);
    stream.account.passes_to(Some("bob".to_owned()), stream.after(secs(70)), || stream.figures());
    stream.sends(0, 1);
    stream.stats.cpu_time = secs(9);
    stream.account.passes_to(None, stream.after(secs(80)), || stream.figures());
    stream.sends(0, 4000);
    stream.cut(UsageCut::End, secs(90));
    let of = |owner: Option<&'static str>| stream.sum(move |record| record.owner.as_deref() == owner);
    assert_eq!((of(Some("alice")).bytes, of(Some("alice")).cpu_time), (320, secs(4)));
    assert_eq!((of(Some("bob")).bytes, of(Some("bob")).cpu_time), (1, secs(5)));
    assert_eq!((of(None).bytes, of(None).cpu_time), (4000, secs(0)));
    let why = |cut| stream.records().iter().filter(|record| record.cut == cut).count();
    assert_eq!((why(UsageCut::Owner), why(UsageCut::End)), (4, 2));
}

#[test]
fn an_owner_before_records_were_wanted_is_not_paid_for_by_the_next() {
    let (usage, _engine) = usage(|_| {});
    let account = Account::of(&usage.desk, None);
    account.open(Some("alice".to_owned()));
    let mut stats = StreamStats::new(STREAM, None);
    let figures = |stats: &StreamStats| Figures { stats: stats.clone(), codecs: Duration::ZERO };
    stats.cpu_time = secs(5);
    account.passes_to(Some("bob".to_owned()), Moment::now(), || figures(&stats));
    let (_sink, all) = collected(&usage);
    stats.cpu_time = secs(7);
    account.cut(UsageCut::End, None, Moment::now(), || figures(&stats));
    assert!(usage.flush(PATIENCE));
    let all = all.lock().clone();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].owner.as_deref(), all[0].used.cpu_time), (Some("bob"), secs(2)));
}

#[test]
fn an_output_that_goes_on_elsewhere_has_a_record_for_each_address() {
    let mut stream = Stream::of(None);
    stream.add(0, secs(0));
    stream.add(1, secs(0));
    stream.sends(0, 300);
    stream.account.cut(UsageCut::Replaced, Some(OutputId(0)), stream.after(secs(30)), || stream.figures());
    stream.output(0).name = "rtmp://other".to_owned();
    stream.sends(0, 40);
    stream.cut(UsageCut::End, secs(60));
    let names = |wanted: &'static str| {
        stream.sum(
            move |record| matches!(&record.subject, UsageSubject::Output { name, .. } if &**name == wanted),
        )
    };
    assert_eq!((names("rtmp://host/0").bytes, names("rtmp://other").bytes), (300, 40));
    assert_eq!(names("rtmp://host/0").wall_time + names("rtmp://other").wall_time, secs(60));
    assert_eq!(
        stream.records().iter().filter(|record| is_output(1)(record)).count(),
        1,
        "others are not cut"
    );
}

#[test]
fn figures_that_go_back_give_nothing_twice() {
    let mut stream = Stream::of(None);
    stream.add(0, secs(0));
    for bytes in [100, 60, 100, 130, 0, 140] {
        (stream.output(0).bytes_sent, stream.stats.bytes_sent) = (bytes, bytes);
        stream.cut(UsageCut::Interval, secs(60));
    }
    assert_eq!(stream.sum(is_output(0)).bytes, 140);
    // The system's clock is set back by an hour: no record ends before it begins.
    stream.account.cut(
        UsageCut::End,
        None,
        Moment { now: stream.begin + secs(90), at: UNIX_EPOCH + secs(999_996_400) },
        || stream.figures(),
    );
    assert!(stream.records().iter().all(|record| record.from <= record.to));
    assert_eq!(stream.sum(is_output(0)).wall_time, secs(90));
}

#[test]
fn an_output_that_was_refused_has_no_record() {
    let mut stream = Stream::of(None);
    stream.add(0, secs(0));
    stream.account.output_is_refused(OutputId(0));
    stream.stats.outputs.clear();
    stream.cut(UsageCut::End, secs(1));
    assert_eq!(stream.records().len(), 1, "that of the stream");
}

#[test]
fn where_nobody_wants_records_figures_are_not_even_asked_for() {
    let (usage, _engine) = usage(|_| {});
    let account = Account::of(&usage.desk, None);
    account.open(None);
    account.cut(UsageCut::Interval, None, Moment::now(), || panic!("nobody wants them"));
    account.cut(UsageCut::End, None, Moment::now(), || panic!("nobody wants them"));
}

#[test]
fn times_of_records_are_whole_milliseconds() {
    let stream = Stream::of(None);
    let odd = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    stream.account.cut(UsageCut::End, None, Moment { now: stream.begin, at: odd }, || stream.figures());
    let records = stream.records();
    assert_eq!(records[0].to, SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_000_000));
}
