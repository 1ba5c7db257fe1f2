//! The example `channels` with fifty channels of five kinds, while a script breaks things at random: for an hour, or for as many
//! minutes as `FLOWCAST_MINUTES` says. At the end there is a table of what it did, and how long it took until all were on the air again.
//!
//! ```text
//! cargo test -p flowcast --features schedule,state --test programs campaign:: -- --ignored --nocapture
//! ```

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::driver::{
    OpenOutput, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Read, Readiness,
    TagKind,
};
use flowcast::stats::{OutputPhase, OutputStats};
use flowcast::{Engine, Error, RtmpServer, RtmpServerExt, Source, StreamHandle};
use kit::rig::engine;
use kit::{FaultProxy, Need, PATIENCE, Peer, directory, example, ffmpeg_publish, files, flv_tags, need};
use kit::{own_address, text, wait_until};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

/// Channels of each kind.
const EACH: usize = 10;
/// How long it may take until all are on the air again.
const BACK: Duration = Duration::from_secs(90);
/// How long channels that are not concerned may be silent at most.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A file from its reel, pushed through a proxy.
    Loop,
    /// A list under a schedule, pushed through another proxy.
    List,
    /// What ffmpeg publishes, with a fallback.
    Studio,
    /// A file that is encoded while it plays.
    Encoded,
    /// A file that is recorded, too.
    Archive,
}

const KINDS: [Kind; 5] = [Kind::Loop, Kind::List, Kind::Studio, Kind::Encoded, Kind::Archive];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    Reset,
    Stall,
    Refuse,
    ServerGone,
    PublisherKilled,
    FileGone,
    OutputsChanged,
    SourceChanged,
    FileOfNonsense,
    Frozen,
    Killed,
}

/// How often each comes, of all together.
const BREAKS: [(Break, u64); 11] = [
    (Break::Reset, 12),
    (Break::Stall, 8),
    (Break::Refuse, 8),
    (Break::ServerGone, 4),
    (Break::PublisherKilled, 16),
    (Break::FileGone, 8),
    (Break::OutputsChanged, 12),
    (Break::SourceChanged, 12),
    (Break::FileOfNonsense, 6),
    (Break::Frozen, 3),
    (Break::Killed, 1),
];

impl Break {
    /// Whether channels of this kind may notice.
    fn concerns(self, kind: Kind) -> bool {
        match self {
            Self::Reset | Self::Stall | Self::Refuse => matches!(kind, Kind::Loop | Kind::List),
            Self::PublisherKilled => kind == Kind::Studio,
            Self::FileGone => kind == Kind::List,
            Self::OutputsChanged | Self::FileOfNonsense => false,
            Self::SourceChanged => matches!(kind, Kind::Loop | Kind::Encoded | Kind::Archive),
            Self::ServerGone | Self::Frozen | Self::Killed => true,
        }
    }
}

/// What arrives of a channel.
#[derive(Debug, Default)]
struct Arrived {
    tags: u64,
    newest: [Option<i64>; 2],
    steps_back: u64,
    last: Option<Instant>,
    /// The longest time without a tag since the last break began.
    silence: Duration,
}

type Shared = Arc<Mutex<Arrived>>;

fn lock(arrived: &Mutex<Arrived>) -> MutexGuard<'_, Arrived> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An output that looks at what arrives.
#[derive(Debug)]
struct Judge(Shared);

struct Judging {
    arrived: Shared,
    next: u64,
}

impl OpenOutput for Judge {
    fn open(self: Box<Self>, _cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "judge".to_owned(), driver: Box::new(Judging { arrived: self.0, next: 0 }) })
    }
}

impl OutputDriver for Judging {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        let mut arrived = lock(&self.arrived);
        self.next = self.next.max(cx.ring.start());
        let next = &mut self.next;
        cx.ring.read(*next, &mut |read| {
            let entry = match read {
                Read::Tag(entry) => entry,
                Read::Lost(count) => {
                    *next += count;
                    return true;
                }
            };
            *next += 1;
            let tag = entry.message.tag();
            if tag.is_script() || tag.is_header() {
                return true;
            }
            let time = tag.timestamp.as_millis();
            let before = arrived.newest[usize::from(tag.kind == TagKind::Audio)].replace(time);
            arrived.steps_back += u64::from(before.is_some_and(|before| time <= before));
            arrived.tags += 1;
            let silence = arrived.last.replace(cx.now).map_or(Duration::ZERO, |last| cx.now - last);
            arrived.silence = arrived.silence.max(silence);
            true
        });
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        Some(self.next)
    }

    fn finish(&mut self, _cx: &mut OutputContext<'_>) {}

    fn is_finished(&mut self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

/// Numbers that look random, and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("it is below a size")
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_millis(self.below(u64::try_from((to - from).as_millis()).expect("seconds")))
    }
}

