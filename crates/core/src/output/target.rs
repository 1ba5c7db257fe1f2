//! Where an output of RTMP goes, and what a recording is: outputs before they are opened.
//!
//! In: what a program or a file says. Out: the same, kept until the output is opened, and what is wrong with it. On the thread that makes the output.

use std::path::PathBuf;
use std::time::Duration;

use flowcast_rtmp::url::{Destination, UrlError};

use super::file::{Existing, FileFormat, Segments, problem_of};
use super::gate::Enhanced;
use super::rotation::Rotation;
use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::net::tls::TlsRoots;

/// A file a stream is recorded to, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recording {
    pub(super) path: PathBuf,
    /// `None`: as the name says.
    pub(super) format: Option<FileFormat>,
    pub(super) existing: Existing,
    pub(super) all_tracks: bool,
    pub(super) segments: Option<Segments>,
    pub(super) max_duration: Option<Duration>,
}

impl Recording {
    pub(super) fn format(&self) -> FileFormat {
        self.format.unwrap_or_else(|| FileFormat::of(&self.path))
    }

    pub(super) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut wrong = |name, reason| found.push(Error::Config { name, reason });
        if self.max_duration == Some(Duration::ZERO) {
            wrong("max_duration", "is zero".to_owned());
        }
        if let Some(segments) = &self.segments {
            if self.existing != Existing::Number {
                wrong(
                    "existing",
                    "has no effect on segments, which never take a name that is there".to_owned(),
                );
            }
            if let Some(reason) = problem_of(&self.path, segments) {
                wrong("record", reason);
            }
            found.extend(segments.problems());
        }
        found
    }
}

/// A server a stream is pushed to, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) destination: Destination,
    pub(super) roots: TlsRoots,
    pub(super) reconnect: Option<ReconnectPolicy>,
    pub(super) enhanced: Enhanced,
    pub(super) all_tracks: bool,
    pub(super) rotation: Option<Rotation>,
    /// Where the same is sent besides.
    pub(super) backup: Option<Result<Destination, UrlError>>,
}
