//! What a source is opened with where libav is not built: nothing is encoded.

use super::Source;
use super::open::Opening;
use super::renditions::Rung;
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::playout::Recipes;
use crate::publish::encoder::LiveEncoder;
use crate::tracks::Tracks;

impl Opening<'_> {
    /// No encoder.
    pub(super) fn encoder(&self, source: &Source, _: &str) -> Result<Option<LiveEncoder>, Error> {
        refuse_encoding(source).map(|()| None)
    }

    /// The driver as it is: nothing is mixed.
    pub(super) fn mixed(
        &self,
        source: &Source,
        driver: Box<dyn SourceDriver>,
    ) -> Result<Box<dyn SourceDriver>, Error> {
        refuse_encoding(source).map(|()| driver)
    }

    /// No renditions.
    pub(super) fn rendition(&self, _: &Source, _: &Rung) -> Result<Box<dyn SourceDriver>, Error> {
        Err(Error::NotBuilt { feature: "libav" })
    }

    /// Nothing is encoded.
    pub(super) fn joint(&self, _: &Source, _: (&str, bool)) -> Result<Option<Box<dyn SourceDriver>>, Error> {
        Ok(None)
    }

    /// The recipes of the files of a lane.
    pub(super) fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        refuse_encoding(source).map(|()| Recipes::copy(tracks, source.wish.carriage()))
    }
}

fn refuse_encoding(source: &Source) -> Result<(), Error> {
    if source.wish.is_copy() && source.mixer.is_none() {
        Ok(())
    } else {
        Err(Error::NotBuilt { feature: "libav" })
    }
}
