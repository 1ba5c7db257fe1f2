//! What class an error is of: its code, its status in an answer, and whether trying again makes sense.

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
    /// 507 for a full disk, else 422 for media that cannot be played and 500 for the rest.
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
            | Self::OutputUnwritable { .. }
            | Self::Recording { .. }
            | Self::Hls { .. }
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
