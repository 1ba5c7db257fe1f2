//! Brings pictures into the form an encoder takes: size, shape of pixels, orientation, fields, colours, frame rate.
//! libavfilter does the work, in the thread that calls; where there is nothing to do there is no filter.

use std::ffi::CString;

use crate::frame::{VideoFormats, VideoFrame};
use crate::graph;
use crate::sys::{self, RawGraph};
use crate::{Error, Ratio, TimeBase, VideoFormat};

/// What pictures are to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTarget {
    /// Width in pixels, after turning.
    pub width: u32,
    /// Height in pixels, after turning. The picture keeps its shape: where the target has another, black is added around it;
    /// differences of 1 % are scaled away.
    pub height: u32,
    /// libav's name of the pixel format. Default "yuv420p".
    pub pixel_format: String,
    /// Frames per second: pictures are repeated and left out to make it. `None` (the default): as they come.
    pub frame_rate: Option<Ratio>,
    /// Makes whole pictures of those that are made of two fields. Default false.
    pub deinterlace: bool,
    /// How far to turn the pictures clockwise: 0 (the default), 90, 180 or 270.
    pub rotate_degrees: u16,
    /// Whether to mirror them from left to right before they are turned. Default false.
    pub mirrored: bool,
    /// Brings high dynamic range (PQ, HLG) to BT.709. Default false. Without effect on other pictures.
    pub tone_map: bool,
    /// How sizes and pixel formats are changed. Default [`Scaling::Bicubic`].
    pub scaling: Scaling,
    /// Threads that share a picture where its size or pixel format changes, 1 to 64. Default 1: the thread that calls.
    pub threads: u32,
    /// A filter graph in libav's notation, with one input and one output, for the pictures as they are after all that. What comes out of it in another
    /// size is fitted in. Default empty: none. It is taken as it is: see [`check_filters`](crate::check_filters).
    pub filters: String,
}

/// How sizes and pixel formats are changed, by libswscale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Scaling {
    /// The fastest, with rough edges.
    Fast,
    /// Between the two neighbours of a pixel.
    Bilinear,
    /// Sharper; what libav does by itself.
    #[default]
    Bicubic,
    /// As bicubic, with every step rounded exactly and colours taken from all pixels.
    Accurate,
}

impl Scaling {
    /// As libswscale names it.
    const fn flags(self) -> &'static str {
        match self {
            Self::Fast => "fast_bilinear",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Accurate => "bicubic+accurate_rnd+full_chroma_inp",
        }
    }
}

/// Whether pixels of this format, by libav's name, are red, green and blue, or of a palette of them. A [`VideoFilter`] makes BT.709 of
/// limited range of them.
#[must_use]
pub fn is_rgb(pixel_format: &str) -> bool {
    sys::is_rgb(pixel_format)
}

impl VideoTarget {
    /// The defaults for a size in pixels.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            pixel_format: "yuv420p".to_owned(),
            frame_rate: None,
            deinterlace: false,
            rotate_degrees: 0,
            mirrored: false,
            tone_map: false,
            scaling: Scaling::Bicubic,
            threads: 1,
            filters: String::new(),
        }
    }

    /// The defaults for the size pictures are shown in: turned by `rotate_degrees`, with square pixels, both numbers even,
    /// and not larger than `most` (width and height). Never enlarged beyond what square pixels need.
    #[must_use]
    pub fn fitting(from: &VideoFormat, rotate_degrees: u16, most: (u32, u32)) -> Self {
        let (width, height) = shown(from, rotate_degrees);
        let shrink = (f64::from(most.0) / width).min(f64::from(most.1) / height).min(1.0);
        let even = |size: f64| (((size * shrink / 2.0).round() as u32) * 2).max(2);
        Self { rotate_degrees, ..Self::new(even(width), even(height)) }
    }
}

/// The size pictures are shown in, with square pixels: the larger side of a pixel is kept.
fn shown(from: &VideoFormat, rotate_degrees: u16) -> (f64, f64) {
    let aspect = from.sample_aspect.map_or(1.0, Ratio::as_f64);
    let (mut width, mut height) = (f64::from(from.width.max(1)), f64::from(from.height.max(1)));
    if aspect > 1.0 {
        width *= aspect;
    } else {
        height /= aspect;
    }
    if rotate_degrees % 180 == 90 { (height, width) } else { (width, height) }
}

