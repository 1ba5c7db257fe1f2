//! A machine that does not keep up: streams that are encoded step down, those that are copied are not touched, and what is recorded can be decoded.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast::encode::{QualityLadder, UnderLoad};
use flowcast::output::{FileFormat, Hls};
use flowcast::stats::{DropReason, LoadReason};
use flowcast::{Encoding, Engine, Error, EventKind, Events, Mode, Output, Profile, Source, StreamHandle};
use kit::rig::engine;
use kit::{Clip, FfmpegListen, PATIENCE, Shown, directory, shown, turn, wait_until};

/// Uses a third of the machine and more, until it is dropped.
pub(crate) struct Burning {
    is_over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Burning {
    pub(crate) fn start() -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let count = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let burn = |is_over: Arc<AtomicBool>| {
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..count).map(|_| std::thread::spawn(burn(is_over.clone()))).collect();
        Self { is_over, threads }
    }
}

impl Drop for Burning {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("it only counts"));
    }
}

/// The pictures change their size once, to half of it, and their times go on, at half the rate from some time on.
#[track_caller]
fn assert_steps(who: &str, pictures: &[Shown]) {
    let mut widths: Vec<_> = pictures.iter().map(|picture| picture.size.0).collect();
    widths.dedup();
    assert_eq!(widths.len(), 2, "{who}: {widths:?}");
    assert_eq!(widths[1], widths[0] / 2, "{who}: half as wide from a keyframe on");
    let steps: Vec<_> = pictures.windows(2).map(|pair| pair[1].millis - pair[0].millis).collect();
    let (shortest, longest) = (steps.iter().min().copied(), steps.iter().max().copied());
    let (shortest, longest) = (shortest.unwrap_or_default(), longest.unwrap_or_default());
    assert!(shortest > 0, "{who}: times go on");
    assert!(longest <= 3 * shortest, "{who}: {longest}, {shortest}: every other picture");
}

#[test]
fn under_load_what_is_encoded_steps_down_and_what_is_copied_is_not_touched() {
    let _turn = turn();
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let file = directory.path().join("encoded.flv");
    let engine = engine(|config| {
        // What is read ahead is sent before a step shows.
        config.read_ahead.items = 50;
        config.ladder = Some(QualityLadder::default().with(|ladder| {
            (ladder.lower_percent, ladder.raise_percent) = (10, 1);
            // On a busy machine an encoder may be slow besides: here the use of the machine is to be the reason.
            ladder.encode_percent = 1000;
        }));
    });
    let events = engine.events();
    let source = |mode| Source::file(&clip).looped().mode(mode);
    let copy = Output::record(directory.path().join("copied.flv"));
    let copied = engine.stream(source(Mode::Copy)).to(copy).start().expect("it can be copied");
    let kept = Encoding::new(Profile::Ultra).with(|encoding| {
        encoding.under_load = UnderLoad::default().with(|load| load.floor = Some("high".to_owned()));
    });
    let kept = source(Mode::Encode).encoding(kept);
    let record = Output::record(directory.path().join("kept.flv"));
    let kept = engine.stream(kept).to(record).start().expect("it can be encoded");
    let encoded = source(Mode::Encode).encoding(Encoding::new(Profile::Ultra));
    let (part, mut server) = (directory.path().join("part.mp4"), FfmpegListen::start("live", "steps"));
    let hls = [FileFormat::Mp4, FileFormat::MpegTs].map(|format| {
        let hls = Hls::directory(directory.path().join(format.as_str())).event();
        Output::hls(hls.target_duration(Duration::from_secs(1)).format(format))
    });
    let push = Output::rtmp(&format!("rtmp://{}/live", server.address), "steps");
    let encoded = engine.stream(encoded).to(Output::record(&file)).record(&part).to(push).outputs(hls);
    let encoded = encoded.start().expect("it can be encoded");
    let burning = Burning::start();
    let figures = || encoded.stats().encoding.unwrap_or_default();
    assert!(wait_until(PATIENCE, || figures().rung == 3), "{}", encoded.stats());
    let until = encoded.stats().media_time.as_millis() + 5000;
    assert!(wait_until(PATIENCE, || encoded.stats().media_time.as_millis() >= until), "{}", encoded.stats());
    drop(burning);
    assert!(figures().drops.of(DropReason::Load) > 0 && figures().dropped == 0, "{:?}", figures());
    assert_eq!(kept.stats().encoding.map(|encoding| encoding.rung), Some(0));
    let stopped = encoded.id();
    let stats = encoded.stats();
    assert!(stats.outputs.iter().all(|output| output.failures == 0), "{stats}");
    // What this machine gave an output no time for is lost up to a keyframe.
    let is_whole: Vec<_> = stats.outputs.iter().map(|output| output.drops == 0).collect();
    for stream in [encoded, copied, kept] {
        stream.stop(PATIENCE).expect("it was not lost");
    }
    let mut steps = Vec::new();
    while let Some(event) = events.try_next() {
        match event.kind {
            EventKind::RungChanged { from, to, reason } => {
                assert_eq!((event.stream, reason), (stopped, LoadReason::Cpu));
                steps.push(format!("{from} {to}"));
            }
            EventKind::SourceFault { error } => panic!("{error}"),
            _ => {}
        }
    }
    assert_eq!(steps, ["high medium", "medium low", "low potato"]);
    assert_steps("FLV", &shown(&file));
    if is_whole[1] {
        // What cannot go on with another size in the same file goes on in the next.
        let [first, next] = [part, directory.path().join("part-1.mp4")].map(|file| shown(&file));
        assert!(first.iter().all(|picture| picture.size == first[0].size));
        assert_eq!(next[0].size.0, first[0].size.0 / 2);
        assert!(next.len() > 25, "{}", next.len());
    }
    // A server of others, in the same connection.
    let pushed = server.finish(PATIENCE);
    let played = |format: FileFormat| directory.path().join(format.as_str()).join("index.m3u8");
    for (place, who, file) in [
        (2, "push", pushed.to_owned()),
        (3, "HLS", played(FileFormat::Mp4)),
        (4, "HLS of MPEG-TS", played(FileFormat::MpegTs)),
    ] {
        if is_whole[place] {
            assert_steps(who, &shown(&file));
        }
    }
}

