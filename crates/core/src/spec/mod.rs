//! A stream as data: what it plays, where it goes, and whose it is.
//!
//! In: settings. Out: the same, checked as a whole; with the feature `serde` also as a file. Nothing here opens anything.

#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod wire;

use std::collections::HashSet;

use crate::error::{Error, SpecProblem};
use crate::output::Output;
use crate::source::Source;
use crate::stream::check_label;

#[cfg(feature = "serde")]
pub use wire::WithKeys;

/// A stream as data. [`Engine::start`](crate::Engine::start) starts it, as often as it is asked to;
/// [`Engine::stream`](crate::Engine::stream) describes the same in one expression, and takes sources and outputs of the
/// program's own as well.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod spec { pub use flowcast_core::*; } }
/// use flowcast::spec::StreamSpec;
/// use flowcast::{Output, Source};
///
/// let spec = StreamSpec::new(Source::file("show.mp4").looped())
///     .label("show")
///     .owner("alice")
///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
///     .to(Output::record("show.flv"));
/// assert_eq!(spec, spec.clone());
/// spec.check()?;
/// # Ok::<(), flowcast::Error>(())
/// ```
///
/// With the feature `serde`, it is written to and read from files:
///
/// ```toml
/// label = "show"
/// owner = "alice"
///
/// [source]
/// file = "show.mp4"
/// looped = true
///
/// [[outputs]]
/// server = "rtmps://a.rtmps.youtube.com/live2"
/// key = "your-stream-key"
///
/// [[outputs]]
/// record = "show.flv"
/// ```
///
/// | where | fields; those that are left out have the default of the method of this name |
/// |---|---|
/// | a stream | `source`, `outputs`, `label`, `owner`, `without_outputs` |
/// | a source | one of `file`, `video`, `playlist`, `published`, `pull` (a URL, or a table with `url`, `reach`, `silence`, `hold`, `reconnect`, `tls_roots`), `fragments` (a table with `path`, `remove`, `settle`, `options`); `looped`, `once`, `audio` (a list), `all_tracks`, `silence`, `starting_at`, `starting_item`, `mode`, `platforms`, `strictness`, `enhanced`, `encoding`, `fallback` (a file, or a table with `file`, `after`, `steady`, `at_least`, `mode`), `watchdog` (a table with `no_packet`, `no_keyframe`, `then`), `rendition` (a table with `name` and `of`, a list of tables with `lines`, `size` or `source`, and `name`, `bit_rate`, `enlarged`) |
/// | a list | file names, or one of `files`, `dir`, `m3u` with `shuffled`, `once`, `seed`, `on_change`, `nothing_plays`; a file with a weight is `{ file, weight }` |
/// | an encoding | the fields of [`Encoding`](crate::Encoding); `size = "1280x720"`, `frame_rate = 25` or `"30000/1001"`, `video_bit_rate = "2500k"`, `adaptation` (a table with the fields of [`Adaptation`](crate::Adaptation)), `under_load` (`priority`, `floor`) |
/// | an output | `url`, or `server` with `key`, or `record`, or `thumbnails` with `every` (5 s) and `thumbnail_options` (a table with `max_width`, `max_height`, `quality`), or `publish`; `label`, `backup` (an address), `existing`, `enhanced` (`true` or `"always"`), `all_tracks`, `tls_roots` (a PEM file), `reconnect`, `rotate` (`"youtube"` and so on, a length of time, or a table with `after`, `pause`, `if_taken`) |
///
/// Lengths of time are text (`"1m 30s"`) or seconds. A field that there is not is an error that names it. Directories and list
/// files are read when the stream starts.
///
/// Keys are written as `****`, and an output that is read so is a problem that [`check`](Self::check) finds. Errors of a format may
/// quote the line they are about, and with it a key: do not show them to others.
#[cfg_attr(feature = "serde", doc = "[`with_keys`](Self::with_keys) writes them.")]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamSpec {
    /// What the program calls the stream; as [`StreamBuilder::label`](crate::StreamBuilder::label). Default none.
    pub label: Option<String>,
    /// Whose stream it is, for the limit per owner. Default none.
    pub owner: Option<String>,
    /// What it plays.
    pub source: Source,
    /// Where it goes. Default nowhere, which is refused unless it is [`without_outputs`](Self::without_outputs).
    pub outputs: Vec<Output>,
    /// Whether it runs without an output; as [`StreamBuilder::without_outputs`](crate::StreamBuilder::without_outputs). Default
    /// `false`.
    pub without_outputs: bool,
}

crate::settings::settings!(StreamSpec);

impl StreamSpec {
    /// A stream of this source, without outputs so far.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { label: None, owner: None, source, outputs: Vec::new(), without_outputs: false }
    }

    /// What the program calls the stream.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Whose stream it is.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sends it to `output`, besides those given before.
    #[must_use]
    pub fn to(mut self, output: Output) -> Self {
        self.outputs.push(output);
        self
    }

    /// Lets it run without an output.
    #[must_use]
    pub fn without_outputs(mut self) -> Self {
        self.without_outputs = true;
        self
    }

    /// Finds all that is wrong with it, without opening anything: addresses, labels, names, settings that cannot work or have no
    /// effect, keys that are hidden. What only shows when it is opened, such as a missing file, is not found here.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`], with each problem and its place.
    pub fn check(&self) -> Result<(), Error> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(Error::Spec { problems }) }
    }

    fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Vec::new();
        let mut add = |place: &str, error: Error| found.push(SpecProblem { place: place.to_owned(), error });
        if let Some(error) = self.label.as_deref().and_then(|label| check_label(label).err()) {
            add("label", error);
        }
        self.source.problems().into_iter().for_each(|error| add("source", error));
        if self.outputs.is_empty() && !self.without_outputs {
            let reason = "the stream has none, and it is not `without_outputs`".to_owned();
            add("outputs", Error::Config { name: "outputs", reason });
        }
        let mut labels = HashSet::new();
        for (number, output) in self.outputs.iter().enumerate() {
            let place = format!("outputs[{number}]");
            output.problems().into_iter().for_each(|error| add(&place, error));
            let Some(label) = output.own_label() else { continue };
            if let Err(error) = check_label(label) {
                add(&place, error);
            } else if !labels.insert(label) {
                add(&place, Error::LabelInUse { label: label.to_owned() });
            }
        }
        found
    }
}
