//! What stands for live inputs that are not RTMP where libav is not built: nobody can have one.

use super::link::Found;
use super::{Pull, Setting};
use crate::config::ConnectConfig;
use crate::driver::SourceContext;
use crate::error::Error;
use crate::net::location::Location;
use crate::sys;

/// One connection to a live input.
#[derive(Debug)]
pub(super) enum LiveLink {}

impl LiveLink {
    pub(super) fn start(_: Location, _: &Pull, _: &ConnectConfig, _: &Setting) -> Result<Self, Error> {
        Err(Error::NotBuilt { feature: "libav" })
    }

    pub(super) fn has_media(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_due(&self) -> bool {
        match *self {}
    }

    pub(super) fn bytes_held(&self) -> usize {
        match *self {}
    }

    pub(super) fn turn(&self, _: &mut SourceContext<'_>, _: &str) -> Result<Found, Error> {
        match *self {}
    }

    pub(super) fn end(self) -> Option<sys::Worker> {
        match self {}
    }
}