#[test]
fn what_cannot_have_an_effect_is_refused() {
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let with_ladder = engine(|config| config.ladder = Some(QualityLadder::default()));
    let without = engine(|_| {});
    let floor = |name: &str| {
        Encoding::new(Profile::Ultra).with(|encoding| {
            encoding.under_load = UnderLoad::default().with(|load| load.floor = Some(name.to_owned()));
        })
    };
    for (engine, name, mode) in [
        (&without, "low", Mode::Encode),
        (&with_ladder, "lower", Mode::Encode),
        (&with_ladder, "low", Mode::Copy),
    ] {
        let source = Source::file(&clip).looped().mode(mode).encoding(floor(name));
        let output = Output::record(directory.path().join("refused.flv"));
        let error = engine.stream(source).to(output).start().expect_err("it has no effect");
        assert!(matches!(error, Error::Config { name: "encoding.under_load", .. }), "{error:?}");
    }
}

/// Looks, five a second, of which one at least is soon after media came.
const STRIDE: usize = 20;
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// How far the media of a stream is behind the clock, in seconds. That begins with its first media, and stands still where media does not come in time.
fn behind(stream: &StreamHandle) -> f64 {
    let stats = stream.stats();
    stats.uptime.as_secs_f64() - stats.media_time.as_millis() as f64 / 1000.0
}

/// What happened to streams that are encoded, so many at a time.
struct Run {
    engine: Engine,
    events: Events,
    streams: Vec<StreamHandle>,
    began: Instant,
    /// By their reasons.
    steps: BTreeMap<&'static str, usize>,
    lost: usize,
}

impl Run {
    /// Starts `count` streams of a clip that are recorded, on an engine with a ladder or without.
    fn start(directory: &Path, clip: &Path, count: usize, has_ladder: bool) -> Self {
        let engine = engine(|config| {
            config.max_streams = count + 1;
            config.ladder = has_ladder.then(QualityLadder::default);
        });
        let events = engine.events();
        let start = |number: usize| {
            let encoding = Encoding::new(Profile::Default).with(|encoding| encoding.threads = Some(1));
            let source = Source::file(clip).looped().mode(Mode::Encode).encoding(encoding);
            let output = Output::record(directory.join(format!("{has_ladder}-{number}.flv")));
            engine.stream(source).to(output).start().expect("it can be encoded")
        };
        let streams: Vec<_> = (0..count).map(start).collect();
        let has_begun = |stream: &StreamHandle| stream.stats().media_time.as_millis() > 0;
        assert!(wait_until(PATIENCE, || streams.iter().all(has_begun)));
        Self { engine, events, streams, began: Instant::now(), steps: BTreeMap::new(), lost: 0 }
    }

