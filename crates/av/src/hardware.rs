//! Which encoders work on this machine: found by opening each and encoding pictures with it, not by listing. One store of
//! answers for the whole process, for any number of threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::encoder::{Family, OpenFailure, VideoCodecKind, VideoEncoder, VideoSettings, sessions};
use crate::{Error, Ratio, VideoFrame, sys};

/// For how long a device that did not work is not tried again.
const RETRY: Duration = Duration::from_secs(600);

/// What is known about one encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderReport {
    /// libav's name of the encoder.
    pub name: String,
    /// A device encodes, not the processor.
    pub is_hardware: bool,
    /// It is part of the loaded libav.
    pub compiled_in: bool,
    /// It opened and encoded a picture; else why not, in words for people. Assumed for SVT-AV1, which writes to stderr
    /// when it opens.
    pub opens: Result<(), String>,
    /// Its encoders that run in this process (hardware only).
    pub sessions: u32,
    /// Its device has recently reported that it runs no more of them.
    pub is_full: bool,
}

/// The encoders of this machine. What was found out is kept; of a device that did not work, for ten minutes.
///
/// ```
/// use flowcast_av::{Hardware, encoder::VideoCodecKind};
///
/// for encoder in Hardware::shared().candidates(VideoCodecKind::H264) {
///     println!("{}: {:?}", encoder.name, encoder.opens);
/// }
/// ```
#[derive(Debug, Default)]
pub struct Hardware {
    known: Mutex<Vec<Known>>,
    /// Held while an encoder is tried, so that it is tried once. Calls that only read or change what is known do not wait for it.
    trying: Mutex<()>,
}

/// An answer.
#[derive(Debug, Clone)]
struct Known {
    name: &'static str,
    compiled_in: bool,
    opens: Result<(), String>,
    at: Instant,
}

impl Known {
    /// Whether it still holds: a device may be in use by others whenever it says that it cannot be used.
    fn holds(&self) -> bool {
        let is_device = Family::of(self.name).is_hardware();
        self.opens.is_ok() || !self.compiled_in || !is_device || self.at.elapsed() < RETRY
    }
}

static SHARED: Hardware = Hardware { known: Mutex::new(Vec::new()), trying: Mutex::new(()) };

impl Hardware {
    /// The one of this process.
    #[must_use]
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// All encoders for a codec this crate has settings for, the preferred ones first: NVENC, Quick Sync, VideoToolbox,
    /// VA-API, then software.
    ///
    /// # Blocking
    /// The first time, for as long as opening the devices takes, up to some seconds; nothing interrupts that.
    #[must_use]
    pub fn candidates(&self, codec: VideoCodecKind) -> Vec<EncoderReport> {
        names(codec).iter().map(|name| self.report(codec, name)).collect()
    }

