//! H.264 encoding.

use std::ffi::CStr;

use crate::convert::{Converted, Converter};
use crate::sys::{self, RawEncoder, RawFrame, VideoSetup};
use crate::{Codec, Error, FieldOrder, Packet, Ratio, TrackInfo, TrackKind, VideoInfo, describe};

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
}

/// How to encode video.
#[derive(Debug, Clone)]
pub struct VideoSettings {
    /// libav's name of the encoder; `None` for libx264, else the first H.264 encoder that opens.
    pub encoder: Option<String>,
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Frames per second. The encoder's clock ticks once per frame.
    pub frame_rate: Ratio,
    /// Frames from one keyframe to the next, fixed. Default 50.
    pub gop_frames: u32,
    /// B-frames in a row at most. Default 0.
    pub b_frames: u32,
    /// Bits per second on average. Default 1,000,000.
    pub bit_rate: u64,
    /// Preset, for libx264. Default "veryfast".
    pub preset: String,
    /// Threads; 0 lets the encoder choose. With 1 (the default) the output depends on nothing but the input.
    pub threads: u32,
}

impl VideoSettings {
    /// The defaults for a size in pixels and a rate in frames per second.
    #[must_use]
    pub fn new(width: u32, height: u32, frame_rate: Ratio) -> Self {
        Self {
            encoder: None,
            width,
            height,
            frame_rate,
            gop_frames: 50,
            b_frames: 0,
            bit_rate: 1_000_000,
            preset: "veryfast".to_owned(),
            threads: 1,
        }
    }
}

/// An H.264 encoder: [`push`](Self::push) pictures, [`pull`](Self::pull) packets until there is none, [`finish`](Self::finish),
/// pull the rest.
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
    frame: RawFrame,
    converter: Converter,
    track: TrackInfo,
}

impl VideoEncoder {
    /// Opens an encoder whose packets carry the track index `track`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no encoder of that name, or none for H.264, opens with these settings;
    /// [`Error::InvalidArgument`] for a size that is zero or odd; [`Error::VersionMismatch`].
    ///
    /// # Blocking
    /// Hardware encoders may take seconds to open; nothing interrupts that.
    pub fn open(track: usize, settings: &VideoSettings) -> Result<Self, Error> {
        sys::check_versions()?;
        let odd = !settings.width.is_multiple_of(2) || !settings.height.is_multiple_of(2);
        if settings.width == 0 || settings.height == 0 || odd {
            let message = format!("a picture of {} x {}", settings.width, settings.height);
            return Err(Error::InvalidArgument { message });
        }
        let encoder = open_first(settings)?;
        let frame = RawFrame::picture(settings.width, settings.height)?;
        let output = encoder.output();
        let mut info = TrackInfo::new(track, TrackKind::Video, Codec::H264, output.time_base);
        info.bit_rate = Some(settings.bit_rate);
        info.config = output.config;
        info.default = true;
        info.video = Some(VideoInfo {
            width: settings.width,
            height: settings.height,
            frame_rate: Some(settings.frame_rate),
            real_frame_rate: Some(settings.frame_rate),
            pixel_format: "yuv420p".to_owned(),
            field_order: FieldOrder::Progressive,
            sample_aspect: None,
            rotation_degrees: 0,
            mirrored: false,
            b_frames: output.delay,
            color: crate::ColorInfo::default(),
        });
        let (converter, config) = Converter::new(&info, None);
        info.config = config;
        describe::complete(&mut info);
        Ok(Self { encoder, frame, converter, track: info })
    }

    /// What it makes, as a demuxer would describe it.
    #[must_use]
    pub fn track(&self) -> &TrackInfo {
        &self.track
    }

    /// Gives it a picture to show at frame number `pts`, which must rise from picture to picture.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a picture of another size; [`Error::Libav`].
    pub fn push(&mut self, picture: &Picture, pts: i64) -> Result<(), Error> {
        let chroma_width = picture.width.div_ceil(2) as usize;
        let planes =
            [(&picture.y, picture.width as usize), (&picture.u, chroma_width), (&picture.v, chroma_width)];
        for (plane, (rows, width)) in planes.into_iter().enumerate() {
            let filled = self.frame.fill_plane(plane, rows, width);
            filled.map_err(|_| Error::InvalidArgument { message: "a picture of another size".to_owned() })?;
        }
        self.frame.set_pts(pts);
        Ok(self.encoder.send(Some(&self.frame))?)
    }

    /// The next packet, or `None` if it needs another picture, or has given all after [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn pull(&mut self) -> Result<Option<Packet>, Error> {
        while let Some(mut packet) = self.encoder.receive()? {
            packet.track = self.track.index;
            if packet.duration == 0 {
                packet.duration = 1;
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

/// The encoder that was asked for, or the first that opens: listed encoders need hardware that may not be there.
fn open_first(settings: &VideoSettings) -> Result<RawEncoder, Error> {
    let gop = settings.gop_frames.to_string();
    // Fixed GOPs of the given structure, each starting with an IDR picture; unknown options are ignored by the others.
    let x264 = format!("scenecut=0:open-gop=0:b-adapt=0:keyint={gop}:min-keyint={gop}");
    let options = [("preset", settings.preset.as_str()), ("x264-params", &x264), ("forced-idr", "1")];
    let setup = VideoSetup {
        width: settings.width,
        height: settings.height,
        frame_rate: settings.frame_rate,
        gop_frames: settings.gop_frames,
        b_frames: settings.b_frames,
        bit_rate: settings.bit_rate,
        threads: settings.threads,
        options: &options,
    };
    if let Some(name) = &settings.encoder {
        let name = std::ffi::CString::new(name.as_str())
            .map_err(|_| Error::InvalidArgument { message: "the encoder's name holds a NUL".to_owned() })?;
        return RawEncoder::video(Some(&name), c"h264", &setup)
            .map_err(|_| Error::Unavailable { what: "encoder", name: name.to_string_lossy().into_owned() });
    }
    let known: [&CStr; 4] = [c"libx264", c"libopenh264", c"h264_videotoolbox", c"h264_mf"];
    known
        .into_iter()
        .map(Some)
        .chain([None])
        .find_map(|name| RawEncoder::video(name, c"h264", &setup).ok())
        .ok_or_else(|| Error::Unavailable { what: "encoder", name: "h264".to_owned() })
}
