//! Makes a file that is looped by copying packets.
//!
//! What a platform takes without a warning is copied; the rest is encoded, offline, as slowly and as well as the
//! preset says. Every stream of the file then costs what a copy costs. Sound and picture begin and end together.

mod figures;
mod input;
mod output;
mod progress;
mod sound;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::{Demuxer, Error as Media, Interrupt, OpenOptions};

use crate::error::Error;
use crate::event::EventKind;
use crate::scan::{ScanOptions, facts};
use crate::sys::is_same_file;
use crate::transcode::{AudioCodec, EncoderChoice, Encoding, Plan, Profile, VideoCodec};
use crate::verdict::{Facts, Platform, Verdict};
use crate::words::words;
use output::Part;
use progress::Meter;
pub use progress::{PrepareProgress, PrepareStage};

/// The time limit for scanning a file; nothing waits for that here.
const SCAN: Duration = Duration::from_secs(24 * 3600);
/// How much time without picture and sound is filled with the picture before it, by default.
const MOST_EMPTY: Duration = Duration::from_secs(600);
/// x264's constant rate factor.
const DEFAULT_CRF: f32 = 20.0;
/// Below 1, x264 encodes without loss, which the High profile does not allow.
const CRF: std::ops::RangeInclusive<f32> = 1.0..=51.0;

/// Makes a file that loops in copy mode. By default:
///
/// * A track that every platform takes without a warning ([`Strictness::Strict`](crate::Strictness::Strict)) is
///   copied. Copied packets are not decoded: damage that only a decoder sees stays in them, unless
///   [`force`](Self::force) is set.
/// * Pictures are encoded with x264, `slow`, at a constant quality of 20 with a limit (VBV) that follows from size, rate and
///   platforms: High profile, the lowest level that holds it, 8 bit 4:2:0, upright, whole, square pixels, a closed GOP of 2 s, a
///   constant frame rate of at most 60, within the size the platforms take.
/// * Sound is encoded as AAC-LC, 128 kbit/s, stereo, 44.1 or 48 kHz.
/// * Sound begins and ends with the picture, to within a packet: silence fills gaps, and what is beyond the picture
///   is cut off. A file without sound gets silence if a platform needs sound.
/// * The result is an MP4 with its index in front. It is written beside the output, read again and judged, and only
///   then takes the output's name. If anything fails, an existing output stays as it was.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod verdict { pub use flowcast_core::{*, verdict::*}; } }
/// use flowcast::{Platform, Prepare};
/// use flowcast::verdict::Interrupt;
///
/// let prepared = Prepare::new("clip.avi", "clip.mp4")
///     .platform(Platform::youtube())
///     .run(|progress| eprintln!("{:.1} %", progress.percent()), &Interrupt::new())?;
/// println!("{}: video {}, audio {}", prepared.path.display(), prepared.video.as_str(), prepared.audio.as_str());
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is prepared until it is run"]
pub struct Prepare {
    input: PathBuf,
    output: PathBuf,
    platforms: Vec<Platform>,
    encoding: Encoding,
    crf: f32,
    force: bool,
    most_empty: Duration,
}

/// What happened to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PreparedTrack {
    /// There is none.
    Absent,
    /// Its packets are those of the input.
    Copied,
    /// It was encoded.
    Encoded,
    /// It is silence: the input has none.
    Silence,
}

words!(
    PreparedTrack,
    "treatment of a track",
    Absent = "absent",
    Copied = "copied",
    Encoded = "encoded",
    Silence = "silence",
);

/// A file that was prepared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Prepared {
    /// The output, with symbolic links followed.
    pub path: PathBuf,
    /// Its facts.
    pub facts: Facts,
    /// The platforms' verdict on it: nothing above information, except that the picture may take fewer bits than one
    /// of them recommends, as constant quality does.
    pub verdict: Verdict,
    /// The platforms' verdict on the input.
    pub input: Verdict,
    /// What happened to the pictures.
    pub video: PreparedTrack,
    /// What happened to the sound.
    pub audio: PreparedTrack,
    /// libav's name of the encoder of the pictures, if they were encoded.
    pub encoder: Option<String>,
    /// Packets of the input that could not be decoded, or that the container marks as damaged.
    pub damaged: u64,
    /// Events on the way: an encoder that was replaced, damaged places, jumps of the input's clock; about the first
    /// hundred.
    pub notices: Vec<EventKind>,
    /// How long it took.
    pub took: Duration,
}

