//! Overlays that were made ready: their files are read, and what can be changed has its control.
//!
//! In: descriptions, on the thread that starts a stream. Out: what is drawn, as a part of what is encoded. What does not change has a digest of all that
//! decides its pixels, by which reels are found again.

use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ab_glyph::FontArc;
use bytes::Bytes;
use flowcast_av::Rgba;
use ring::digest;

use super::board::{Board, Control};
use super::{Content, FontSource, Overlay, TextStyle};
use crate::error::Error;

/// The largest file of an image or a font, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Overlays in the order they are drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlays(Arc<[Loaded]>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(super) overlay: Overlay,
    /// Of an image.
    pub(super) image: Option<Rgba>,
    /// Of text.
    pub(super) font: Option<FontArc>,
    /// Of one that can be changed.
    pub(super) control: Option<Arc<Control>>,
    /// A digest of all that decides how it looks, as long as nobody changes it.
    digest: String,
}

impl Overlays {
    /// Makes overlays ready.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: a file cannot be read, or is no image or font.
    ///
    /// # Blocking
    ///
    /// On the files.
    pub(crate) fn load(overlays: &[Overlay], board: &Board) -> Result<Self, Error> {
        overlays.iter().map(|overlay| Loaded::of(overlay, board)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Loaded> {
        self.0.iter()
    }
}

impl Loaded {
    fn of(overlay: &Overlay, board: &Board) -> Result<Self, Error> {
        let image = match &overlay.content {
            Content::File(path) => {
                let bytes = read(path)?;
                let image = Rgba::decode(bytes).map_err(|error| unusable(path, &Error::Media(error)))?;
                Some(image)
            }
            Content::Pixels { width, height, pixels } => Some(Rgba::new(*width, *height, pixels.clone())?),
            Content::Text { .. } | Content::Clock { .. } => None,
        };
        let (font, font_bytes) = match overlay.style().map(|TextStyle { font, .. }| &font.0) {
            None => (None, Bytes::new()),
            Some(FontSource::Bytes(bytes)) => (Some(font_of(bytes, Path::new(""))?), bytes.clone()),
            Some(FontSource::File(path)) => {
                let bytes = read(path)?;
                (Some(font_of(&bytes, path)?), bytes)
            }
        };
        let control = overlay.name.as_deref().map(|name| board.control(name, overlay.kind()));
        let digest = digest_of(overlay, image.as_ref(), &font_bytes);
        Ok(Self { overlay: overlay.clone(), image, font, control, digest })
    }
}

/// All bytes of a file.
fn read(path: &Path) -> Result<Bytes, Error> {
    let failed = |reason: String| refuse(format!("{}: {reason}", path.display()));
    // Opening a FIFO waits for its writer.
    let facts = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !facts.is_file() {
        return Err(failed("it is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(failed(format!("it is larger than {} MiB", MOST_BYTES >> 20)));
    }
    Ok(bytes.into())
}

fn font_of(bytes: &Bytes, path: &Path) -> Result<FontArc, Error> {
    FontArc::try_from_vec(bytes.to_vec())
        .map_err(|_| refuse(format!("{}: it is no TrueType or OpenType font", path.display())))
}

fn unusable(path: &Path, error: &Error) -> Error {
    refuse(format!("{}: {}", path.display(), crate::error::chain(error)))
}

fn refuse(reason: String) -> Error {
    Error::Config { name: "encoding.overlays", reason }
}

fn digest_of(overlay: &Overlay, image: Option<&Rgba>, font: &Bytes) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    let Overlay { content, name, at, offset, width, opacity, hidden } = overlay;
    // How the code draws it is a part of it: the number changes with that.
    let mut text = format!("1 {at} {offset:?} {width:?} {opacity} {hidden} {name:?}");
    match content {
        Content::File(_) | Content::Pixels { .. } => {}
        Content::Text { line, style } => {
            text += &format!(" {line:?} {} {} {:?}", style.size, style.color, style.background);
        }
        Content::Clock { clock, style } => {
            text += &format!(" {clock:?} {} {} {:?}", style.size, style.color, style.background);
        }
    }
    hash.update(&(text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
    if let Some(image) = image {
        hash.update(&image.width().to_le_bytes());
        hash.update(image.pixels());
    }
    hash.update(font);
    hash.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The text that goes into a reel's key.
impl fmt::Display for Overlays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|loaded| write!(f, " overlay {}", loaded.digest))
    }
}

impl PartialEq for Overlays {
    fn eq(&self, other: &Self) -> bool {
        let digests = |of: &Self| of.0.iter().map(|loaded| loaded.digest.clone()).collect::<Vec<_>>();
        Arc::ptr_eq(&self.0, &other.0) || digests(self) == digests(other)
    }
}

impl Eq for Overlays {}

impl Hash for Overlays {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|loaded| loaded.digest.hash(state));
    }
}
