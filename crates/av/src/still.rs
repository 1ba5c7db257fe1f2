//! A still picture: one keyframe decoded, scaled and written as JPEG.
//!
//! In: a keyframe and the configuration of its track. Out: the bytes of a JPEG file (JFIF). Works in the thread that calls. Opening a decoder,
//! a filter and an encoder costs more than a small picture, so what was opened is kept for the next one.

use bytes::Bytes;

use crate::decoder::{DecoderOptions, VideoDecoder};
use crate::frame::VideoFormats;
use crate::sys::{self, RawEncoder, RawGraph, VideoSetup};
use crate::{
    Codec, ColorInfo, Error, Packet, Ratio, ThreadMode, TimeBase, TrackInfo, VideoFormat, VideoFrame,
    VideoTarget,
};

/// The coarsest quantizer that is used, of quality 1; the finest is 2.
const COARSEST: u32 = 31;
/// From this height on, pictures that do not say their matrix are taken as BT.709.
const HD_LINES: u32 = 720;

/// What a JPEG is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegOptions {
    /// Pixels it is wide at most. Default 320.
    pub max_width: u32,
    /// Pixels it is high at most. Default 320.
    pub max_height: u32,
    /// From 1 (coarse, small) to 100. Default 75.
    pub quality: u8,
    /// Pixels of the picture that is decoded at most; larger ones are [`Error::Damaged`]. Default 8192 x 4608.
    pub max_pixels: u64,
}

impl Default for JpegOptions {
    fn default() -> Self {
        Self {
            max_width: 320,
            max_height: 320,
            quality: 75,
            max_pixels: DecoderOptions::default().max_pixels,
        }
    }
}

/// A picture as JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The bytes of the file: JFIF, 4:2:0, BT.601 in full range, as the format says.
    pub data: Bytes,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Makes JPEGs of keyframes, of one track or of many, one after the other. What one of them needed is kept for the next: a decoder, a
/// filter and an encoder, a few megabytes for each million pixels. Without a use for it, drop it.
///
/// ```no_run
/// use flowcast_av::{Demuxer, Interrupt, JpegMaker, JpegOptions, OpenOptions};
///
/// let mut input = Demuxer::open("intro.mp4".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// let track = input.media().video().expect("a picture").clone();
/// let mut maker = JpegMaker::default();
/// while let Some(packet) = input.read()? {
///     if packet.track == track.index && packet.keyframe {
///         let jpeg = maker.jpeg(&track, &packet, &JpegOptions::default())?;
///         println!("{} x {}: {} bytes", jpeg.width, jpeg.height, jpeg.data.len());
///     }
/// }
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct JpegMaker {
    decoder: Option<(DecoderFor, VideoDecoder)>,
    filter: Option<(String, VideoFormat, RawGraph)>,
    encoder: Option<((u32, u32, u8), RawEncoder)>,
    /// Times of pictures, which have to grow for the filter and the encoder.
    made: i64,
}

/// What a decoder was opened for.
#[derive(Debug, PartialEq, Eq)]
struct DecoderFor {
    codec: Codec,
    /// Of a codec whose decoders do not follow another configuration.
    config: Option<Bytes>,
    has_config: bool,
    max_pixels: u64,
    draft: bool,
}

impl JpegMaker {
    /// Decodes a keyframe of a track and makes a JPEG of it. The picture keeps its shape with square pixels, is never enlarged beyond what
    /// those need, and has even sides. High dynamic range is brought to BT.709 where this libav has the filters `zscale` and `tonemap`.
    /// A new configuration in the packet holds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this libav has no decoder for the codec, or no encoder for JPEG; [`Error::InvalidArgument`] for a track without
    /// pictures, a size of zero or a quality that is not 1 to 100; [`Error::Damaged`] if no picture comes out; [`Error::Libav`].
    ///
    /// # Blocking
    /// As long as decoding one picture takes.
    pub fn jpeg(
        &mut self,
        track: &TrackInfo,
        keyframe: &Packet,
        options: &JpegOptions,
    ) -> Result<Jpeg, Error> {
        if options.max_width == 0 || options.max_height == 0 || !(1..=100).contains(&options.quality) {
            let message = format!(
                "a JPEG of {} x {} with quality {}",
                options.max_width, options.max_height, options.quality
            );
            return Err(Error::InvalidArgument { message });
        }
        let picture = self.decoded(track, keyframe, options)?;
        let to = VideoTarget::fitting(picture.format(), 0, (options.max_width, options.max_height));
        let small = self.shaped(picture, (to.width, to.height))?;
        let data = self.encoded(&small, options.quality)?;
        Ok(Jpeg { data, width: small.format().width, height: small.format().height })
    }

