//! Encoding of pictures.

use std::ffi::{CStr, CString};

use super::options::{self, Family};
use super::sessions::{self, Session};
use super::{RateControl, VideoCodecKind, VideoSettings};
use crate::convert::{Converted, Converter};
use crate::sys::{self, Failure, Rates, RawEncoder, RawFrame, VideoSetup};
use crate::{Error, FieldOrder, Packet, TimeBase, TrackInfo, TrackKind, VideoFrame, VideoInfo, describe};

/// An 8-bit 4:2:0 picture, planes without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Luma: `width * height` bytes.
    pub y: Vec<u8>,
    /// Blue difference: half the width and height, rounded up.
    pub u: Vec<u8>,
    /// Red difference: as `u`.
    pub v: Vec<u8>,
}

impl Picture {
    /// A black picture.
    #[must_use]
    pub fn black(width: u32, height: u32) -> Self {
        let luma = width as usize * height as usize;
        let chroma = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
        Self { width, height, y: vec![16; luma], u: vec![128; chroma], v: vec![128; chroma] }
    }

    /// Copies it into a frame of the same size.
    pub(crate) fn fill(&self, frame: &mut RawFrame) -> Result<(), Error> {
        let chroma_width = self.width.div_ceil(2) as usize;
        let planes = [(&self.y, self.width as usize), (&self.u, chroma_width), (&self.v, chroma_width)];
        for (plane, (rows, width)) in planes.into_iter().enumerate() {
            frame.fill_plane(plane, rows, width).map_err(|_| refuse("a picture of another size"))?;
        }
        Ok(())
    }
}

/// An encoder: [`push`](Self::push) pictures or [`push_frame`](Self::push_frame)s of a decoder, [`pull`](Self::pull) packets
/// until there is none, [`finish`](Self::finish), pull the rest.
///
/// ```no_run
/// use flowcast_av::encoder::{Picture, VideoEncoder, VideoSettings};
/// use flowcast_av::Ratio;
///
/// let settings = VideoSettings::new(640, 360, Ratio { num: 25, den: 1 });
/// let mut encoder = VideoEncoder::open(0, &settings)?;
/// for frame in 0..50 {
///     encoder.push(&Picture::black(640, 360), frame)?;
///     while let Some(packet) = encoder.pull()? {
///         println!("{} bytes", packet.data.len());
///     }
/// }
/// encoder.finish()?;
/// while let Some(packet) = encoder.pull()? {
///     println!("{} bytes", packet.data.len());
/// }
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct VideoEncoder {
    encoder: RawEncoder,
    /// For pictures that are copied in.
    frame: Option<RawFrame>,
    converter: Converter,
    track: TrackInfo,
    pixel_format: String,
    /// One frame in ticks, for packets whose encoder does not say.
    frame_ticks: i64,
    /// The time of the picture pushed last.
    last: Option<i64>,
    /// How it takes another rate.
    rates: Steering,
    /// Dropped after the encoder is closed.
    _session: Option<Session>,
}

/// How an encoder takes another bit rate.
#[derive(Debug, Clone, Copy)]
struct Steering {
    family: Family,
    control: RateControl,
    /// It looks at the rate before each picture.
    is_read: bool,
}

impl Steering {
    fn of(settings: &VideoSettings, family: Family) -> Self {
        let control = settings.rate_control;
        Self { family, control, is_read: reads_rates(settings, family) }
    }
}

/// Whether an encoder looks at its bit rate before each picture, as libavcodec's sources have it: libx264.c, nvenc.c and qsvenc.c do,
/// those of the other families do not.
fn reads_rates(settings: &VideoSettings, family: Family) -> bool {
    let has_buffer = settings.rate_control.vbv_bits().is_some_and(|bits| bits > 0);
    let is_constant = matches!(settings.rate_control, RateControl::Cbr { .. });
    let own = settings.x264_params.as_deref().unwrap_or_default();
    match family {
        // x264 changes the rate of an encoder that keeps to a buffer, and only if its headers do not say what that is.
        Family::X264 => {
            let says = matches!(settings.rate_control, RateControl::Cbr { filler: true, .. });
            has_buffer && is_constant && (!says || settings.rate_changes) && !own.contains("nal-hrd")
        }
        // With an IDR picture each time, if the device can (`NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE`): nothing says whether it can.
        Family::Nvenc => has_buffer && is_constant,
        Family::Qsv => cfg!(ffmpeg_6_0) && has_buffer && is_constant,
        Family::X265
        | Family::SvtAv1
        | Family::Vpx
        | Family::VideoToolbox
        | Family::Vaapi
        | Family::Other => false,
    }
}

