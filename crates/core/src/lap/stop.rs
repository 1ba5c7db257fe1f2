//! Why a worker thread stops, and how that ends what it gives.
//!
//! In: that nobody wants it any more, and errors. Out: the end of the queue, as the stream sees it.

#[cfg(feature = "libav")]
use flowcast_av::Error as Media;

use crate::error::Error;

/// How the producer ended.
#[derive(Debug, Clone)]
pub(crate) enum Finish {
    /// The source is complete.
    Ended,
    /// The source failed.
    Failed(Error),
}

/// The stream is gone: the worker may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Why a worker stops before it has done all.
#[cfg(feature = "libav")]
#[derive(Debug)]
pub(crate) enum Stop {
    /// The stream is gone, or does not want it any more.
    Gone,
    Failed(Error),
}

#[cfg(feature = "libav")]
impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Gone
    }
}

#[cfg(feature = "libav")]
impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Media(Media::Cancelled { .. }) => Self::Gone,
            error => Self::Failed(error),
        }
    }
}

#[cfg(feature = "libav")]
impl From<Media> for Stop {
    fn from(error: Media) -> Self {
        Error::from(error).into()
    }
}

#[cfg(feature = "libav")]
impl From<Result<(), Stop>> for Finish {
    fn from(done: Result<(), Stop>) -> Self {
        match done {
            Ok(()) | Err(Stop::Gone) => Self::Ended,
            Err(Stop::Failed(error)) => Self::Failed(error),
        }
    }
}