/// The default encoding.
pub(crate) fn default_encoding() -> Encoding {
    let mut encoding = Encoding::new(Profile::High);
    encoding.preset = Some("slow".to_owned());
    encoding.b_frames = Some(3);
    encoding.threads = std::thread::available_parallelism().ok().map(|cores| cores.get().min(64) as u32);
    encoding.encoder = EncoderChoice::Software;
    encoding
}

impl Prepare {
    /// Makes `output` from `input`. An existing output is replaced, unless a stream of this process plays or records
    /// it: then [`run`](Self::run) refuses.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            platforms: Vec::new(),
            encoding: default_encoding(),
            crf: DEFAULT_CRF,
            force: false,
            most_empty: MOST_EMPTY,
        }
    }

    /// The default encoding, to change a part of it.
    #[must_use]
    pub fn default_encoding() -> Encoding {
        default_encoding()
    }

    /// A platform it will be sent to; call it once for each. Default: any server ([`Platform::any`]).
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platforms.push(platform);
        self
    }

    /// How tracks are encoded that have to be. [`Encoding::video_bit_rate`] is the most the pictures may take, which
    /// [`crf`](Self::crf) rarely needs; [`Encoding::filler`] has no effect. If an encoder other than software fails,
    /// software takes over, unless [`Encoding::fallback`] is `Some(false)`. Default [`Prepare::default_encoding`].
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Quality of the pictures, x264's constant rate factor: lower is better, 18 to 28 is usual. 1 to 51, to a tenth;
    /// [`run`](Self::run) refuses anything else. Default 20.
    pub fn crf(mut self, crf: f32) -> Self {
        self.crf = crf;
        self
    }

    /// Encodes tracks even if they could be copied.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// How much time of the input may be without picture and sound ([`Facts::empty`](crate::Facts::empty)). The
    /// picture before it is encoded again and again there, so a small file whose times lie far apart would take
    /// hours. Above this, the input is refused. Default 10 minutes.
    pub fn most_empty(mut self, most: Duration) -> Self {
        self.most_empty = most;
        self
    }

    /// Runs the preparation. `progress` is called on this thread a few times per second. `cancel`, or a clone of it
    /// on another thread, ends it with [`Error::Cancelled`].
    ///
    /// # Errors
    ///
    /// * [`Error::Media`]: the input cannot be opened or read, or there is no decoder for it;
    ///   [`Error::InputUnusable`]: it cannot be prepared, for instance because it has no picture.
    /// * [`Error::OutputUnwritable`], [`Error::DiskFull`]. The cause is of the kind `ResourceBusy` if the output is being played or
    ///   recorded: prepare another file beside it, and rename that.
    /// * [`Error::ResultRefused`]: the platforms do not take the result.
    /// * [`Error::EncoderFailed`], [`Error::Cancelled`], [`Error::Config`].
    ///
    /// After any of them, and if the process is killed, an existing output is as before. A process that is killed
    /// leaves a hidden file that ends in `.part` beside it, which the next preparation of the same output removes.
    ///
    /// # Blocking
    ///
    /// Until it is done: the input is read twice and the output once, and encoding may take longer than playing. The
    /// work is done on this thread and those of the encoder, at their current priority.
    pub fn run(
        &self,
        mut progress: impl FnMut(&PrepareProgress),
        cancel: &Interrupt,
    ) -> Result<Prepared, Error> {
        let done = self.run_with(&mut progress, cancel);
        done.map_err(|error| match error {
            Error::Media(Media::Cancelled { .. }) => Error::Cancelled { what: "prepare" },
            other => other,
        })
    }

    fn run_with(
        &self,
        progress: &mut dyn FnMut(&PrepareProgress),
        cancel: &Interrupt,
    ) -> Result<Prepared, Error> {
        let began = Instant::now();
        self.encoding.check()?;
        let (video, audio) = (self.encoding.video_codec, self.encoding.audio.codec);
        if video != VideoCodec::H264 || audio != AudioCodec::Aac {
            let reason = "files are prepared with H.264 and AAC only".to_owned();
            return Err(Error::Config { name: "encoding", reason });
        }
        if self.encoding.draws() {
            let reason = "files are prepared without filters and overlays".to_owned();
            return Err(Error::Config { name: "encoding", reason });
        }
        if self.encoding.adaptation.is_some() {
            let reason = "a file that is prepared has one bit rate".to_owned();
            return Err(Error::Config { name: "encoding.adaptation", reason });
        }
        if self.encoding.under_load != Default::default() {
            let reason = "a file that is prepared has one quality".to_owned();
            return Err(Error::Config { name: "encoding.under_load", reason });
        }
        if !CRF.contains(&self.crf) {
            return Err(Error::Config { name: "prepare.crf", reason: "must be 1 to 51".to_owned() });
        }
        if is_same_file(&self.input, &self.output) {
            let reason = format!("{} is the input, which would be lost", self.output.display());
            return Err(Error::Config { name: "prepare.output", reason });
        }
        let mut meter = Meter::new(progress);
        let facts = scan(&self.input, cancel)?;
        let input = figures::judge(&facts, &self.platforms);
        self.refuse(&facts)?;
        let part = Part::create(&self.output)?;
        let written = self.write(&facts, &input, &part, &mut meter, cancel)?;
        meter.finish();
        part.sync()?;
        let facts = scan(part.path(), cancel)?;
        let verdict = figures::judge(&facts, &self.platforms);
        if figures::is_refused(&facts, &verdict) {
            return Err(Error::ResultRefused { path: self.output.clone(), verdict: Arc::new(verdict) });
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled { what: "prepare" });
        }
        let path = part.commit()?;
        let writing::Written { video, audio, encoder, damaged, notices } = written;
        let took = began.elapsed();
        Ok(Prepared { path, facts, verdict, input, video, audio, encoder, damaged, notices, took })
    }

    /// Refuses an input that cannot be prepared.
    fn refuse(&self, facts: &Facts) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::InputUnusable { path: self.input.clone(), reason });
        let (empty, most) = (facts.empty.as_secs(), self.most_empty.as_secs());
        match &facts.video {
            _ if facts.encrypted => refuse("it is encrypted".to_owned()),
            None => refuse("it has no picture".to_owned()),
            _ if facts.empty > self.most_empty => refuse(format!(
                "for {empty} s there is neither picture nor sound; at most {most} s are filled (Prepare::most_empty)"
            )),
            Some(_) => Ok(()),
        }
    }

    /// Writes the result, with another encoder if one fails.
    fn write(
        &self,
        facts: &Facts,
        verdict: &Verdict,
        part: &Part,
        meter: &mut Meter<'_>,
        cancel: &Interrupt,
    ) -> Result<writing::Written, Error> {
        let mut encoding = self.encoding.clone();
        let mut replaced = None;
        loop {
            let file = Demuxer::open(&self.input, &OpenOptions::default(), cancel)?;
            let plan = self.plan(facts, verdict, &file, &encoding);
            let job = writing::Job {
                input: &self.input,
                facts,
                plan: &plan,
                silence: self.silence(),
                part,
                cancel,
            };
            let falls_back = encoding.fallback != Some(false)
                && !matches!(encoding.encoder, EncoderChoice::Auto | EncoderChoice::Software);
            match job.run(file, meter) {
                Err(Error::EncoderFailed { encoder, source }) if falls_back && encoder != "aac" => {
                    log::warn!(
                        "encoder {encoder} failed, software takes over: {}",
                        crate::error::chain(&source)
                    );
                    encoding.encoder = EncoderChoice::Software;
                    replaced = Some((encoder, Arc::unwrap_or_clone(source)));
                }
                Ok(mut written) => {
                    if let (Some((from, error)), Some(to)) = (replaced, written.encoder.clone()) {
                        written.notices.insert(0, EventKind::EncoderChanged { from, to, error });
                    }
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn plan(&self, facts: &Facts, verdict: &Verdict, file: &Demuxer, encoding: &Encoding) -> Plan {
        let needs = if self.force {
            figures::Needs { video: true, audio: true }
        } else {
            figures::needs(facts, file.media(), verdict)
        };
        let length = facts.video.as_ref().map_or(Duration::ZERO, |video| video.length);
        figures::plan(
            file.media(),
            length,
            needs,
            &self.platforms,
            encoding,
            (self.crf * 10.0).round() as u16,
        )
    }

    /// The rate of the silence that a file without sound gets, if it gets any.
    fn silence(&self) -> Option<u32> {
        let needed = self.platforms.iter().any(|platform| platform.needs_audio);
        let rate = self.encoding.audio.sample_rate;
        needed.then(|| rate.filter(|rate| matches!(rate, 44_100 | 48_000)).unwrap_or(48_000))
    }
}

fn scan(path: &Path, cancel: &Interrupt) -> Result<Facts, Error> {
    let options = ScanOptions { deadline: SCAN, ..ScanOptions::default() };
    facts(path, &options, cancel)
}