    /// Lets it run for so long; the furthest that a stream fell behind meanwhile, and is behind at the end, in seconds.
    fn watch(&mut self, length: Duration) -> (f64, f64) {
        let until = Instant::now() + length;
        // Media comes in strides of a second and more: what is behind right after one is behind.
        let mut looks: Vec<VecDeque<f64>> = vec![VecDeque::new(); self.streams.len()];
        let least = |looks: &VecDeque<f64>| looks.iter().copied().fold(f64::INFINITY, f64::min);
        let mut begin = None::<Vec<f64>>;
        let (mut most, mut last): (f64, f64) = (0.0, 0.0);
        while Instant::now() < until {
            while let Some(event) = self.events.next_timeout(LOOKS_EVERY) {
                match event.kind {
                    EventKind::RungChanged { reason, .. } => {
                        *self.steps.entry(reason.as_str()).or_default() += 1
                    }
                    EventKind::OutputRetrying { .. } | EventKind::SourceFault { .. } => self.lost += 1,
                    _ => {}
                }
            }
            for (looks, stream) in looks.iter_mut().zip(&self.streams) {
                looks.push_back(behind(stream));
                if looks.len() > STRIDE {
                    looks.pop_front();
                }
            }
            if looks.iter().all(|looks| looks.len() == STRIDE) {
                let now: Vec<f64> = looks.iter().map(least).collect();
                let begin = begin.get_or_insert_with(|| now.clone());
                last = now.iter().zip(&*begin).map(|(now, begin)| now - begin).fold(0.0, f64::max);
                most = most.max(last);
            }
        }
        (most, last)
    }

    fn rungs(&self) -> Vec<u32> {
        let rung = |stream: &StreamHandle| stream.stats().encoding.map_or(0, |encoding| encoding.rung);
        self.streams.iter().map(rung).collect()
    }

    fn say(&self, what: &str, (most, last): (f64, f64)) {
        let (seconds, steps) = (self.began.elapsed().as_secs(), &self.steps);
        println!(
            "{what}: after {seconds} s fell behind by {most:.1} s at most, {last:.1} s at the end; steps by reason {steps:?}, {} faults; rungs {:?}",
            self.lost,
            self.rungs()
        );
    }
}

/// `benches/load.sh` runs it: it takes minutes, and judges by the clock.
fn measure(has_ladder: bool) {
    let directory = directory();
    let size = std::env::var("SIZE").unwrap_or_else(|_| "480x270".to_owned());
    let side = |side: Option<&str>| side.and_then(|side| side.parse().ok()).expect("SIZE=480x270");
    let mut sides = size.split('x');
    let size = (side(sides.next()), side(sides.next()));
    let clip = Clip { seconds: 10, size, ..Clip::default() }.make(directory.path(), "clip.mp4");
    let side = if has_ladder { "with" } else { "without" };
    let number = |name: &str, usual: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    let (count, few) = (number("STREAMS", 20), number("FEW", 3));
    let mut run = Run::start(directory.path(), &clip, count, has_ladder);
    let seen = run.watch(Duration::from_secs(60));
    run.say(&format!("{side}: {count} encodes, first minute"), seen);
    let seen = run.watch(Duration::from_secs(30));
    run.say(&format!("{side}: {count} encodes, half a minute more"), seen);
    for stream in run.streams.drain(count / 2..) {
        stream.stop(PATIENCE).expect("it was not lost");
    }
    let stopped = Instant::now();
    let seen = run.watch(Duration::from_secs(30));
    run.say(&format!("{side}: half of them stopped, half a minute later"), seen);
    while has_ladder
        && run.rungs().iter().any(|rung| *rung > 0)
        && stopped.elapsed() < Duration::from_secs(300)
    {
        run.watch(Duration::from_secs(1));
    }
    println!("{side}: all at the first rung {:.0} s after", stopped.elapsed().as_secs_f64());
    for stream in run.streams.drain(..) {
        stream.stop(PATIENCE).expect("it was not lost");
    }
    drop(run);
    // Something else takes the machine for a minute.
    let mut run = Run::start(directory.path(), &clip, few, has_ladder);
    let output = Output::record(directory.path().join(format!("{side}-copy.flv")));
    let copied =
        run.engine.stream(Source::file(&clip).looped()).to(output).start().expect("it can be copied");
    run.watch(Duration::from_secs(10));
    let burning = [Burning::start(), Burning::start(), Burning::start()];
    let seen = run.watch(Duration::from_secs(60));
    drop(burning);
    run.say(&format!("{side}: {few} encodes and a copy, a minute of others"), seen);
    let seen = run.watch(Duration::from_secs(30));
    run.say(&format!("{side}: half a minute after"), seen);
    let looks = (0..STRIDE).map(|_| {
        std::thread::sleep(LOOKS_EVERY);
        behind(&copied)
    });
    println!("{side}: the copy is {:.1} s behind its start", looks.fold(f64::INFINITY, f64::min));
}

#[test]
#[ignore = "takes five minutes of a machine of its own: benches/load.sh"]
fn measured_with_a_ladder() {
    measure(true);
}

#[test]
#[ignore = "takes five minutes of a machine of its own: benches/load.sh"]
fn measured_without_a_ladder() {
    measure(false);
}
