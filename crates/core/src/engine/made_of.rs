//! What a stream on the air is made of, as data: its spec, and the lists that it plays.
//!
//! In: what was given to the stream, and what was changed on the air. Out: copies, and the lists themselves, on the caller's thread. No
//! stream's thread is asked.

use crate::output::Output;
use crate::playlist::Playlist;
use crate::source::Source;
use crate::spec::StreamSpec;
use crate::stream::StreamRef;

impl StreamRef {
    /// What it is made of now, with what was changed on the air: another source, outputs that came and went. Its lists are the very lists that
    /// play. `None` for what clients of a server publish, and for a source of the program's own; such outputs are left out.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("show.mp4").looped()).label("show").to(Output::record("show.flv")).start()?;
    /// let spec = live.spec().expect("it is data");
    /// assert_eq!((spec.label.as_deref(), spec.outputs.len()), (Some("show"), 1));
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    #[must_use]
    pub fn spec(&self) -> Option<StreamSpec> {
        let what = self.shared.described.what();
        let source = what.source.as_ref()?.downcast_ref::<Source>()?.clone();
        let as_output = |data: &crate::stream::Data| data.downcast_ref::<Output>().cloned();
        let outputs: Vec<_> =
            what.outputs.iter().filter_map(|output| output.data.as_ref().and_then(as_output)).collect();
        let without_outputs = what.without_outputs || outputs.is_empty();
        let label = self.label().map(str::to_owned);
        Some(StreamSpec { label, owner: self.shared.owner(), source, outputs, without_outputs })
    }

    /// The list that it plays, to be shown and edited on the air; `None` if its source has none. After
    /// [`replace_source`](Self::replace_source) it is that of the source on the air.
    #[must_use]
    pub fn playlist(&self) -> Option<Playlist> {
        self.source_as_data(Source::list)
    }

    /// The list of its sound ([`Source::with_audio`]); `None` if it has none.
    #[must_use]
    pub fn sound_playlist(&self) -> Option<Playlist> {
        self.source_as_data(Source::sound_list)
    }

    fn source_as_data(&self, list: impl FnOnce(&Source) -> Option<&Playlist>) -> Option<Playlist> {
        let source = self.shared.described.what().source?;
        list(source.downcast_ref::<Source>()?).cloned()
    }
}
