//! What class an error is of: its code, its status in an answer, and whether trying again makes sense.

use std::io;

use rustls::CertificateError;

use super::Error;

impl Error {
    /// The stable code of this error, for logs, metrics and HTTP answers.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::StreamLimitExceeded { .. } => "STREAM_LIMIT_EXCEEDED",
            Self::CapacityExceeded { .. } => "CAPACITY_EXCEEDED",
            Self::Config { .. } => "CONFIG_INVALID",
            Self::Spec { .. } => "SPEC_INVALID",
            #[cfg(feature = "libav")]
            Self::Media(error) => error.code(),
            Self::NoPlayableTrack { .. } => "NO_PLAYABLE_TRACK",
            Self::SourceDried { .. } => "SOURCE_DRIED",
            Self::SourceDamaged { .. } => "SOURCE_DAMAGED",
            #[cfg(not(feature = "libav"))]
            Self::SourceUnreadable { .. } => "SOURCE_UNREADABLE",
            Self::ReelStore { .. } => "REEL_STORE_FAILED",
            Self::ReelStoreInUse { .. } => "REEL_STORE_IN_USE",
            Self::ReelStoreFull { .. } => "REEL_STORE_FULL",
            Self::ReelDamaged { .. } => "REEL_DAMAGED",
            Self::ReelTooSlow { .. } => "REEL_TOO_SLOW",
            Self::EncoderFailed { .. } => "ENCODER_FAILED",
            Self::NotEncoded { .. } => "NOT_ENCODED",
            Self::InputUnusable { .. } => "INPUT_UNUSABLE",
            Self::OutputUnwritable { .. } => "OUTPUT_UNWRITABLE",
            Self::DiskFull { .. } => "DISK_FULL",
            Self::ResultRefused { .. } => "RESULT_REFUSED",
            Self::Cancelled { .. } => "CANCELLED",
            Self::FragmentUnreadable { .. } => "FRAGMENT_UNREADABLE",
            Self::FragmentUnusable { .. } => "FRAGMENT_UNUSABLE",
            Self::Playlist { .. } => "PLAYLIST_INVALID",
            Self::ParametersDiffer { .. } => "PARAMETERS_DIFFER",
            Self::NotBuilt { .. } => "NOT_BUILT",
            Self::Url(_) | Self::Address { .. } => "URL_INVALID",
            Self::Dns { .. } => "DNS_FAILED",
            Self::AddressRefused { .. } => "ADDRESS_REFUSED",
            Self::Connect { .. } => "CONNECT_FAILED",
            Self::ConnectTimeout { .. } => "CONNECT_TIMEOUT",
            Self::Tls { .. } => "TLS_FAILED",
            Self::Certificates { .. } => "CERTIFICATES_UNREADABLE",
            Self::Rtmp { source, .. } => source.code(),
            Self::ConnectionLost { .. } => "CONNECTION_LOST",
            Self::HttpStatus { .. } => "HTTP_STATUS",
            Self::TooSlow { .. } => "TOO_SLOW",
            Self::TooFast { .. } => "TOO_FAST",
            Self::CodecNotTaken { .. } => "CODEC_NOT_TAKEN",
            Self::Stalled { .. } => "STALLED",
            Self::GaveUp { .. } => "GAVE_UP",
            Self::Recording { .. } => "RECORDING_FAILED",
            Self::Hls { .. } => "HLS_FAILED",
            Self::CodecNotRecorded { .. } => "CODEC_NOT_RECORDED",
            Self::FileInUse { .. } => "FILE_IN_USE",
            Self::NameInUse { .. } => "NAME_IN_USE",
            Self::Fenced => "FENCED",
            Self::SourceStalled { .. } => "SOURCE_STALLED",
            Self::SourceNotReady { .. } => "SOURCE_NOT_READY",
            Self::NoPicture { .. } => "NO_PICTURE",
            Self::NothingKept { .. } => "NOTHING_KEPT",
            Self::NotInTime { .. } => "NOT_IN_TIME",
            Self::LabelInUse { .. } => "LABEL_IN_USE",
            Self::Key { .. } => "KEY_INVALID",
            Self::KeyInUse { .. } => "KEY_IN_USE",
            Self::NoKey { .. } => "KEY_UNKNOWN",
            Self::FeedsItself { .. } => "FEEDS_ITSELF",
            #[cfg(feature = "state")]
            Self::StateFailed { .. } => "STATE_FAILED",
            #[cfg(feature = "state")]
            Self::StateDamaged { .. } => "STATE_DAMAGED",
            #[cfg(feature = "state")]
            Self::StateInUse { .. } => "STATE_IN_USE",
            #[cfg(feature = "state")]
            Self::UsageFileFailed { .. } => "USAGE_FILE_FAILED",
            #[cfg(feature = "state")]
            Self::UsageFileInUse { .. } => "USAGE_FILE_IN_USE",
            Self::Frame { .. } => "FRAME_REFUSED",
            Self::Ended => "STREAM_ENDED",
            Self::ForceKillRequired { .. } => "FORCE_KILL_REQUIRED",
            Self::CleanupFailed { .. } => "CLEANUP_FAILED",
            Self::TooManyAbandoned { .. } => "ABANDONED_LIMIT_EXCEEDED",
            Self::Panicked { .. } => "STREAM_PANICKED",
            Self::Benchmark { .. } => "BENCHMARK_FAILED",
            Self::Driver { .. } => "DRIVER_FAILED",
            Self::System { .. } => "SYSTEM_RESOURCE",
        }
    }

    /// The HTTP status an answer with this error has: 429 where a limit is reached, 400 for what the caller wrote, 403, 404 and
    /// 409 for keys, names and files, 502 and 504 for the other end of a connection, 503 where the machine is short of something,
    /// 507 for a full disk, else 422 for media that cannot be played and files that cannot be made where they were asked for, and 500 for the rest.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::StreamLimitExceeded { .. } => 429,
            Self::Config { .. }
            | Self::Spec { .. }
            | Self::Frame { .. }
            | Self::Playlist { .. }
            | Self::Url(_)
            | Self::Address { .. }
            | Self::Certificates { .. } => 400,
            Self::Key { .. } | Self::AddressRefused { .. } => 403,
            Self::NoKey { .. } => 404,
            Self::ReelStoreInUse { .. }
            | Self::FileInUse { .. }
            | Self::NameInUse { .. }
            | Self::LabelInUse { .. }
            | Self::KeyInUse { .. }
            | Self::FeedsItself { .. }
            | Self::Cancelled { .. }
            | Self::NotEncoded { .. }
            | Self::Fenced
            | Self::Ended => 409,
            #[cfg(feature = "libav")]
            Self::Media(flowcast_av::Error::NotFound { .. }) => 404,
            #[cfg(feature = "libav")]
            Self::Media(flowcast_av::Error::ProtocolNotBuilt { .. }) => 501,
            #[cfg(feature = "libav")]
            Self::Media(_) => 422,
            #[cfg(not(feature = "libav"))]
            Self::SourceUnreadable { .. } => 422,
            Self::NoPlayableTrack { .. }
            | Self::SourceDried { .. }
            | Self::SourceDamaged { .. }
            | Self::InputUnusable { .. }
            | Self::FragmentUnreadable { .. }
            | Self::FragmentUnusable { .. }
            | Self::ResultRefused { .. }
            | Self::CodecNotRecorded { .. }
            | Self::NoPicture { .. }
            | Self::ParametersDiffer { .. } => 422,
            #[cfg(feature = "state")]
            Self::StateInUse { .. } | Self::UsageFileInUse { .. } => 409,
            #[cfg(feature = "state")]
            Self::StateFailed { .. } | Self::StateDamaged { .. } | Self::UsageFileFailed { .. } => 500,
            Self::NotBuilt { .. } => 501,
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Rtmp { .. }
            | Self::ConnectionLost { .. }
            | Self::HttpStatus { .. }
            | Self::CodecNotTaken { .. }
            | Self::GaveUp { .. } => 502,
            Self::ReelStoreFull { .. } | Self::DiskFull { .. } => 507,
            Self::OutputUnwritable { source, .. }
            | Self::Recording { source, .. }
            | Self::Hls { source, .. } => unwritable(source),
            Self::System { .. }
            | Self::TooManyAbandoned { .. }
            | Self::CapacityExceeded { .. }
            | Self::ReelTooSlow { .. }
            | Self::NothingKept { .. }
            | Self::TooSlow { .. }
            | Self::TooFast { .. } => 503,
            Self::ConnectTimeout { .. }
            | Self::Stalled { .. }
            | Self::NotInTime { .. }
            | Self::SourceNotReady { .. }
            | Self::SourceStalled { .. } => 504,
            Self::ReelStore { .. }
            | Self::ReelDamaged { .. }
            | Self::EncoderFailed { .. }
            | Self::ForceKillRequired { .. }
            | Self::CleanupFailed { .. }
            | Self::Panicked { .. }
            | Self::Benchmark { .. }
            | Self::Driver { .. } => 500,
        }
    }

    /// Whether the same call can succeed later. A rejected key, a wrong certificate or a malformed URL cannot.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::ConnectionLost { .. }
            | Self::TooSlow { .. }
            | Self::Stalled { .. }
            | Self::NotInTime { .. }
            | Self::NothingKept { .. }
            | Self::StreamLimitExceeded { .. }
            | Self::CapacityExceeded { .. }
            | Self::ReelStore { .. }
            | Self::ReelStoreFull { .. }
            | Self::DiskFull { .. }
            | Self::FileInUse { .. }
            | Self::System { .. } => true,
            // Certificates are renewed, and clocks are set, while the stream waits; a wrong name or issuer stays
            // wrong.
            Self::Tls { source: rustls::Error::InvalidCertificate(reason), .. } => matches!(
                reason,
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }
            ),
            Self::Tls { .. } => true,
            Self::Rtmp { source, .. } => source.is_retryable(),
            // Not there yet, too many of us, too busy; all else below 500 stays as it is.
            Self::HttpStatus { status, .. } => matches!(status, 404 | 408 | 425 | 429 | 453 | 454 | 500..),
            #[cfg(feature = "libav")]
            Self::Media(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// The status of a file that could not be made or written: 409 if something else is there, 422 if it cannot be there at all, 507 for a full disk.
fn unwritable(error: &io::Error) -> u16 {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::AlreadyExists | Kind::ResourceBusy | Kind::InvalidData => 409,
        Kind::NotFound
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::PermissionDenied
        | Kind::ReadOnlyFilesystem
        | Kind::InvalidFilename
        | Kind::InvalidInput => 422,
        Kind::StorageFull | Kind::QuotaExceeded => 507,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_made_where_it_was_asked_for_is_no_fault_of_the_server() {
        let status = |made: io::Result<std::fs::File>| {
            let source = Arc::new(made.expect_err("it cannot be made"));
            Error::Recording { path: "clip.flv".into(), source }.http_status()
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("it can be written");
        let create = |path: &std::path::Path| std::fs::File::create(path);
        assert_eq!(status(create("".as_ref())), 422);
        assert_eq!(status(create(&directory.path().join("none/clip.flv"))), 422);
        assert_eq!(status(create(&file.join("clip.flv"))), 422);
        assert_eq!(status(create(directory.path())), 422);
        assert_eq!(status(create("a\0b".as_ref())), 422);
        assert_eq!(status(create(&directory.path().join("x".repeat(300)))), 422);
        assert_eq!(status(std::fs::File::create_new(&file)), 409);
        assert_eq!(status(Err(io::Error::from_raw_os_error(28))), 507, "ENOSPC");
        assert_eq!(status(Err(io::Error::from_raw_os_error(5))), 500, "EIO");
    }
}
