//! Makes pictures smaller that are ready to be encoded.
//!
//! In: pictures of the size that was planned, with all that is drawn over them. Out: the same in the size of the encoder. Where there is nothing to do there is
//! no filter, and the picture is another reference to the same pixels.

use flowcast_av::{Error, TimeBase, VideoFilter, VideoFormat, VideoFrame, VideoTarget};

/// One filter, for as long as pictures and size stay alike.
#[derive(Debug)]
pub(super) struct Shrinker {
    base: TimeBase,
    filter: Option<(VideoFormat, (u32, u32), VideoFilter)>,
}

impl Shrinker {
    /// For pictures whose times are in ticks of `base`.
    pub(super) fn new(base: TimeBase) -> Self {
        Self { base, filter: None }
    }

    /// The picture in this size.
    pub(super) fn shrink(&mut self, frame: &VideoFrame, size: (u32, u32)) -> Result<VideoFrame, Error> {
        let format = frame.format();
        if (format.width, format.height) == size {
            self.filter = None;
            return frame.share();
        }
        if self.filter.as_ref().is_none_or(|(of, to, _)| of != format || *to != size) {
            let mut target = VideoTarget::new(size.0, size.1);
            target.pixel_format.clone_from(&format.pixel_format);
            self.filter =
                VideoFilter::new(format, self.base, &target)?.map(|filter| (format.clone(), size, filter));
        }
        let Some((_, _, filter)) = &mut self.filter else { return frame.share() };
        filter.push(frame.share()?)?;
        match filter.pull()? {
            Some(shrunk) => Ok(shrunk),
            // It gives one for one; one that does not is not to be waited for.
            None => {
                let message = "a picture was not scaled".to_owned();
                Err(Error::InvalidArgument { message })
            }
        }
    }
}