/// Why an encoder did not open.
#[derive(Debug)]
pub(crate) enum OpenFailure {
    /// Its device runs no more of them.
    Full,
    /// It is not there, does not take the settings, or its device does not work; libav's text.
    Broken(String),
    /// It was not tried.
    Refused(Error),
}

impl VideoEncoder {
    /// Opens an encoder whose packets carry the track index `track`.
    ///
    /// Packets and configuration are in the form of [`Packet`] and [`TrackInfo::config`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no encoder of that name, or none for the codec, opens with these settings;
    /// [`Error::NoFreeSession`] if a hardware encoder runs no more; [`Error::InvalidArgument`] for a size that is zero or odd;
    /// [`Error::VersionMismatch`].
    ///
    /// # Blocking
    /// Hardware encoders may take seconds to open; nothing interrupts that.
    pub fn open(track: usize, settings: &VideoSettings) -> Result<Self, Error> {
        Self::open_or_say(track, settings).map_err(|failure| {
            let name = settings.encoder.clone().unwrap_or_else(|| settings.codec.codec().name().to_owned());
            match failure {
                OpenFailure::Full => Error::NoFreeSession { name },
                OpenFailure::Broken(_) => Error::Unavailable { what: "encoder", name },
                OpenFailure::Refused(error) => error,
            }
        })
    }

    pub(crate) fn open_or_say(track: usize, settings: &VideoSettings) -> Result<Self, OpenFailure> {
        check_settings(settings).map_err(OpenFailure::Refused)?;
        let encoder = open_first(settings)?;
        let name = encoder.name();
        let session = Family::of(&name).is_hardware().then(|| Session::begin(&name));
        Ok(Self::assemble(track, settings, encoder, session))
    }

    fn assemble(
        track: usize,
        settings: &VideoSettings,
        encoder: RawEncoder,
        session: Option<Session>,
    ) -> Self {
        let output = encoder.output();
        let rates = Steering::of(settings, Family::of(&encoder.name()));
        let mut info = TrackInfo::new(track, TrackKind::Video, settings.codec.codec(), output.time_base);
        info.bit_rate = settings.rate_control.bit_rate();
        info.config = output.config;
        info.default = true;
        info.video = Some(VideoInfo {
            width: settings.width,
            height: settings.height,
            frame_rate: Some(settings.frame_rate),
            real_frame_rate: Some(settings.frame_rate),
            // The order of bytes in memory is not part of what is coded.
            pixel_format: if output.pixel_format == "nv12" { "yuv420p" } else { &output.pixel_format }
                .to_owned(),
            field_order: FieldOrder::Progressive,
            sample_aspect: None,
            rotation_degrees: 0,
            mirrored: false,
            b_frames: output.delay,
            color: settings.color.clone(),
        });
        let (converter, config) = Converter::new(&info, None);
        info.config = config;
        describe::complete(&mut info);
        let frame = TimeBase::new(settings.frame_rate.den, settings.frame_rate.num);
        let frame_ticks = frame.rescale(1, output.time_base).max(1);
        let pixel_format = output.pixel_format;
        Self {
            encoder,
            frame: None,
            converter,
            track: info,
            pixel_format,
            frame_ticks,
            last: None,
            rates,
            _session: session,
        }
    }

    /// libav's name of the encoder.
    #[must_use]
    pub fn name(&self) -> String {
        self.encoder.name()
    }

    /// libav's name of the pixel format it takes.
    #[must_use]
    pub fn pixel_format(&self) -> &str {
        &self.pixel_format
    }

    /// What it makes, as a demuxer would describe it.
    #[must_use]
    pub fn track(&self) -> &TrackInfo {
        &self.track
    }