    /// The picture of a keyframe.
    fn decoded(
        &mut self,
        track: &TrackInfo,
        keyframe: &Packet,
        options: &JpegOptions,
    ) -> Result<VideoFrame, Error> {
        let config = keyframe.config.clone().or_else(|| track.config.clone());
        let size = track.video.as_ref().map_or(0, |video| video.width.min(video.height));
        let purpose = DecoderFor {
            has_config: config.is_some(),
            config: config.clone().filter(|_| !matches!(track.codec, Codec::H264 | Codec::Hevc)),
            codec: track.codec.clone(),
            max_pixels: options.max_pixels,
            // What deblocking changes does not show in a picture of half the size.
            draft: size >= 2 * options.max_width.min(options.max_height),
        };
        // One that failed is not used again.
        let kept = self.decoder.take().filter(|(kept, _)| *kept == purpose);
        let mut decoder = match kept {
            Some((_, decoder)) => decoder,
            None => {
                let setup = DecoderOptions {
                    threads: 1,
                    thread_mode: ThreadMode::Slice,
                    max_pixels: options.max_pixels,
                    draft: purpose.draft,
                };
                VideoDecoder::open(&TrackInfo { config: config.clone(), ..track.clone() }, &setup)?
            }
        };
        decoder.push(&Packet { config, ..keyframe.clone() })?;
        let mut picture = decoder.pull()?;
        if picture.is_none() {
            decoder.finish()?;
            picture = decoder.pull()?;
        }
        let picture = picture.ok_or_else(|| Error::Damaged {
            track: track.index,
            pts: keyframe.pts,
            message: "no picture comes out of the keyframe".to_owned(),
        })?;
        decoder.reset()?;
        self.decoder = Some((purpose, decoder));
        Ok(picture)
    }

    /// The picture in another size, with the colours of JPEG.
    fn shaped(&mut self, mut picture: VideoFrame, size: (u32, u32)) -> Result<VideoFrame, Error> {
        let is_hdr = matches!(picture.format().color.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"));
        let chain = match is_hdr && sys::has_filter(c"zscale") && sys::has_filter(c"tonemap") {
            true => tone_mapped(size),
            false => scaled(picture.format(), size),
        };
        let kept = self.filter.take().filter(|(kept, from, _)| *kept == chain && from == picture.format());
        let (from, mut graph) = match kept {
            Some((_, from, graph)) => (from, graph),
            None => {
                let from = picture.format().clone();
                let graph = RawGraph::open(&from, TimeBase::MILLIS, &chain, 1)?;
                (from, graph)
            }
        };
        self.made += 1;
        picture.set_pts(Some(self.made));
        graph.send(Some(picture.into_raw()))?;
        let raw = graph.receive()?;
        let raw = raw.ok_or_else(|| Error::InvalidArgument {
            message: "a picture that cannot be scaled".to_owned(),
        })?;
        self.filter = Some((chain, from, graph));
        Ok(VideoFrame::new(raw, &mut VideoFormats::default()))
    }

    fn encoded(&mut self, picture: &VideoFrame, quality: u8) -> Result<Bytes, Error> {
        let missing = || Error::Unavailable { what: "encoder", name: "mjpeg".to_owned() };
        let (width, height) = (picture.format().width, picture.format().height);
        let kept = self.encoder.take().filter(|(kept, _)| *kept == (width, height, quality));
        let mut encoder = match kept {
            Some((_, encoder)) => encoder,
            None if sys::has_encoder("mjpeg") => encoder_of_jpeg(width, height, quality)?,
            None => return Err(missing()),
        };
        encoder.send(Some(picture.raw()))?;
        let data = encoder.receive()?.ok_or_else(missing)?.data;
        self.encoder = Some(((width, height, quality), encoder));
        Ok(data)
    }
}

/// Filters for a picture that is in the range of screens.
fn scaled(from: &VideoFormat, (width, height): (u32, u32)) -> String {
    let matrix = match from.color.space.as_deref() {
        Some("bt709") => "bt709",
        Some("smpte170m" | "bt470bg") => "bt601",
        Some("bt2020nc" | "bt2020c") => "bt2020",
        Some("smpte240m") => "smpte240m",
        None if from.height >= HD_LINES => "bt709",
        // What is red, green and blue has none.
        _ => "auto",
    };
    // What says nothing is of limited range; the letter J in a format says the other.
    let range = if from.color.range.is_none() && !from.pixel_format.starts_with("yuvj") {
        "auto"
    } else if from.color.range.as_deref() == Some("tv") {
        "limited"
    } else {
        "full"
    };
    format!(
        "scale={width}:{height}:flags=bilinear:in_color_matrix={matrix}:in_range={range}:out_color_matrix=bt601:out_range=full,\
         setsar=1,format=yuv420p"
    )
}

/// Made small first: what follows is costly for each pixel.
fn tone_mapped((width, height): (u32, u32)) -> String {
    format!(
        "scale={width}:{height}:flags=bilinear,zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=bt709,\
         tonemap=hable:desat=0,zscale=transfer=bt709:matrix=470bg:range=full,setsar=1,format=yuv420p"
    )
}

fn encoder_of_jpeg(width: u32, height: u32, quality: u8) -> Result<RawEncoder, Error> {
    // From 2 for quality 100 to 31 for quality 1, with finer steps at the fine end.
    let coarse = u32::from(100 - quality);
    let quantizer = (2 + (COARSEST - 2) * coarse * coarse / (99 * 99)).to_string();
    let setup = VideoSetup {
        width,
        height,
        frame_rate: Ratio { num: 25, den: 1 },
        time_base: TimeBase::MILLIS,
        pixel_format: Some("yuv420p"),
        color: &ColorInfo { range: Some("pc".to_owned()), ..ColorInfo::default() },
        gop_frames: 1,
        b_frames: 0,
        refs: None,
        rates: sys::Rates { average: 1_000_000, ..sys::Rates::default() },
        threads: 1,
        thread_mode: ThreadMode::Slice,
        // Of groups of pictures libav's encoder of JPEG wants to hear nothing.
        options: &[("flags", "-cgop".to_owned()), ("qmin", quantizer.clone()), ("qmax", quantizer)],
    };
    Ok(RawEncoder::video(Some(c"mjpeg"), c"mjpeg", &setup)?)
}
