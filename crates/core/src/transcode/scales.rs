//! One picture in several sizes.
//!
//! In: a picture, and the sizes it is wanted in, from the largest to the smallest. Out: the picture in each of them. A size is made from
//! the next larger one that was made, where the two are of one shape: that is cheaper than from the original, and nobody sees the difference. Runs on
//! the thread that decodes.

use std::collections::HashMap;

use flowcast_av::{TrackInfo, VideoFrame};

use super::shaper::Shaper;
use crate::error::Error;

/// Width and height in pixels.
pub(crate) type Size = (u32, u32);

/// Scales pictures of one track.
#[derive(Debug)]
pub(crate) struct Scales {
    track: TrackInfo,
    shapers: HashMap<Size, Shaper>,
}

impl Scales {
    /// For pictures that are upright and whole, with the times of `track`.
    pub(crate) fn new(track: &TrackInfo) -> Self {
        Self { track: track.clone(), shapers: HashMap::new() }
    }

    /// The picture in each of these sizes, the largest first; each on its own, or why not.
    pub(crate) fn scale(&mut self, picture: &VideoFrame, sizes: &[Size]) -> Vec<Result<VideoFrame, Error>> {
        let mut made: Vec<Result<VideoFrame, Error>> = Vec::with_capacity(sizes.len());
        for size in sizes {
            let original = (picture.format().width, picture.format().height);
            let larger = made.iter().rev().flatten().find(|made| {
                let of = (made.format().width, made.format().height);
                of.0 >= size.0 && of.1 >= size.1 && is_of_shape(of, original) && is_of_shape(*size, original)
            });
            let scaled = self.scale_one(larger.unwrap_or(picture), *size);
            made.push(scaled);
        }
        made
    }

    fn scale_one(&mut self, picture: &VideoFrame, size: Size) -> Result<VideoFrame, Error> {
        if (picture.format().width, picture.format().height) == size {
            return Ok(picture.share()?);
        }
        let pixels = &picture.format().pixel_format;
        let shaper = self.shapers.entry(size).or_insert_with(|| Shaper::to_size(&self.track, size, pixels));
        shaper.push(picture.share()?);
        shaper.pull()?.ok_or_else(|| Error::Config {
            name: "renditions",
            reason: format!(
                "a picture of {}x{} cannot be scaled",
                picture.format().width,
                picture.format().height
            ),
        })
    }
}

/// Whether pictures of both sizes have one shape, as nearly as whole pixels allow: there are no bars.
fn is_of_shape(one: Size, other: Size) -> bool {
    let (width, height) = (u64::from(one.0), u64::from(one.1));
    let across = (width * u64::from(other.1)).abs_diff(height * u64::from(other.0));
    // Two pixels of either side.
    across <= 2 * u64::from(other.0.max(other.1))
}

#[cfg(test)]
mod tests {
    use flowcast_av::{
        DecoderOptions, Demuxer, Interrupt, OpenOptions, SampleSpec, VideoDecoder, sample_clip,
    };

    use super::*;
    use crate::transcode::as_shown;

    /// How much two pictures of one size differ in their light, as a ratio in decibels.
    fn likeness(one: &VideoFrame, other: &VideoFrame) -> f64 {
        let light = |frame: &VideoFrame| {
            let pixels = frame.format().width as usize * frame.format().height as usize;
            let mut bytes = frame.to_bytes().expect("it has bytes");
            bytes.truncate(pixels);
            bytes
        };
        let (one, other) = (light(one), light(other));
        let differences = one.iter().zip(&other).map(|(one, other)| f64::from(one.abs_diff(*other)).powi(2));
        10.0 * (255.0_f64.powi(2) * one.len() as f64 / differences.sum::<f64>().max(1.0)).log10()
    }

    #[test]
    fn a_size_made_from_the_next_larger_one_looks_as_if_it_was_made_from_the_source() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("clip.mp4");
        let spec = SampleSpec {
            width: 1280,
            height: 720,
            seconds: 0.2,
            bitrate: 4_000_000,
            ..SampleSpec::default()
        };
        sample_clip(&path, &spec).expect("libav has the encoders");
        let mut file = Demuxer::open(&path, &OpenOptions::default(), &Interrupt::new()).expect("it is ours");
        let track = file.media().video().expect("it has pictures").clone();
        let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default()).expect("there is one");
        let mut pictures = Vec::new();
        while let Some(packet) = file.read().expect("it can be read") {
            if packet.track == track.index {
                decoder.push(&packet).expect("it is sound");
                pictures.extend(std::iter::from_fn(|| decoder.pull().expect("it is sound")));
            }
        }
        decoder.finish().expect("it is sound");
        pictures.extend(std::iter::from_fn(|| decoder.pull().expect("it is sound")));
        let picture = pictures.pop().expect("there are some");
        let mut scales = Scales::new(&as_shown(&track));
        let made = scales.scale(&picture, &[(1280, 720), (854, 480), (640, 360), (360, 360)]);
        let made: Vec<_> = made.into_iter().map(|made| made.expect("it can be scaled")).collect();
        let sizes = made.iter().map(|made| (made.format().width, made.format().height));
        assert_eq!(sizes.collect::<Vec<_>>(), [(1280, 720), (854, 480), (640, 360), (360, 360)]);
        for made in &made[1..] {
            let size = (made.format().width, made.format().height);
            let direct = Scales::new(&as_shown(&track)).scale(&picture, &[size]).remove(0);
            let like = likeness(made, &direct.expect("it can be scaled"));
            assert!(like > 34.0, "{size:?}: {like:.1} dB");
            assert_eq!(made.pts(), picture.pts());
        }
    }

    #[test]
    fn shapes_are_told_apart_but_for_rounding() {
        for (one, other, alike) in [
            ((1920, 1080), (1280, 720), true),
            ((854, 480), (1920, 1080), true),
            ((426, 240), (1920, 1080), true),
            ((640, 480), (1920, 1080), false),
            ((720, 1280), (1080, 1920), true),
            ((1080, 1080), (1920, 1080), false),
        ] {
            assert_eq!(is_of_shape(one, other), alike, "{one:?} {other:?}");
        }
    }
}
