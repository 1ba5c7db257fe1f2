//! Decoded pictures and samples, shared by reference count. Made by decoders, changed by filters and resamplers, taken by
//! encoders; pixels and samples are never copied on the way. Every frame may move to another thread.

use std::sync::Arc;

use crate::encoder::Picture;
use crate::sys::{self, PictureKey, RawFrame, RawPool, Sound, SoundKey};
use crate::{ColorInfo, Error, Ratio};

/// What the pictures of a track are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// libav's name of the pixel format ("yuv420p").
    pub pixel_format: String,
    /// Shape of a pixel, `None` if not said (take it as 1:1).
    pub sample_aspect: Option<Ratio>,
    /// Colour description.
    pub color: ColorInfo,
}

/// One decoded picture.
#[derive(Debug)]
pub struct VideoFrame {
    raw: RawFrame,
    format: Arc<VideoFormat>,
}

impl VideoFrame {
    pub(crate) fn new(raw: RawFrame, formats: &mut VideoFormats) -> Self {
        let format = formats.of(&raw);
        Self { raw, format }
    }

    /// A black picture, without a time.
    ///
    /// # Errors
    /// [`Error::Libav`] for a pixel format libav does not know or cannot fill, a size of zero, or without memory.
    pub fn black(width: u32, height: u32, pixel_format: &str) -> Result<Self, Error> {
        sys::check_versions()?;
        Ok(Self::new(RawFrame::black(width, height, pixel_format)?, &mut VideoFormats::default()))
    }

    /// A copy of a picture, without a time.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if its planes are not of its size; [`Error::Libav`] for a size of zero, or without memory.
    pub fn from_picture(picture: &Picture) -> Result<Self, Error> {
        sys::check_versions()?;
        let mut raw = RawFrame::black(picture.width, picture.height, "yuv420p")?;
        picture.fill(&mut raw)?;
        Ok(Self::new(raw, &mut VideoFormats::default()))
    }

    pub(crate) fn raw(&self) -> &RawFrame {
        &self.raw
    }

    pub(crate) fn raw_mut(&mut self) -> &mut RawFrame {
        &mut self.raw
    }

    pub(crate) fn into_raw(self) -> RawFrame {
        self.raw
    }

    /// When to show it, in ticks: of the track's time base after a decoder, of
    /// [`VideoFilter::time_base`](crate::VideoFilter::time_base) after a filter. `None` if the input did not tell.
    #[must_use]
    pub fn pts(&self) -> Option<i64> {
        self.raw.pts()
    }

    /// Sets its presentation time, in the clock of the next consumer.
    pub fn set_pts(&mut self, pts: Option<i64>) {
        self.raw.set_pts(pts);
    }

    /// How long to show it, in the same ticks; 0 if unknown.
    #[must_use]
    pub fn duration(&self) -> i64 {
        self.raw.duration()
    }

    /// What it is like.
    #[must_use]
    pub fn format(&self) -> &VideoFormat {
        &self.format
    }

    /// It is made of two fields, as its coder said; most of interlaced material is, even where nothing moves.
    #[must_use]
    pub fn is_interlaced(&self) -> bool {
        self.raw.is_interlaced()
    }

    /// It was coded as a keyframe.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        self.raw.is_keyframe()
    }

    /// The decoder concealed damage in it.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.raw.is_corrupt()
    }

    /// Another handle on the same picture, with a time of its own.
    ///
    /// # Errors
    /// [`Error::Libav`] without memory.
    pub fn share(&self) -> Result<Self, Error> {
        Ok(Self { raw: self.raw.share()?, format: Arc::clone(&self.format) })
    }

    /// A copy in shades of gray, 0 to 255, rows without padding; in another size, if one is given.
    ///
    /// # Errors
    /// [`Error::Libav`] for a size of zero, or a picture that cannot be converted.
    pub fn gray(&self, size: Option<(u32, u32)>) -> Result<Vec<u8>, Error> {
        let scale =
            size.map_or_else(String::new, |(width, height)| format!("scale={width}:{height}:flags=area,"));
        crate::blend::converted(self.share()?, &format!("{scale}format=gray"))?.to_bytes()
    }

    /// A copy of the pixels, rows and planes without padding, one plane after the other: libav's "rawvideo".
    ///
    /// # Errors
    /// [`Error::Libav`] for a pixel format that is not made of bytes in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(self.raw.copy_pixels()?)
    }
}