/// Everything around the program.
struct Rig {
    folder: TempDir,
    program: PathBuf,
    clips: [PathBuf; 2],
    receiving: Engine,
    receiver: Option<RtmpServer>,
    address: SocketAddr,
    proxies: [FaultProxy; 2],
    listens: SocketAddr,
    judges: Vec<(Kind, Shared)>,
    /// Of the judges.
    _streams: Vec<StreamHandle>,
    channels: Peer,
    publishers: Vec<Peer>,
    /// Channels with an output more, and those with another source.
    more: [bool; EACH],
    other: [[bool; EACH]; KINDS.len()],
    reloads: usize,
    /// Of the lives that were ended by force.
    printed: String,
}

fn name(kind: Kind, number: usize) -> String {
    format!("{kind:?}-{number}").to_lowercase()
}

fn key(kind: Kind, number: usize) -> String {
    format!("key-of-{}", name(kind, number))
}

impl Rig {
    fn start(program: PathBuf) -> Self {
        let folder = directory();
        let clips = ["one.mp4", "two.mp4"].map(|file| {
            let file = folder.path().join(file);
            let spec = SampleSpec {
                width: 160,
                height: 90,
                fps: 10,
                gop_frames: 10,
                seconds: 6.0,
                bitrate: 60_000,
                audio: Some((44_100, 2)),
                ..SampleSpec::default()
            };
            sample_clip(&file, &spec).expect("a clip");
            file
        });
        for number in 0..EACH {
            for part in 0..3 {
                fs::copy(&clips[part % 2], folder.path().join(format!("list-{number}-{part}.mp4")))
                    .expect("a copy");
            }
        }
        let receiving = engine(|config| config.max_streams = KINDS.len() * EACH);
        let address = own_address();
        let receiver = receiving.rtmp_server(address.to_string()).start().expect("an address of its own");
        let mut judges = Vec::new();
        let mut streams = Vec::new();
        for kind in KINDS {
            for number in 0..EACH {
                let name = name(kind, number);
                receiving.keys().add(&name, key(kind, number)).expect("a key");
                let arrived = Shared::default();
                let stream = receiving.stream(Source::published(&name)).to(Judge(arrived.clone()));
                streams.push(stream.start().expect("it waits for the channel"));
                judges.push((kind, arrived));
            }
        }
        let proxies = [(); 2].map(|()| FaultProxy::start(address));
        let config = folder.path().join("channels.toml");
        let mut rig = Self {
            channels: Peer::spawn(Path::new("true"), [""; 0]),
            folder,
            program,
            clips,
            receiving,
            receiver: Some(receiver),
            address,
            proxies,
            listens: own_address(),
            judges,
            _streams: streams,
            publishers: Vec::new(),
            more: [false; EACH],
            other: [[false; EACH]; KINDS.len()],
            reloads: 0,
            printed: String::new(),
        };
        fs::write(&config, rig.file()).expect("a file");
        rig.launch();
        rig.publishers = (0..EACH).map(|number| rig.publish(number)).collect();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> String {
        let mut file = format!(
            "[engine]\nreels = {:?}\nstate = {:?}\n[server]\nlisten = \"{}\"\n[keys]\n",
            self.path("reels"),
            self.path("state"),
            self.listens
        );
        for number in 0..EACH {
            let _ = writeln!(file, "{} = \"studio-key-{number}\"", name(Kind::Studio, number));
        }
        for (place, kind) in KINDS.into_iter().enumerate() {
            for number in 0..EACH {
                let clip = &self.clips[usize::from(self.other[place][number])];
                let name = name(kind, number);
                let source = match kind {
                    Kind::Loop | Kind::Archive => format!("{{ file = {clip:?}, looped = true }}"),
                    Kind::Encoded => format!(
                        "{{ file = {clip:?}, looped = true, mode = \"encode\", encoding = {{ threads = 1, preset = \"ultrafast\", video_bit_rate = \"80k\" }} }}"
                    ),
                    Kind::List => {
                        let items = [0, 1, 2].map(|part| self.path(&format!("list-{number}-{part}.mp4")));
                        format!("{{ playlist = {items:?} }}")
                    }
                    Kind::Studio => format!("{{ published = \"{name}\", fallback = {:?} }}", self.clips[1]),
                };
                let server = match kind {
                    Kind::Loop => self.proxies[0].address(),
                    Kind::List => self.proxies[1].address(),
                    _ => self.address,
                };
                let mut outputs =
                    format!("{{ server = \"rtmp://{server}/live\", key = \"{}\" }}", key(kind, number));
                if kind == Kind::Archive {
                    let recording = self.path(&format!("{name}.flv"));
                    let _ = write!(outputs, ", {{ record = {recording:?}, existing = \"number\" }}");
                }
                if kind == Kind::Loop && self.more[number] {
                    let _ = write!(outputs, ", {{ publish = \"more-{number}\" }}");
                }
                let _ = writeln!(file, "[channels.{name}]\nsource = {source}\noutputs = [{outputs}]");
                if kind == Kind::List {
                    let _ = writeln!(
                        file,
                        "[schedules.{name}]\nwindows = [{{ from = \"00:00\", lasts = \"47h\" }}]"
                    );
                }
            }
        }
        file
    }

    fn launch(&mut self) {
        self.channels = Peer::spawn(&self.program, [text(&self.path("channels.toml"))]);
        self.reloads = 0;
        let begun = wait_until(BACK, || self.channels.output().contains("started: "));
        assert!(begun, "{}", self.channels.report());
    }

    fn publish(&self, number: usize) -> Peer {
        let url = format!("rtmp://{}/live/studio-key-{number}", self.listens);
        ffmpeg_publish(&self.clips[0], &url, 100_000)
    }

    /// Publishers that ended because the program did.
    fn tend(&mut self) {
        for number in 0..EACH {
            if !self.publishers[number].is_running() {
                self.publishers[number] = self.publish(number);
            }
        }
    }

    fn reload(&mut self, content: &str, answer: &str) {
        fs::write(self.path("channels.toml"), content).expect("a file");
        let lines = |peer: &Peer| peer.output().lines().filter(|line| line.contains("reloaded: ")).count();
        let before = lines(&self.channels);
        kill_process(self.channels.pid(), Signal::HUP).expect("it runs");
        assert!(wait_until(BACK, || lines(&self.channels) > before), "{}", self.channels.report());
        self.reloads += 1;
        let output = self.channels.output();
        let last = output.lines().rfind(|line| line.contains("reloaded: "));
        assert!(last.is_some_and(|line| line.starts_with(answer)), "{last:?}");
    }

    /// Breaks something, and mends it.
    fn break_something(&mut self, what: Break, dice: &mut Dice) {
        let second = Duration::from_secs(1);
        let number = dice.index(EACH);
        match what {
            Break::Reset => self.proxies[number % 2].reset(),
            Break::Stall => {
                self.proxies[number % 2].stall();
                thread::sleep(dice.between(second, 8 * second));
                self.proxies[number % 2].resume();
            }
            Break::Refuse => {
                self.proxies[number % 2].refuse(true);
                self.proxies[number % 2].reset();
                thread::sleep(dice.between(second, 5 * second));
                self.proxies[number % 2].refuse(false);
            }
            Break::ServerGone => {
                self.receiver.take().expect("it listens").stop(PATIENCE);
                thread::sleep(dice.between(second, 5 * second));
                let server = self.receiving.rtmp_server(self.address.to_string());
                self.receiver = Some(server.start().expect("the address is still its own"));
            }
            Break::PublisherKilled => {
                self.publishers[number].kill();
                thread::sleep(dice.between(Duration::ZERO, 8 * second));
                self.publishers[number] = self.publish(number);
            }
            Break::FileGone => {
                let file = self.path(&format!("list-{number}-{}.mp4", dice.index(3)));
                let away = file.with_extension("away");
                fs::rename(&file, &away).expect("it is there");
                thread::sleep(dice.between(second, 20 * second));
                fs::rename(&away, &file).expect("it is there");
            }
            Break::OutputsChanged => {
                self.more[number] = !self.more[number];
                self.reload(&self.file(), "reloaded: 0 added, 1 changed, 0 removed, 49 untouched, 0 failed");
            }
            Break::SourceChanged => {
                let kind = [0, 3, 4][dice.index(3)];
                self.other[kind][number] = !self.other[kind][number];
                self.reload(&self.file(), "reloaded: 0 added, 1 changed, 0 removed, 49 untouched, 0 failed");
            }
            Break::FileOfNonsense => {
                self.reload("[channels.loop-0]\nsource = 5\n", "not reloaded: ");
                fs::write(self.path("channels.toml"), self.file()).expect("a file");
            }
            Break::Frozen => {
                self.channels.freeze();
                thread::sleep(dice.between(second, 8 * second));
                self.channels.thaw();
            }
            Break::Killed => {
                self.printed += &(self.channels.output() + &self.channels.errors());
                self.channels.kill();
                self.launch();
            }
        }
    }

    /// Until something of every channel has arrived that was not there at `since`.
    fn wait_all(&mut self, since: Instant) -> Duration {
        let end = Instant::now() + BACK;
        loop {
            self.tend();
            let away: Vec<_> = self
                .judges
                .iter()
                .enumerate()
                .filter(|(_, (_, arrived))| lock(arrived).last.is_none_or(|last| last <= since))
                .map(|(place, (kind, _))| name(*kind, place % EACH))
                .collect();
            if away.is_empty() {
                return since.elapsed();
            }
            assert!(Instant::now() < end, "not on the air: {away:?}\n{}", self.channels.report());
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.channels.pid().as_raw_nonzero()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }
}

#[derive(Debug, Default)]
struct Row {
    times: u64,
    back: Duration,
    silence: Duration,
}

#[test]
#[ignore = "takes an hour"]
fn fifty_channels_outlive_what_is_broken_at_random() {
    let Some(program) = example("channels").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let minutes = std::env::var("FLOWCAST_MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let length = Duration::from_secs(60 * minutes.unwrap_or(60));
    let seed = RandomState::new().hash_one("campaign") | 1;
    let mut dice = Dice(seed);
    println!("seed {seed}");
    let mut rig = Rig::start(program);
    let began = Instant::now();
    println!("all on the air after {:.1} s", rig.wait_all(began).as_secs_f64());
    let weights: u64 = BREAKS.iter().map(|(_, weight)| weight).sum();
    let mut rows: BTreeMap<Break, Row> = BTreeMap::new();
    let mut resident = (0, 0);
    while began.elapsed() < length {
        thread::sleep(dice.between(Duration::ZERO, Duration::from_secs(4)));
        let mut left = dice.below(weights);
        let what = BREAKS.iter().find(|(_, weight)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        let what = what.expect("one of them").0;
        rig.judges.iter().for_each(|(_, arrived)| lock(arrived).silence = Duration::ZERO);
        rig.break_something(what, &mut dice);
        let back = rig.wait_all(Instant::now());
        let others = rig.judges.iter().filter(|(kind, _)| !what.concerns(*kind));
        let silence = others.map(|(_, arrived)| lock(arrived).silence).max().unwrap_or_default();
        assert!(silence <= SILENCE, "{what:?}: others were silent for {silence:?}");
        let row = rows.entry(what).or_default();
        row.times += 1;
        row.back = row.back.max(back);
        row.silence = row.silence.max(silence);
        let now = rig.resident();
        resident = (if resident.0 == 0 || what == Break::Killed { now } else { resident.0 }, now);
    }
    println!(
        "| broken | times | until all were on the air, at most | longest silence of channels not concerned |"
    );
    println!("|---|---|---|---|");
    for (what, row) in &rows {
        println!(
            "| {what:?} | {} | {:.1} s | {:.2} s |",
            row.times,
            row.back.as_secs_f64(),
            row.silence.as_secs_f64()
        );
    }
    for kind in KINDS {
        let of_kind = rig.judges.iter().filter(|(it, _)| *it == kind);
        let (tags, back) = of_kind.fold((0, 0), |(tags, back), (_, arrived)| {
            let arrived = lock(arrived);
            (tags + arrived.tags, back + arrived.steps_back)
        });
        println!("{kind:?}: {tags} tags, {back} steps back");
        assert_eq!(back, 0, "times strictly increase");
    }
    println!("resident since the last start: {} KiB, then {} KiB", resident.0, resident.1);
    kill_process(rig.channels.pid(), Signal::TERM).expect("it runs");
    rig.channels.wait_success(PATIENCE);
    let recordings = files(rig.folder.path());
    let recordings = recordings.iter().filter(|file| file.extension().is_some_and(|it| it == "flv"));
    let mut recorded = (0, 0);
    for file in recordings {
        let tags = flv_tags(file);
        let times: Vec<_> = tags.iter().filter(|tag| tag.is_video() && !tag.is_header()).collect();
        let increase = times.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp);
        assert!(increase, "{}", file.display());
        recorded = (recorded.0 + 1, recorded.1 + tags.len());
    }
    println!("{} recordings, {} tags", recorded.0, recorded.1);
    let said = std::mem::take(&mut rig.printed) + &rig.channels.output() + &rig.channels.errors();
    assert!(!said.contains("key-of-") && !said.contains("studio-key-"), "a key was shown");
    println!("{}", rig.channels.output().lines().last().unwrap_or_default());
}
