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

    /// Begin another file of a recording after this long; {number} and {time} in its name are filled in
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    every: Option<Duration>,

    /// Remove files of a recording that were complete this long ago
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "every")]
    keep_for: Option<Duration>,

    /// End recordings after this long; the stream goes on
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, requires = "record")]
    max_duration: Option<Duration>,

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
        let records = self.record.iter().map(|path| {
            let mut output = Output::record(numbered(path)).existing(self.existing.how);
            if let Some(every) = self.every {
                let segments = Segments::every(every);
                output = output.segments(match self.keep_for {
                    Some(age) => segments.keep_for(age),
                    None => segments,
                });
            }
            match self.max_duration {
                Some(most) => output.max_duration(most),
                None => output,
            }
        });
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