/// Pictures of one format, to be drawn on, in memory that is used again: a picture's memory comes back when the last handle on it is
/// dropped. May be used by several threads.
///
/// ```
/// use flowcast_av::{ColorInfo, FramePool, VideoFormat};
///
/// let color = ColorInfo::default();
/// let pixel_format = "rgba".to_owned();
/// let pool = FramePool::new(&VideoFormat { width: 640, height: 360, pixel_format, sample_aspect: None, color })?;
/// let mut canvas = pool.get()?;
/// let stride = canvas.stride(0);
/// canvas.plane_mut(0)[10 * stride..][..4].copy_from_slice(&[255, 0, 0, 255]); // the first pixel of row 10 is red
/// let picture = canvas.into_frame();
/// assert_eq!(picture.to_bytes()?[10 * 640 * 4], 255);
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct FramePool {
    raw: RawPool,
    format: Arc<VideoFormat>,
}

impl FramePool {
    /// A pool without pictures yet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a pixel format that libav does not know or that has a palette; [`Error::Libav`] for a size of zero
    /// or beyond libav's limits, or without memory.
    pub fn new(format: &VideoFormat) -> Result<Self, Error> {
        sys::check_versions()?;
        if !sys::is_pixel_format(&format.pixel_format) || format.pixel_format == "pal8" {
            let message = format!("no pictures of {:?} are lent", format.pixel_format);
            return Err(Error::InvalidArgument { message });
        }
        Ok(Self { raw: RawPool::new(format)?, format: Arc::new(format.clone()) })
    }

    /// What the pictures are like.
    #[must_use]
    pub fn format(&self) -> &VideoFormat {
        &self.format
    }

    /// A picture, without a time, with the pixels that its memory was last used with; zeros at first.
    ///
    /// # Errors
    /// [`Error::Libav`] without memory.
    pub fn get(&self) -> Result<Canvas, Error> {
        Ok(Canvas(VideoFrame { raw: self.raw.get()?, format: Arc::clone(&self.format) }))
    }
}

/// A picture of a [`FramePool`] that is being drawn. Nobody else sees it.
#[derive(Debug)]
pub struct Canvas(VideoFrame);

impl Canvas {
    /// What it is like.
    #[must_use]
    pub fn format(&self) -> &VideoFormat {
        &self.0.format
    }

    /// Bytes from the begin of one row of a plane to that of the next; 0 for a plane it does not have.
    #[must_use]
    pub fn stride(&self, plane: usize) -> usize {
        self.0.raw.stride(plane)
    }

    /// Rows of a plane; 0 for one it does not have.
    #[must_use]
    pub fn rows(&self, plane: usize) -> usize {
        self.0.raw.rows(plane)
    }

    /// The bytes of a plane: [`rows`](Self::rows) of [`stride`](Self::stride) bytes each. Empty for one it does not have.
    pub fn plane_mut(&mut self, plane: usize) -> &mut [u8] {
        self.0.raw.plane_mut(plane)
    }

    /// The picture, drawn.
    #[must_use]
    pub fn into_frame(self) -> VideoFrame {
        self.0
    }
}

/// What the samples of a track are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u32,
    /// libav's name of the channel layout ("stereo", "5.1"); the usual one for this number of channels if empty or unknown.
    pub layout: String,
    /// libav's name of the sample format ("fltp").
    pub sample_format: String,
}

/// A run of decoded samples of all channels.
#[derive(Debug)]
pub struct AudioFrame {
    raw: RawFrame,
    format: Arc<AudioFormat>,
}

impl AudioFrame {
    pub(crate) fn new(raw: RawFrame, formats: &mut AudioFormats) -> Self {
        let format = formats.of(&raw);
        Self { raw, format }
    }

    pub(crate) fn raw(&self) -> &RawFrame {
        &self.raw
    }