    /// Gives it a picture to show at `pts`, in ticks of the time base, which must rise from picture to picture. The picture
    /// is copied.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a picture of another size, a time that does not rise, or an encoder that does not take
    /// "yuv420p"; [`Error::Libav`].
    pub fn push(&mut self, picture: &Picture, pts: i64) -> Result<(), Error> {
        self.check_time(Some(pts))?;
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => RawFrame::black(picture.width, picture.height, "yuv420p")?,
        };
        picture.fill(&mut frame)?;
        frame.set_pts(Some(pts));
        let result = self.send(&frame);
        self.frame = Some(frame);
        result
    }

    /// Gives it a picture of a decoder or a filter, which is not copied. Its [`pts`](VideoFrame::pts) is in ticks of the
    /// encoder's time base and must rise. `force_keyframe` starts a GOP with it (SVT-AV1 1.4 keeps to its fixed GOPs).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a picture of another size or pixel format, or a time that does not rise;
    /// [`Error::Libav`].
    pub fn push_frame(&mut self, frame: &VideoFrame, force_keyframe: bool) -> Result<(), Error> {
        self.check_time(frame.pts())?;
        if !force_keyframe {
            return self.send(frame.raw());
        }
        let mut forced = frame.raw().share()?;
        forced.force_keyframe(true);
        self.send(&forced)
    }

    /// Encodes to another constant rate from the next picture on: `bit_rate` bits per second, with a buffer of `vbv_bits` bits. The pictures, their
    /// headers and their order go on; NVENC begins a GOP. `false`, and nothing has changed, if an encoder of this kind does not take it while it is open:
    /// libx264 does with [`RateControl::Cbr`] (with filler only if it was opened for [changes](VideoSettings::rate_changes)), NVENC if the device does
    /// (which it does not say), Quick Sync from FFmpeg 6.0 on, the others do not.
    ///
    /// x264 holds the rate that its headers allow: [`VideoSettings::most_bit_rate`] says which.
    pub fn set_bit_rate(&mut self, bit_rate: u64, vbv_bits: u64) -> bool {
        let (true, RateControl::Cbr { filler, .. }) = (self.rates.is_read, self.rates.control) else {
            return false;
        };
        self.rates.control = RateControl::Cbr { bit_rate, vbv_bits, filler };
        self.encoder.set_rates(&rates(self.rates.control, self.rates.family));
        true
    }

    fn check_time(&self, pts: Option<i64>) -> Result<(), Error> {
        let rises = pts.is_some_and(|pts| self.last.is_none_or(|last| pts > last));
        if rises { Ok(()) } else { Err(refuse("a picture whose time does not rise")) }
    }

    fn send(&mut self, frame: &RawFrame) -> Result<(), Error> {
        if !self.encoder.takes(frame) {
            return Err(refuse("a picture of another size or pixel format"));
        }
        self.encoder.send(Some(frame))?;
        self.last = frame.pts();
        Ok(())
    }

    /// The next packet, or `None` if it needs another picture, or has given all after [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn pull(&mut self) -> Result<Option<Packet>, Error> {
        while let Some(mut packet) = self.encoder.receive()? {
            packet.track = self.track.index;
            if packet.duration == 0 {
                packet.duration = self.frame_ticks;
            }
            if let Converted::Packet(packet) = self.converter.convert(packet) {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// Says that no picture follows.
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn finish(&mut self) -> Result<(), Error> {
        Ok(self.encoder.send(None)?)
    }
}

fn check_settings(settings: &VideoSettings) -> Result<(), Error> {
    sys::check_versions()?;
    let odd = !settings.width.is_multiple_of(2) || !settings.height.is_multiple_of(2);
    if settings.width == 0 || settings.height == 0 || odd {
        return Err(refuse(&format!("a picture of {} x {}", settings.width, settings.height)));
    }
    Ok(())
}

/// The encoder that was asked for, or the first that opens: listed encoders need hardware that may not be there.
fn open_first(settings: &VideoSettings) -> Result<RawEncoder, OpenFailure> {
    if let Some(name) = &settings.encoder {
        return open_named(settings, name);
    }
    let known: &[&str] = match settings.codec {
        VideoCodecKind::H264 => &["libx264", "libopenh264", "h264_videotoolbox", "h264_mf"],
        VideoCodecKind::Hevc => &["libx265", "hevc_videotoolbox", "hevc_mf"],
        VideoCodecKind::Av1 => &["libsvtav1"],
        VideoCodecKind::Vp8 => &["libvpx"],
        VideoCodecKind::Vp9 => &["libvpx-vp9"],
    };
    for name in known.iter().filter(|name| sys::has_encoder(name)) {
        let opened = open_named(settings, name);
        // Software that does not open does not take the settings, and another encoder would only hide that.
        if opened.is_ok() || !Family::of(name).is_hardware() {
            return opened;
        }
    }
    open_as(settings, None, Family::Other).map_err(|failure| OpenFailure::Broken(failure.message()))
}

/// Opens an encoder by libav's name for it.
fn open_named(settings: &VideoSettings, name: &str) -> Result<RawEncoder, OpenFailure> {
    let refuse = |_| OpenFailure::Broken("a NUL in its name".to_owned());
    let (text, family) = (CString::new(name).map_err(refuse)?, Family::of(name));
    open_as(settings, Some(&text), family).map_err(|failure| {
        if means_full(failure, family, sessions::has_worked(name)) {
            sessions::refuse(name);
            OpenFailure::Full
        } else {
            OpenFailure::Broken(failure.message())
        }
    })
}

/// Whether an encoder did not open because its device runs no more of them. libav keeps NVENC's "out of memory" to itself where
/// it chooses the device, and says that it found none: of a device that has `worked` before that means the same.
fn means_full(failure: Failure, family: Family, worked: bool) -> bool {
    match failure.code {
        Failure::NO_MEMORY => family.is_hardware(),
        Failure::EXTERNAL => family == Family::Nvenc && worked,
        _ => false,
    }
}

fn open_as(settings: &VideoSettings, name: Option<&CStr>, family: Family) -> Result<RawEncoder, Failure> {
    let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "avcodec_descriptor_get_by_name");
    let codec = CString::new(settings.codec.codec().name()).map_err(refuse)?;
    if !options::are_known(settings, family) {
        return Err(Failure::new(Failure::INVALID_ARGUMENT, "avcodec_open2"));
    }
    let frame = TimeBase::new(settings.frame_rate.den, settings.frame_rate.num);
    let setup = VideoSetup {
        width: settings.width,
        height: settings.height,
        frame_rate: settings.frame_rate,
        time_base: settings.time_base.unwrap_or(frame),
        pixel_format: settings.pixel_format.as_deref(),
        color: &settings.color,
        gop_frames: settings.gop_frames,
        b_frames: settings.b_frames,
        refs: settings.refs,
        rates: rates(settings.rate_control, family),
        threads: settings.threads,
        thread_mode: settings.thread_mode,
        options: &options::options(settings, family),
    };
    RawEncoder::video(name, &codec, &setup)
}