/// A chain of filters for pictures of one format: [`push`](Self::push) a picture, [`pull`](Self::pull) until there is none;
/// [`finish`](Self::finish), pull the rest.
#[derive(Debug)]
pub struct VideoFilter {
    graph: RawGraph,
    from: VideoFormat,
    formats: VideoFormats,
    /// The clock of what goes in, and of what comes out.
    pushed: TimeBase,
    time_base: TimeBase,
    finished: bool,
}

impl VideoFilter {
    /// Sets up what makes `to` of pictures like `from`, whose times are in ticks of `time_base`. `None` if nothing is to be
    /// done.
    ///
    /// Full range ("pc") becomes limited range, which is what players of live streams expect. Red, green and blue become BT.709 of
    /// limited range; libav by itself would take BT.601, and players would show other colours.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this libav lacks a filter that is needed (`zscale` and `tonemap` for
    /// [`VideoTarget::tone_map`]); [`Error::InvalidArgument`] for a size of zero, another angle or an unknown pixel format;
    /// [`Error::Libav`].
    pub fn new(from: &VideoFormat, time_base: TimeBase, to: &VideoTarget) -> Result<Option<Self>, Error> {
        sys::check_versions()?;
        let steps = steps(from, to)?;
        if steps.is_empty() {
            return Ok(None);
        }
        let own = graph::unlabelled(&to.filters);
        for step in steps.iter().filter(|step| **step != own) {
            let name = step.split('=').next().unwrap_or_default();
            let known = CString::new(name).is_ok_and(|name| sys::has_filter(&name));
            if !known {
                return Err(Error::Unavailable { what: "filter", name: name.to_owned() });
            }
        }
        let graph = RawGraph::open(from, time_base, &steps.join(","), to.threads)?;
        let pushed = time_base;
        let time_base = graph.time_base();
        let formats = VideoFormats::default();
        Ok(Some(Self { graph, from: from.clone(), formats, pushed, time_base, finished: false }))
    }

    /// The clock of what comes out: that of what goes in, a finer one behind a deinterlacer, or one tick for each frame of
    /// [`VideoTarget::frame_rate`].
    #[must_use]
    pub fn time_base(&self) -> TimeBase {
        self.time_base
    }

    /// Whether pictures of this format can be pushed. For others make a new one, after this one has been finished and pulled
    /// empty.
    #[must_use]
    pub fn accepts(&self, format: &VideoFormat) -> bool {
        self.from == *format
    }

    /// Gives it a picture.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a picture of another format, or after [`finish`](Self::finish); [`Error::Libav`].
    pub fn push(&mut self, frame: VideoFrame) -> Result<(), Error> {
        if self.finished || !self.accepts(frame.format()) {
            let message = "a picture of another format, or after the end".to_owned();
            return Err(Error::InvalidArgument { message });
        }
        Ok(self.graph.send(Some(frame.into_raw()))?)
    }

    /// Says that no picture follows: what is held back comes out.
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn finish(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        Ok(self.graph.send(None)?)
    }

    /// The next picture, or `None` if it needs more, or has given all after [`finish`](Self::finish). Where the clock is
    /// another than that of what goes in, it does not say how long it is shown: what filters make of that depends on the
    /// release of FFmpeg.
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn pull(&mut self) -> Result<Option<VideoFrame>, Error> {
        let Some(mut raw) = self.graph.receive()? else { return Ok(None) };
        if self.time_base != self.pushed {
            raw.forget_duration();
        }
        Ok(Some(VideoFrame::new(raw, &mut self.formats)))
    }
}