    /// `samples` samples of silence per channel, without a time.
    ///
    /// # Errors
    /// [`Error::Libav`] for a format libav does not know, no samples, or without memory.
    pub fn silence(format: &AudioFormat, samples: usize) -> Result<Self, Error> {
        sys::check_versions()?;
        let raw = RawFrame::silence(samples, &Sound::of(format)?)?;
        Ok(Self::new(raw, &mut AudioFormats::default()))
    }

    /// A copy of samples from -1 to 1, one slice for each channel, in the usual layout for this number of channels, as "fltp";
    /// without a time.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for slices of different lengths; [`Error::Libav`] for no channels, no samples or a rate of 0.
    pub fn from_channels(sample_rate: u32, channels: &[&[f32]]) -> Result<Self, Error> {
        sys::check_versions()?;
        let refuse = |message: &str| Error::InvalidArgument { message: message.to_owned() };
        let format = AudioFormat {
            sample_rate,
            channels: u32::try_from(channels.len()).map_err(|_| refuse("too many channels"))?,
            layout: String::new(),
            sample_format: "fltp".to_owned(),
        };
        let samples = channels.first().map_or(0, |channel| channel.len());
        let mut raw = RawFrame::silence(samples, &Sound::of(&format)?)?;
        for (index, channel) in channels.iter().enumerate() {
            raw.fill_channel(index, channel).map_err(|_| refuse("channels of different lengths"))?;
        }
        Ok(Self::new(raw, &mut AudioFormats::default()))
    }

    /// The number of its first sample: ticks of one sample each, at the rate of its format, from the zero of the track's
    /// clock on. `None` if the input did not tell.
    #[must_use]
    pub fn pts(&self) -> Option<i64> {
        self.raw.pts()
    }

    /// Sets the number of its first sample.
    pub fn set_pts(&mut self, pts: Option<i64>) {
        self.raw.set_pts(pts);
    }

    /// Samples per channel.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.raw.samples()
    }

    /// What they are like.
    #[must_use]
    pub fn format(&self) -> &AudioFormat {
        &self.format
    }

    /// Another handle on the same samples, with a time of its own.
    ///
    /// # Errors
    /// [`Error::Libav`] without memory.
    pub fn share(&self) -> Result<Self, Error> {
        Ok(Self { raw: self.raw.share()?, format: Arc::clone(&self.format) })
    }

    /// A copy of samples of 32-bit float ("fltp", "flt"), one row for each channel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another sample format.
    pub fn to_channels(&self) -> Result<Vec<Vec<f32>>, Error> {
        let mut rows = vec![vec![0.0; self.samples()]; self.format.channels as usize];
        for (index, row) in rows.iter_mut().enumerate() {
            self.raw.read_channel(index, row).map_err(|_| Error::InvalidArgument {
                message: format!("samples in {}, not in 32-bit float", self.format.sample_format),
            })?;
        }
        Ok(rows)
    }

    /// A copy of the samples in their sample format and this machine's byte order, all channels of one sample behind each
    /// other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.raw.copy_samples()
    }
}

/// The format of the last picture: frames of one format share its description.
#[derive(Debug, Default)]
pub(crate) struct VideoFormats(Option<(PictureKey, Arc<VideoFormat>)>);

impl VideoFormats {
    fn of(&mut self, raw: &RawFrame) -> Arc<VideoFormat> {
        let key = raw.picture_key();
        if let Some((known, format)) = &self.0
            && *known == key
        {
            return Arc::clone(format);
        }
        let format = Arc::new(key.describe());
        self.0 = Some((key, Arc::clone(&format)));
        format
    }
}

/// The same for samples.
#[derive(Debug, Default)]
pub(crate) struct AudioFormats(Option<(SoundKey, Arc<AudioFormat>)>);

impl AudioFormats {
    fn of(&mut self, raw: &RawFrame) -> Arc<AudioFormat> {
        let key = raw.sound_key();
        if let Some((known, format)) = &self.0
            && *known == key
        {
            return Arc::clone(format);
        }
        let format = Arc::new(raw.describe_sound());
        self.0 = Some((key, Arc::clone(&format)));
        format
    }
}