    /// libav's name of the encoder to take for a codec: the first that works and has a free session; software only, unless
    /// `prefer_hardware`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none works.
    ///
    /// # Blocking
    /// As for [`candidates`](Self::candidates).
    pub fn best(&self, codec: VideoCodecKind, prefer_hardware: bool) -> Result<String, Error> {
        let works = |name: &'static str| {
            let report = self.report(codec, name);
            report.opens.is_ok() && !report.is_full
        };
        let first = |hardware: bool| {
            let mut names = names(codec).iter().copied();
            names.find(|name| Family::of(name).is_hardware() == hardware && works(name))
        };
        // What is not preferred is better than nothing.
        let found = first(prefer_hardware).or_else(|| first(!prefer_hardware));
        found
            .map(str::to_owned)
            .ok_or_else(|| Error::Unavailable { what: "encoder", name: codec.codec().name().to_owned() })
    }

    /// Forgets what is known about an encoder that failed in use: it is tried again the next time it is asked for.
    pub fn invalidate(&self, name: &str) {
        self.known().retain(|known| known.name != name);
    }

    fn report(&self, codec: VideoCodecKind, name: &'static str) -> EncoderReport {
        let found = self.find(name).unwrap_or_else(|| {
            let _turn = self.trying.lock().unwrap_or_else(PoisonError::into_inner);
            self.find(name).unwrap_or_else(|| self.learn(codec, name))
        });
        EncoderReport {
            name: name.to_owned(),
            is_hardware: Family::of(name).is_hardware(),
            compiled_in: found.compiled_in,
            opens: found.opens,
            sessions: sessions::open(name),
            is_full: sessions::is_full(name),
        }
    }

    fn find(&self, name: &str) -> Option<Known> {
        let mut known = self.known();
        known.retain(Known::holds);
        known.iter().find(|known| known.name == name).cloned()
    }

    /// Tries an encoder.
    fn learn(&self, codec: VideoCodecKind, name: &'static str) -> Known {
        let answer = attempt(codec, name);
        // That a device is busy now says nothing about later.
        if answer.opens.is_ok() || !sessions::is_full(name) {
            self.known().push(answer.clone());
        }
        answer
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        // Answers are put in whole, so what a panic left is right.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// libav's names of the encoders for a codec, the preferred ones first.
const fn names(codec: VideoCodecKind) -> &'static [&'static str] {
    match codec {
        VideoCodecKind::H264 => {
            &["h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_vaapi", "libx264", "libopenh264"]
        }
        VideoCodecKind::Hevc => &["hevc_nvenc", "hevc_qsv", "hevc_videotoolbox", "hevc_vaapi", "libx265"],
        VideoCodecKind::Av1 => &["av1_nvenc", "av1_qsv", "av1_vaapi", "libsvtav1"],
        VideoCodecKind::Vp8 => &["vp8_vaapi", "libvpx"],
        VideoCodecKind::Vp9 => &["vp9_qsv", "vp9_vaapi", "libvpx-vp9"],
    }
}

fn attempt(codec: VideoCodecKind, name: &'static str) -> Known {
    let compiled_in = sys::check_versions().is_ok() && sys::has_encoder(name);
    let opens = if name == "libsvtav1" && compiled_in {
        // Not tried: it depends on nothing, and writes to stderr when it opens.
        Ok(())
    } else if compiled_in {
        encode_one(codec, name).map_err(|reason| format!("{reason}{}", needs(Family::of(name))))
    } else {
        Err("not part of this libav".to_owned())
    };
    Known { name, compiled_in, opens, at: Instant::now() }
}

/// Opens an encoder and gives it pictures until a packet comes out.
fn encode_one(codec: VideoCodecKind, name: &str) -> Result<(), String> {
    // Not smaller than the least any device takes.
    let (width, height) = (640, 360);
    let settings = VideoSettings {
        codec,
        encoder: Some(name.to_owned()),
        ..VideoSettings::new(width, height, Ratio { num: 30, den: 1 })
    };
    let opened = VideoEncoder::open_or_say(0, &settings);
    let mut encoder = opened.map_err(|failure| match failure {
        OpenFailure::Full => "all its sessions are in use".to_owned(),
        OpenFailure::Broken(reason) => format!("does not open: {reason}"),
        OpenFailure::Refused(error) => error.to_string(),
    })?;
    let said = |error: Error| format!("opens, but does not encode: {error}");
    for pts in 0..60 {
        let mut frame = VideoFrame::black(width, height, encoder.pixel_format()).map_err(said)?;
        frame.set_pts(Some(pts));
        encoder.push_frame(&frame, false).map_err(said)?;
        if encoder.pull().map_err(said)?.is_some() {
            return Ok(());
        }
    }
    encoder.finish().map_err(said)?;
    match encoder.pull().map_err(said)? {
        Some(_) => Ok(()),
        None => Err("opens, but gives no packet".to_owned()),
    }
}

/// What a family of encoders does not work without.
const fn needs(family: Family) -> &'static str {
    match family {
        Family::Nvenc => " (it needs an NVIDIA GPU, and its driver's libcuda.so.1 and libnvidia-encode.so.1)",
        Family::Qsv => " (it needs an Intel GPU, /dev/dri, and the runtime of oneVPL or the Media SDK)",
        Family::Vaapi => " (it needs a GPU with a VA-API driver that encodes, and access to /dev/dri)",
        Family::VideoToolbox => " (it needs macOS)",
        _ => "",
    }
}
