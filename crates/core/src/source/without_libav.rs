//! What a source is opened with where libav is not built: nothing is encoded.

use super::Source;
use super::open::Opening;
use crate::error::Error;
use crate::playout::Recipes;
use crate::publish::encoder::LiveEncoder;
use crate::tracks::Tracks;

impl Opening<'_> {
    /// No encoder.
    pub(super) fn encoder(&self, source: &Source, _: &str) -> Result<Option<LiveEncoder>, Error> {
        refuse_encoding(source).map(|()| None)
    }

    /// The recipes of the files of a lane.
    pub(super) fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        refuse_encoding(source).map(|()| Recipes::copy(tracks, source.wish.carriage()))
    }
}

fn refuse_encoding(source: &Source) -> Result<(), Error> {
    if source.wish.is_copy() { Ok(()) } else { Err(Error::NotBuilt { feature: "libav" }) }
}