fn rates(control: RateControl, family: Family) -> Rates {
    // What the others take as an option of their own.
    let quality = match (control.crf(), family) {
        (Some(crf), Family::Qsv | Family::Vaapi) => crf.round() as u32,
        _ => 0,
    };
    match control {
        // The rest is among its options; it refuses a limit here.
        RateControl::Cbr { bit_rate, .. } if family == Family::SvtAv1 => {
            Rates { average: bit_rate, quality, ..Rates::default() }
        }
        RateControl::Cbr { bit_rate, vbv_bits, .. } => {
            // The sign of a constant rate to libvpx.
            let least = if family == Family::Vpx { bit_rate } else { 0 };
            Rates { average: bit_rate, least, most: bit_rate, buffer: vbv_bits, quality }
        }
        RateControl::CappedCrf { max_bit_rate, vbv_bits, .. } => {
            let average = match family {
                // They know a limit of quality by the rate alone.
                Family::Vpx => max_bit_rate,
                // Without a rate they know no limit, and one equal to it is a constant rate.
                Family::Qsv | Family::Vaapi | Family::VideoToolbox | Family::Other => max_bit_rate / 4 * 3,
                Family::X264 | Family::X265 | Family::SvtAv1 | Family::Nvenc => 0,
            };
            Rates { average, most: max_bit_rate, buffer: vbv_bits, quality, least: 0 }
        }
        RateControl::Crf(_) => Rates { quality, ..Rates::default() },
        // Without a limit older versions choose a mode of Quick Sync that Linux has not.
        RateControl::Abr(bit_rate) if family == Family::Qsv => {
            Rates { average: bit_rate, most: bit_rate.saturating_mul(2), ..Rates::default() }
        }
        RateControl::Abr(bit_rate) => Rates { average: bit_rate, quality, ..Rates::default() },
    }
}

fn refuse(message: &str) -> Error {
    Error::InvalidArgument { message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_free_session_is_told_from_a_broken_one() {
        let failed = |code| Failure::new(code, "avcodec_open2");
        for (code, family, worked, expected) in [
            (Failure::NO_MEMORY, Family::Nvenc, false, true),
            (Failure::NO_MEMORY, Family::X264, false, false),
            (Failure::EXTERNAL, Family::Nvenc, true, true),
            (Failure::EXTERNAL, Family::Nvenc, false, false),
            (Failure::EXTERNAL, Family::VideoToolbox, true, false),
            (Failure::INVALID_ARGUMENT, Family::Nvenc, true, false),
        ] {
            assert_eq!(means_full(failed(code), family, worked), expected, "{code} {family:?} {worked}");
        }
    }

    #[test]
    fn a_limit_is_told_to_every_family() {
        let capped = RateControl::CappedCrf { crf: 23.0, max_bit_rate: 2_000_000, vbv_bits: 4_000_000 };
        for family in [Family::Qsv, Family::Vaapi, Family::VideoToolbox] {
            let rates = rates(capped, family);
            assert_eq!((rates.average, rates.most), (1_500_000, 2_000_000), "{family:?}");
        }
        assert_eq!(rates(capped, Family::Vpx).average, 2_000_000);
        let told = rates(capped, Family::X264);
        assert_eq!((told.average, told.most, told.buffer), (0, 2_000_000, 4_000_000));
        let average = rates(RateControl::Abr(1_000_000), Family::Qsv);
        assert_eq!((average.average, average.most), (1_000_000, 2_000_000));
    }
}
