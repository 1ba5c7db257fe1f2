//! Where the examples send streams to: `--to`, `--record`, `--existing`, `--ca`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::TypedValueParser;
use flowcast::config::TlsRoots;
use flowcast::{Existing, Output, StreamBuilder};

use super::{Result, cli};

/// Where a stream goes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Outputs")]
pub struct OutputArgs {
    /// Send the stream to rtmp(s)://[user:password@]host/app/key; {} becomes the stream's number. May be given
    /// several times
    #[arg(long, value_name = "URL")]
    to: Vec<String>,

    /// Record the stream to an FLV file; {} becomes the stream's number. May be given several times
    #[arg(long, value_name = "FILE.flv")]
    record: Vec<String>,

    #[command(flatten)]
    existing: ExistingArgs,

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
        self.to.is_empty() && self.record.is_empty()
    }

    /// Gives a stream the outputs that were asked for; `{}` in them becomes `number`.
    pub fn add(&self, builder: StreamBuilder, number: usize) -> Result<StreamBuilder> {
        let numbered = |text: &str| text.replace("{}", &number.to_string());
        let roots = match &self.ca {
            Some(path) => TlsRoots::from_pem_file(path)?,
            None => TlsRoots::Platform,
        };
        let pushes = self.to.iter().map(|url| Output::rtmp_url(&numbered(url)).tls_roots(roots.clone()));
        let records =
            self.record.iter().map(|path| Output::record(numbered(path)).existing(self.existing.how));
        if self.is_empty() {
            return Err("no output: give --to or --record".into());
        }
        Ok(builder.outputs(pushes.chain(records)))
    }
}