/// The filters that are needed, in their order, as libav writes them.
fn steps(from: &VideoFormat, to: &VideoTarget) -> Result<Vec<String>, Error> {
    let refuse = |message: String| Error::InvalidArgument { message };
    if to.width == 0 || to.height == 0 {
        return Err(refuse(format!("a picture of {} x {}", to.width, to.height)));
    }
    if !sys::is_pixel_format(&to.pixel_format) {
        return Err(refuse(format!("an unknown pixel format: {}", to.pixel_format)));
    }
    let mut steps = Vec::new();
    if to.deinterlace {
        let name = if sys::has_filter(c"bwdif") { "bwdif" } else { "yadif" };
        steps.push(format!("{name}=mode=send_frame:deint=interlaced"));
    }
    if let Some(rate) = to.frame_rate {
        steps.push(format!("fps={rate}"));
    }
    let full_range = from.color.range.as_deref() == Some("pc") || from.pixel_format.starts_with("yuvj");
    let tone_map = to.tone_map && is_high_dynamic_range(from);
    if tone_map {
        steps.extend(tone_mapping());
    }
    if to.mirrored {
        steps.push("hflip".to_owned());
    }
    match to.rotate_degrees {
        0 => {}
        90 => steps.push("transpose=clock".to_owned()),
        180 => steps.extend(["hflip".to_owned(), "vflip".to_owned()]),
        270 => steps.push("transpose=cclock".to_owned()),
        other => return Err(refuse(format!("a turn of {other} degrees"))),
    }
    let turned =
        if to.rotate_degrees % 180 == 90 { (from.height, from.width) } else { (from.width, from.height) };
    let (inner, outer) = (inner_size(from, to), (to.width, to.height));
    let is_format = to.pixel_format == if tone_map { "yuv420p" } else { from.pixel_format.as_str() };
    let full_range = full_range && !tone_map;
    if inner != turned || !is_format || full_range {
        let from_rgb = sys::is_rgb(&from.pixel_format) && !sys::is_rgb(&to.pixel_format) && !tone_map;
        let range = match (from_rgb, full_range) {
            (true, _) => ":out_color_matrix=bt709:out_range=limited",
            (false, true) => ":in_range=full:out_range=limited",
            (false, false) => "",
        };
        // Colours from all pixels, not from every other one: it looks better, and libswscale has faster routines for it.
        let chroma = if from_rgb && to.scaling != Scaling::Accurate { "+full_chroma_inp" } else { "" };
        steps.push(format!("scale={}:{}:flags={}{chroma}{range}", inner.0, inner.1, to.scaling.flags()));
    }
    if inner != outer {
        steps.push(format!("pad={}:{}:-1:-1:black", outer.0, outer.1));
    }
    let is_square = from.sample_aspect.is_none_or(|aspect| aspect.num == aspect.den);
    if !is_square || inner != turned {
        steps.push("setsar=1".to_owned());
    }
    if !is_format {
        steps.push(format!("format={}", to.pixel_format));
    }
    let filters = graph::unlabelled(&to.filters);
    if !filters.is_empty() {
        steps.push(filters);
        // None of these does anything to pictures that are still as they were.
        steps.push(format!(
            "scale={0}:{1}:flags=bicubic:force_original_aspect_ratio=decrease:force_divisible_by=2",
            outer.0, outer.1
        ));
        steps.push(format!("pad={}:{}:-1:-1:black", outer.0, outer.1));
        steps.push("setsar=1".to_owned());
        steps.push(format!("format={}", to.pixel_format));
    }
    Ok(steps)
}

fn is_high_dynamic_range(from: &VideoFormat) -> bool {
    matches!(from.color.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"))
}

/// Linear light, BT.709's primaries, a curve for what is brighter than they can show, BT.709.
fn tone_mapping() -> [String; 6] {
    [
        "zscale=transfer=linear:npl=100",
        "format=gbrpf32le",
        "zscale=primaries=bt709",
        "tonemap=hable:desat=0",
        "zscale=transfer=bt709:matrix=bt709:range=limited",
        // Here, so that it is zscale that applies BT.709's matrix.
        "format=yuv420p",
    ]
    .map(str::to_owned)
}

/// The part of the target the picture fills.
fn inner_size(from: &VideoFormat, to: &VideoTarget) -> (u32, u32) {
    let (width, height) = shown(from, to.rotate_degrees);
    let scale = (f64::from(to.width) / width).min(f64::from(to.height) / height);
    let fit = |size: f64, full: u32| {
        let is_near = (size * scale - f64::from(full)).abs() <= (f64::from(full) * 0.01).max(2.0);
        if is_near { full } else { (((size * scale / 2.0).round() as u32) * 2).clamp(2, full) }
    };
    (fit(width, to.width), fit(height, to.height))
}
