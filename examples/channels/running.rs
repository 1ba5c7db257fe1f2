//! A stream on the air, and what it really is made of: not all that the file asks for may have been possible.

use flowcast::driver::OpenOutput;
use flowcast::output::IfTaken;
use flowcast::source::{At, Replacing};
use flowcast::spec::StreamSpec;
use flowcast::{Error, Output, OutputId, Source, StreamRef};

pub(crate) struct Running {
    pub(crate) stream: StreamRef,
    pub(crate) source: Source,
    outputs: Vec<(Output, OutputId)>,
    /// Outputs that are not in the file any more, and have something to go on as.
    going: Vec<(Output, OutputId)>,
}

impl Running {
    /// A stream that was just started from `spec`: outputs get their numbers in the order of the spec, and players come later. A backup
    /// has a number of its own, and goes with its output.
    pub(crate) fn begun(stream: StreamRef, spec: &StreamSpec) -> Self {
        let outputs = stream.stats().outputs;
        let primary = outputs.iter().filter(|output| output.backup_of.is_none());
        let mut numbers: Vec<_> = primary.map(|output| output.id).collect();
        numbers.sort();
        let outputs = spec.outputs.iter().cloned().zip(numbers).collect();
        Self { stream, source: spec.source.clone(), outputs, going: Vec::new() }
    }

    pub(crate) fn is(&self, spec: &StreamSpec) -> bool {
        self.source == spec.source && self.outputs.len() == spec.outputs.len() && self.has_all(&spec.outputs)
    }

    pub(crate) fn has_all(&self, wanted: &[Output]) -> bool {
        self.missing(wanted).is_empty()
    }

    /// Begins to replace the source: it takes over once it can.
    pub(crate) fn begin_source(&self, wanted: &Source) -> Result<Replacing, Error> {
        self.stream.replace_source(wanted.clone(), At::NextKeyframe)
    }

    /// Removes the outputs that are gone, except where a new one of the same label may take their place; the others keep their
    /// connections. [`add_outputs`](Self::add_outputs) follows.
    pub(crate) fn drop_outputs(&mut self, wanted: &[Output]) -> Result<(), Error> {
        let mut gone = std::mem::take(&mut self.outputs);
        for output in wanted {
            if let Some(place) = gone.iter().position(|(has, _)| has == output) {
                self.outputs.push(gone.remove(place));
            }
        }
        let new = self.missing(wanted);
        let mut labels: Vec<_> = new.iter().map(label).collect();
        let mut failed = Ok(());
        for (output, number) in gone {
            if let Some(place) = labels.iter().position(|wanted| *wanted == label(&output)) {
                labels.remove(place);
                self.going.push((output, number));
            } else if let Err(error) = self.stream.remove_output(number) {
                self.outputs.push((output, number));
                failed = Err(error);
            }
        }
        failed
    }

    /// Adds the outputs that are new. A push that is at another address now, or has another key, goes on there without a gap.
    pub(crate) fn add_outputs(&mut self, wanted: &[Output]) -> Result<(), Error> {
        let mut failed = Ok(());
        for output in self.missing(wanted) {
            let place = self.going.iter().position(|(before, _)| label(before) == label(&output));
            let before = place.map(|place| self.going.remove(place));
            match self.put(output.clone(), before.map(|(_, number)| number)) {
                Ok(number) => self.outputs.push((output, number)),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Those that it does not have.
    fn missing(&self, wanted: &[Output]) -> Vec<Output> {
        let mut there: Vec<_> = self.outputs.iter().map(|(has, _)| has).collect();
        let mut is_new = |output: &&Output| match there.iter().position(|has| has == output) {
            Some(place) => {
                there.remove(place);
                false
            }
            None => true,
        };
        wanted.iter().filter(|output| is_new(output)).cloned().collect()
    }

    /// An output in place of another one, if there was one.
    fn put(&self, output: Output, before: Option<OutputId>) -> Result<OutputId, Error> {
        if let Some(before) = before {
            // Only a push can take the place of a push.
            if self.stream.replace_output(before, output.clone(), IfTaken::Break).is_ok() {
                return Ok(before);
            }
            self.stream.remove_output(before)?;
        }
        self.stream.add_output(output)
    }

    /// A push, or its backup, could not go on elsewhere: it ends here and begins there.
    pub(crate) fn move_output(&mut self, number: OutputId) -> Result<(), Error> {
        let outputs = self.stream.stats().outputs;
        let primary = outputs.iter().find(|output| output.id == number).and_then(|output| output.backup_of);
        let number = primary.unwrap_or(number);
        let Some(place) = self.outputs.iter().position(|(_, has)| *has == number) else { return Ok(()) };
        let (output, _) = self.outputs.remove(place);
        self.stream.remove_output(number)?;
        let number = self.stream.add_output(output.clone())?;
        self.outputs.push((output, number));
        Ok(())
    }
}

fn label(output: &Output) -> Option<&str> {
    OpenOutput::label(output)
}
