//! Where the examples send streams to: `--to`, `--record` and how it is cut, `--existing`, `--hls`, `--thumbnails`, `--ca`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::TypedValueParser;
use flowcast::config::TlsRoots;
use flowcast::output::{FileFormat, Hls, Segments};
use flowcast::{Existing, Output, StreamBuilder};

use super::{Result, cli};

/// Where a stream goes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Outputs")]
pub struct OutputArgs {
    /// Send the stream to rtmp(s)://[user:password@]host/app/key, srt://host:port, udp://host:port,
    /// icecast://source:password@host:port/mount or rtsp://host/path; {} becomes the stream's number. May be given
    /// several times
    #[arg(long, value_name = "URL", visible_aliases = ["url", "srt"])]
    to: Vec<String>,

    /// Record the stream to a file: FLV, or by its extension MP4, MKV or TS; {} becomes the stream's number. May be
    /// given several times
    #[arg(long, value_name = "FILE")]
    record: Vec<String>,

    #[command(flatten)]
    cuts: CutArgs,

    #[command(flatten)]
    existing: ExistingArgs,

    /// Write a thumbnail (JPEG) to a file every 5 s; {stream} and {time} in its name are filled in, {} becomes the
    /// stream's number
    #[arg(long, value_name = "FILE.jpg")]
    thumbnails: Option<String>,

    /// Write thumbnails this often
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, default_value = "5", requires = "thumbnails")]
    thumbnails_every: Duration,

    /// Write the stream to a directory, for players that speak HLS: they open its index.m3u8; {} becomes the
    /// stream's number. May be given several times
    #[arg(long, value_name = "DIR")]
    hls: Vec<String>,

    /// How long segments of HLS are to be, in whole seconds; otherwise 4
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "hls")]
    hls_segment: Option<Duration>,

    /// What segments of HLS are: mp4 (the default) or mpegts
    #[arg(long, value_name = "FORMAT", requires = "hls")]
    hls_format: Option<FileFormat>,

    /// Trust only the certificates in this PEM file for rtmps; otherwise those of the system
    #[arg(long, value_name = "FILE.pem")]
    ca: Option<PathBuf>,
}

/// Where recordings are cut, what is kept of them, and when they end. The argument that names them is called `record`.
#[derive(Args, Debug)]
pub struct CutArgs {
    /// Begin another file of a recording after this long; {number} and {time} in its name are filled in
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    every: Option<Duration>,

    /// Begin another file of a recording after this many bytes
    #[arg(long, value_name = "BYTES", requires = "record")]
    every_bytes: Option<u64>,

    /// Begin another file of a recording at each full part of the day: 3600 for each full hour, 86400 at midnight
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    by_clock: Option<Duration>,

    /// The time zone of --by-clock; others than UTC need the feature schedule
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "by_clock")]
    zone: String,

    /// Begin another file of a recording when the source is back after it was lost
    #[arg(long, requires = "record")]
    at_returns: bool,

    /// Remove files of a recording that were complete this long ago
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    keep_for: Option<Duration>,

    /// Remove the oldest files of a recording beyond this many
    #[arg(long, value_name = "N", requires = "record")]
    keep_files: Option<u32>,

    /// Remove the oldest files of a recording while they have more bytes than this
    #[arg(long, value_name = "BYTES", requires = "record")]
    keep_bytes: Option<u64>,

    /// End recordings after this long; the stream goes on
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    max_duration: Option<Duration>,
}

impl CutArgs {
    /// Gives a recording what was asked for.
    pub fn apply(&self, mut output: Output) -> Output {
        let mut segments = match &self.by_clock {
            Some(step) => Segments::by_clock(*step, &self.zone),
            None => Segments::default(),
        };
        segments = self.every.into_iter().fold(segments, Segments::and_every);
        segments = self.every_bytes.into_iter().fold(segments, Segments::and_of_bytes);
        segments = if self.at_returns { segments.and_at_returns() } else { segments };
        segments = self.keep_for.into_iter().fold(segments, Segments::keep_for);
        segments = self.keep_files.into_iter().fold(segments, Segments::keep_files);
        segments = self.keep_bytes.into_iter().fold(segments, Segments::keep_bytes);
        if segments != Segments::default() {
            output = output.segments(segments);
        }
        self.max_duration.into_iter().fold(output, Output::max_duration)
    }
}

/// What becomes of files that are there already.
#[derive(Args, Debug)]
pub struct ExistingArgs {
    /// What a recording does if its file is there already
    #[arg(id = "existing", long, value_name = "HOW", default_value = "number", value_parser = existing())]
    pub how: Existing,
}

fn existing() -> impl TypedValueParser<Value = Existing> {
    cli::one_of(vec![
        ("number", "records to another file beside it: archive-1.flv for archive.flv", Existing::Number),
        ("append", "goes on behind what is there", Existing::Append),
        ("replace", "replaces it", Existing::Replace),
        ("refuse", "does not begin", Existing::Refuse),
    ])
}

impl OutputArgs {
    /// Whether none was named.
    pub fn is_empty(&self) -> bool {
        self.to.is_empty() && self.record.is_empty() && self.hls.is_empty()
    }

    /// Gives a stream the outputs that were asked for; `{}` in them becomes `number`.
    pub fn add(&self, builder: StreamBuilder, number: usize) -> Result<StreamBuilder> {
        let numbered = |text: &str| text.replace("{}", &number.to_string());
        let roots = match &self.ca {
            Some(path) => TlsRoots::from_pem_file(path)?,
            None => TlsRoots::Platform,
        };
        let pushes = self.to.iter().map(|url| {
            let output = Output::url(&numbered(url));
            // Only RTMPS knows certificates of its own.
            let is_rtmp = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("rtmp"));
            if is_rtmp { output.tls_roots(roots.clone()) } else { output }
        });
        let records = self
            .record
            .iter()
            .map(|path| self.cuts.apply(Output::record(numbered(path)).existing(self.existing.how)));
        let hls = self.hls.iter().map(|directory| {
            let mut hls = Hls::directory(numbered(directory));
            if let Some(length) = self.hls_segment {
                hls = hls.target_duration(length);
            }
            if let Some(format) = self.hls_format {
                hls = hls.format(format);
            }
            Output::hls(hls)
        });
        if self.is_empty() {
            return Err("no output: give --to, --record or --hls".into());
        }
        let looks =
            self.thumbnails.iter().map(|path| Output::thumbnails(numbered(path), self.thumbnails_every));
        Ok(builder.outputs(pushes.chain(records).chain(hls).chain(looks)))
    }
}
