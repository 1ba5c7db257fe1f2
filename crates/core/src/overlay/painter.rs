//! Draws overlays over the pictures of one encoder.
//!
//! In: pictures of one size. Out: the same, with what is to be seen in them. Each overlay is made ready for the pictures once, and again after a change.
//! Runs on the thread that encodes.

use std::time::{Duration, SystemTime};

use flowcast_av::{ColorInfo, Error, Rgba, Stamp, VideoFrame};

use super::board::{Changes, Control};
use super::loaded::{Loaded, Overlays};
use super::{Anchor, Content, OverlayWidth, text};

/// Draws overlays.
#[derive(Debug)]
pub(crate) struct Painter {
    overlays: Overlays,
    color: ColorInfo,
    layers: Vec<Layer>,
    /// The size of the pictures the layers are for.
    size: (u32, u32),
}

/// What is drawn of one overlay now.
#[derive(Debug, Default)]
struct Layer {
    drawn: Option<Drawn>,
    stamp: Option<(Stamp, i32, i32)>,
}

/// What it was made of.
#[derive(Debug, PartialEq, Eq)]
struct Drawn {
    version: u64,
    /// Of a clock.
    time: Option<String>,
}

impl Painter {
    /// For pictures of these colours.
    pub(crate) fn new(overlays: &Overlays, color: &ColorInfo) -> Self {
        let layers = overlays.iter().map(|_| Layer::default()).collect();
        Self { overlays: overlays.clone(), color: color.clone(), layers, size: (0, 0) }
    }

    /// Draws them over a picture, which is on the air after `ahead`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a pixel format that nothing can be drawn into.
    pub(crate) fn paint(&mut self, frame: &mut VideoFrame, ahead: Duration) -> Result<(), Error> {
        let size = (frame.format().width, frame.format().height);
        if std::mem::replace(&mut self.size, size) != size {
            self.layers.iter_mut().for_each(|layer| layer.drawn = None);
        }
        for (loaded, layer) in self.overlays.iter().zip(&mut self.layers) {
            let version = loaded.control.as_deref().map_or(0, Control::version);
            let time = match &loaded.overlay.content {
                Content::Clock { clock, .. } => clock.text(SystemTime::now() + ahead).ok(),
                _ => None,
            };
            let wanted = Drawn { version, time };
            if layer.drawn.as_ref() != Some(&wanted) {
                let changes = loaded.control.as_deref().map(Control::changes).unwrap_or_default();
                layer.stamp = stamp(loaded, &changes, wanted.time.as_deref(), size, &self.color);
                layer.drawn = Some(wanted);
            }
            if let Some((stamp, x, y)) = &layer.stamp {
                stamp.blend(frame, *x, *y)?;
            }
        }
        Ok(())
    }
}

/// What is drawn of an overlay, and where; `None` if there is nothing to see.
fn stamp(
    loaded: &Loaded,
    changes: &Changes,
    time: Option<&str>,
    size: (u32, u32),
    color: &ColorInfo,
) -> Option<(Stamp, i32, i32)> {
    let overlay = &loaded.overlay;
    if changes.hidden.unwrap_or(overlay.hidden) {
        return None;
    }
    let picture = match &overlay.content {
        Content::File(_) | Content::Pixels { .. } => {
            let changed = changes
                .image
                .as_ref()
                .map(|image| Rgba::new(image.width, image.height, image.pixels.clone()));
            let image = changed.and_then(Result::ok).or_else(|| loaded.image.clone())?;
            fitted(&image, overlay.width, size)?
        }
        Content::Text { line, style } => {
            let text = changes.text.as_deref().unwrap_or(line);
            text::picture(text, loaded.font.as_ref()?, style)?
        }
        Content::Clock { style, .. } => {
            let text = changes.text.as_deref().or(time)?;
            text::picture(text, loaded.font.as_ref()?, style)?
        }
    };
    let opacity = (u32::from(overlay.opacity) * 255 + 50) / 100;
    let stamp = Stamp::new(&picture, color, size.1, u8::try_from(opacity).unwrap_or(u8::MAX));
    let (x, y) = place(overlay.at, overlay.offset, (picture.width(), picture.height()), size);
    Some((stamp, x, y))
}

/// An image as wide as it is asked for, and not larger than the picture.
fn fitted(image: &Rgba, width: Option<OverlayWidth>, size: (u32, u32)) -> Option<Rgba> {
    let (own, high) = (f64::from(image.width()), f64::from(image.height()));
    let wanted = match width {
        None => own,
        Some(OverlayWidth::Pixels(pixels)) => f64::from(pixels),
        Some(OverlayWidth::Percent(percent)) => f64::from(size.0) * f64::from(percent) / 100.0,
    };
    let scale = (wanted / own).min(f64::from(size.0) / own).min(f64::from(size.1) / high);
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    match image.scaled(side(own), side(high)) {
        Ok(fitted) => Some(fitted),
        Err(error) => {
            log::warn!("an overlay cannot be scaled: {error}");
            None
        }
    }
}

/// Where the upper left corner is.
fn place(at: Anchor, offset: (u32, u32), own: (u32, u32), size: (u32, u32)) -> (i32, i32) {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let (x, y) = (number(offset.0), number(offset.1));
    let (right, low) = (number(size.0) - number(own.0), number(size.1) - number(own.1));
    let across = match at {
        Anchor::TopLeft | Anchor::Left | Anchor::BottomLeft => x,
        Anchor::Top | Anchor::Center | Anchor::Bottom => right / 2 + x,
        Anchor::TopRight | Anchor::Right | Anchor::BottomRight => right - x,
    };
    let down = match at {
        Anchor::TopLeft | Anchor::Top | Anchor::TopRight => y,
        Anchor::Left | Anchor::Center | Anchor::Right => low / 2 + y,
        Anchor::BottomLeft | Anchor::Bottom | Anchor::BottomRight => low - y,
    };
    (across, down)
}
