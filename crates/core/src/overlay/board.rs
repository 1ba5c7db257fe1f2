//! The overlays of a stream that a program can change.
//!
//! In: changes, on any thread. Out: the newest of them, to the threads that encode. A change takes a lock for a moment and waits for nobody; it shows
//! with the next picture that is encoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{check_pixels, check_text};
use crate::error::Error;

/// What an overlay is made of: its changes have to be of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Text,
}

/// Pixels of red, green, blue and alpha.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is drawn"))]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Bytes,
}

/// What differs from the description.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is drawn"))]
pub(crate) struct Changes {
    pub(crate) text: Option<String>,
    pub(crate) image: Option<Pixels>,
    pub(crate) hidden: Option<bool>,
}

/// One overlay that can be changed.
#[derive(Debug)]
pub(crate) struct Control {
    kind: Kind,
    changes: Mutex<Changes>,
    /// Grows with each change.
    version: AtomicU64,
}

#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is drawn"))]
impl Control {
    fn new(kind: Kind) -> Self {
        Self { kind, changes: Mutex::default(), version: AtomicU64::new(0) }
    }

    /// How often it was changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What differs from the description now.
    pub(crate) fn changes(&self) -> Changes {
        self.changes.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.lock();
        change(&mut changes);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// The overlays of one stream that have names.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Vec<(String, Arc<Control>)>>);

impl Board {
    /// The control of an overlay of this name. A source that is opened again, or takes over, goes on with what the program has changed.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is drawn"))]
    pub(crate) fn control(&self, name: &str, kind: Kind) -> Arc<Control> {
        let mut controls = self.0.lock();
        if let Some((_, control)) =
            controls.iter().find(|(known, control)| known == name && control.kind == kind)
        {
            return control.clone();
        }
        let control = Arc::new(Control::new(kind));
        controls.retain(|(known, _)| known != name);
        controls.push((name.to_owned(), control.clone()));
        control
    }

    /// A handle to the overlay of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: there is none.
    pub(crate) fn handle(&self, name: &str) -> Result<OverlayHandle, Error> {
        let controls = self.0.lock();
        let found = controls.iter().find(|(known, _)| known == name).map(|(_, control)| control.clone());
        found.map(OverlayHandle).ok_or_else(|| Error::Config {
            name: "overlay",
            reason: format!("the stream has no overlay of the name {name:?}"),
        })
    }
}

/// Changes an [`Overlay`](super::Overlay) on the air; see [`StreamRef::overlay`](crate::StreamRef::overlay). Cheap to clone, for any thread. What is
/// changed shows with the next picture that is encoded: at once for what comes live, after what is read ahead
/// ([`Config::read_ahead`](crate::Config::read_ahead), 5 s by default) for files. After the end of the stream, changes do nothing.
#[derive(Debug, Clone)]
pub struct OverlayHandle(Arc<Control>);

impl OverlayHandle {
    /// Draws another text, at most 1000 characters; an empty one shows nothing. A clock shows the text from here on.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an overlay that is an image, and for a text that is too long or holds control characters.
    pub fn set_text(&self, text: impl Into<String>) -> Result<(), Error> {
        let text = text.into();
        let refuse = |reason: String| Error::Config { name: "overlay.text", reason };
        if self.0.kind != Kind::Text {
            return Err(refuse("the overlay is an image".to_owned()));
        }
        check_text(&text).map_err(refuse)?;
        self.0.change(|changes| changes.text = Some(text));
        Ok(())
    }

    /// Draws another image, by the bytes of a PNG, JPEG, WebP or BMP file.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an overlay that is text; [`Error::Media`] for bytes that are no such file. What is drawn stays as it is.
    ///
    /// # Blocking
    ///
    /// As long as decoding the image takes.
    #[cfg(feature = "libav")]
    pub fn set_image(&self, file: impl Into<Bytes>) -> Result<(), Error> {
        let image = flowcast_av::Rgba::decode(file)?;
        self.set_pixels(image.width(), image.height(), Bytes::copy_from_slice(image.pixels()))
    }

    /// Draws other pixels, as [`Overlay::pixels`](super::Overlay::pixels) has them.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an overlay that is text, and for another number of bytes than the size needs.
    pub fn set_pixels(&self, width: u32, height: u32, pixels: impl Into<Bytes>) -> Result<(), Error> {
        let pixels = pixels.into();
        let refuse = |reason: String| Error::Config { name: "overlay.image", reason };
        if self.0.kind != Kind::Image {
            return Err(refuse("the overlay is text".to_owned()));
        }
        check_pixels(width, height, pixels.len()).map_err(refuse)?;
        self.0.change(|changes| changes.image = Some(Pixels { width, height, pixels }));
        Ok(())
    }

    /// Takes it off the pictures.
    pub fn hide(&self) {
        self.0.change(|changes| changes.hidden = Some(true));
    }

    /// Shows it again.
    pub fn show(&self) {
        self.0.change(|changes| changes.hidden = Some(false));
    }

    /// Undoes all changes.
    pub fn reset(&self) {
        self.0.change(|changes| *changes = Changes::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_outlive_the_source_and_have_to_be_of_the_kind() {
        let board = Board::default();
        assert!(board.handle("line").is_err());
        let control = board.control("line", Kind::Text);
        let line = board.handle("line").expect("it is there");
        line.set_text("news").expect("it is text");
        line.hide();
        assert!(line.set_pixels(1, 1, vec![0; 4]).is_err() && line.set_text("a\u{7}").is_err());
        let again = board.control("line", Kind::Text);
        assert_eq!(again.version(), 2);
        assert_eq!((again.changes().text.as_deref(), again.changes().hidden), (Some("news"), Some(true)));
        assert!(Arc::ptr_eq(&again, &control));
        let image = board.control("line", Kind::Image);
        assert_eq!(image.version(), 0);
        let line = board.handle("line").expect("it is there");
        assert!(line.set_text("x").is_err() && line.set_pixels(1, 1, vec![0; 4]).is_ok());
        line.reset();
        assert!(image.changes().image.is_none());
    }
}
