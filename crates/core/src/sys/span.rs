//! Spans of `tracing` (feature `tracing`): what log lines of one stream, and of one output, have in common. Without the feature this
//! is nothing, and so is what it costs.
//!
//! In: the names of a stream or an output. Out: a context for whatever is logged on a thread, by flowcast and by libav. The lines
//! themselves go to the crate `log`, from where a subscriber of `tracing` has them (`tracing-log`).

#[cfg(not(feature = "tracing"))]
pub(crate) use off::Span;
#[cfg(feature = "tracing")]
pub(crate) use on::Span;

#[cfg(feature = "tracing")]
mod on {
    use std::fmt::Display;

    use tracing::{error_span, field};

    /// What is logged inside belongs to a stream, or to an output of it.
    ///
    /// All are of the level `ERROR`, so that no filter by level takes the context away from a line that it lets pass.
    #[derive(Debug, Clone)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        /// Of a stream. A root: it outlives the request in which a program may have started it.
        pub(crate) fn of_stream(stream: impl Display, label: Option<&str>) -> Self {
            let span = error_span!(parent: None, "stream", %stream, label, published = field::Empty);
            span.follows_from(tracing::Span::current());
            Self(span)
        }

        /// The stream is what is published under this name.
        pub(crate) fn is_published(&self, name: &str) {
            self.0.record("published", name);
        }

        /// Of an output of this stream.
        pub(crate) fn of_output(&self, output: impl Display, label: Option<&str>) -> Self {
            Self(error_span!(parent: &self.0, "output", %output, label))
        }

        /// Of an event of this stream.
        pub(crate) fn of_event(
            &self,
            event: &str,
            output: Option<impl Display>,
            label: Option<&str>,
        ) -> Self {
            let output = output.map(field::display);
            Self(error_span!(parent: &self.0, "event", event, output, label))
        }

        /// The one this thread is in.
        pub(crate) fn current() -> Self {
            Self(tracing::Span::current())
        }

        /// Runs `work` inside.
        pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
            self.0.in_scope(work)
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use std::fmt::Display;

    /// Nothing.
    #[derive(Debug, Clone)]
    pub(crate) struct Span;

    #[allow(clippy::unused_self, reason = "as it is with the feature")]
    impl Span {
        pub(crate) fn of_stream(_stream: impl Display, _label: Option<&str>) -> Self {
            Self
        }

        pub(crate) fn is_published(&self, _name: &str) {}

        pub(crate) fn of_output(&self, _output: impl Display, _label: Option<&str>) -> Self {
            Self
        }

        pub(crate) fn of_event(
            &self,
            _event: &str,
            _output: Option<impl Display>,
            _label: Option<&str>,
        ) -> Self {
            Self
        }

        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
            work()
        }
    }
}
