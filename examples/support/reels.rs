//! Where the examples keep reels: `--reels`, `--max-reel-bytes`, `--no-reels`.

use std::path::PathBuf;

use clap::Args;
use flowcast::ReelStore;
use flowcast::config::WhenInUse;

/// Where reels are kept: files in the form in which they are sent, which are made once.
#[derive(Args, Debug)]
#[command(next_help_heading = "Reels")]
pub struct ReelArgs {
    /// Keep reels (files prepared for sending) there; otherwise in the temporary directory
    #[arg(long, value_name = "DIR")]
    reels: Option<PathBuf>,

    /// Most bytes of all reels; those used longest ago go first. Otherwise 10 GiB
    #[arg(long, value_name = "BYTES")]
    max_reel_bytes: Option<u64>,

    /// Read files directly through libav, without reels
    #[arg(long, conflicts_with_all = ["reels", "max_reel_bytes"])]
    no_reels: bool,
}

impl ReelArgs {
    /// The store that was asked for. What another process of this example uses is left to it.
    pub fn store(&self) -> Option<ReelStore> {
        if self.no_reels {
            return None;
        }
        let directory = self.reels.clone().unwrap_or_else(|| std::env::temp_dir().join("flowcast-reels"));
        let mut store = ReelStore::new(directory);
        store.when_in_use = WhenInUse::Subdirectory;
        store.max_bytes = self.max_reel_bytes.unwrap_or(store.max_bytes);
        Some(store)
    }
}
