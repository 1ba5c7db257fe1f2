//! The `ffmpeg` program: makes files and says what a file decodes to.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `ffmpeg` is there. If not, the test fails under `FLOWCAST_PEERS=required`, and else says that it is skipped.
pub(in super::super) fn need_ffmpeg() -> bool {
    let is_there = Command::new("ffmpeg")
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var_os("FLOWCAST_PEERS").is_some_and(|value| value == "required");
    assert!(is_there || !required, "the ffmpeg program is not there (run scripts/setup.sh --peers)");
    if !is_there {
        eprintln!("skipped: the ffmpeg program is not there (run scripts/setup.sh --peers)");
    }
    is_there
}

/// Runs `ffmpeg` in `directory`; what it complained of. Arguments are separated by single spaces.
pub(in super::super) fn ffmpeg(directory: &Path, arguments: &str) -> String {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .expect("ffmpeg starts");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {arguments}: {complaints:.1000}");
    complaints
}

/// One line of a `framemd5` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Frame {
    /// In units of the track: 1/90000 s for video, samples for sound.
    pub(in super::super) pts: i64,
    pub(in super::super) duration: i64,
    pub(in super::super) hash: String,
}

/// What a file decodes to.
#[derive(Debug, Default)]
pub(in super::super) struct Decoded {
    /// The pictures, in the order of presentation.
    pub(in super::super) frames: Vec<Frame>,
    /// The decoded frames of sound.
    pub(in super::super) sound: Vec<Frame>,
    pub(in super::super) rate: u32,
    /// The packets of sound.
    pub(in super::super) packets: Vec<String>,
    /// One channel of the sound, all frames joined.
    pub(in super::super) samples: Vec<f32>,
    pub(in super::super) complaints: String,
}

impl Decoded {
    /// Decodes `name` in `directory`; `before` are options of the input.
    pub(in super::super) fn of(directory: &Path, name: &str, before: &str, sound: bool, video: bool) -> Self {
        let mut arguments = format!("{before}-i {name}");
        if video {
            arguments += " -map 0:v:0 -fps_mode passthrough -enc_time_base:v 1:90000 -f framemd5 frames.md5";
        }
        if sound {
            let copy = if name.ends_with(".ts") { "-c copy -bsf:a aac_adtstoasc" } else { "-c copy" };
            arguments += " -map 0:a:0 -f framemd5 sound.md5 -map 0:a:0 -af pan=mono|c0=c0 -f f32le sound.raw";
            arguments += &format!(" -map 0:a:0 {copy} -f framemd5 packets.md5");
        }
        let complaints = ffmpeg(directory, &arguments);
        let (_, frames) = if video { lines(&directory.join("frames.md5")) } else { (0, Vec::new()) };
        if !sound {
            return Self { frames, complaints, ..Self::default() };
        }
        let (rate, sound) = lines(&directory.join("sound.md5"));
        let (_, packets) = lines(&directory.join("packets.md5"));
        let raw = std::fs::read(directory.join("sound.raw")).expect("it was written");
        let samples =
            raw.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        Self {
            frames,
            sound,
            rate,
            packets: packets.into_iter().map(|packet| packet.hash).collect(),
            samples: samples.collect(),
            complaints,
        }
    }

    /// Where the beeps begin, in seconds of the file's clock.
    pub(in super::super) fn beeps(&self) -> Vec<f64> {
        let rate = f64::from(self.rate.max(1));
        // A gap of the sound shows in the times of its frames only.
        let mut moved = Vec::new();
        let mut joined = 0;
        for frame in &self.sound {
            moved.push((joined, frame.pts - joined));
            joined += frame.duration;
        }
        let time = |at: usize| {
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            let frame = moved.partition_point(|&(begin, _)| begin <= at).saturating_sub(1);
            (at + moved.get(frame).map_or(0, |&(_, shift)| shift)) as f64 / rate
        };
        let apart = (rate / 4.0) as usize;
        let mut beeps = Vec::new();
        let mut last_loud = None;
        for (at, sample) in self.samples.iter().enumerate() {
            if sample.abs() > 0.3 {
                if last_loud.is_none_or(|last| at - last > apart) {
                    beeps.push(time(at));
                }
                last_loud = Some(at);
            }
        }
        beeps
    }
}

/// The frames of a `framemd5` file, and its sample rate if it has one.
fn lines(path: &Path) -> (u32, Vec<Frame>) {
    let text = std::fs::read_to_string(path).expect("it was written");
    let rate = text.lines().find_map(|line| line.strip_prefix("#sample_rate 0: ")?.trim().parse().ok());
    let frames = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let number = |field: usize| fields[field].parse().expect("a number");
        Frame { pts: number(2), duration: number(3), hash: fields[5].to_owned() }
    });
    (rate.unwrap_or(0), frames.collect())
}
