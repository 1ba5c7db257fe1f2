//! What Redis keeps of a stream that should run: JSON.
//!
//! In: specs of the program, text from Redis. Out: text, and specs.

use flowcast_core::StreamSpec;
use serde::{Deserialize, Serialize};

use super::seal::Seal;
use crate::error::Error;
use crate::life::no_random;

/// The form of what is written.
const FORM: u32 = 1;

/// A stream that should run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DesiredStream {
    /// Its name: the name of its lease, too.
    pub name: String,
    /// How often it was put: 1, and one more with each change.
    pub revision: u64,
    /// The labels that a node must have to run it.
    pub labels: Vec<String>,
    /// What it is.
    pub spec: StreamSpec,
}

/// What Redis has of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    form: u32,
    pub(crate) revision: u64,
    /// What tells two of the same revision apart: of a name that was removed and put again.
    stamp: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
    /// JSON, as it is or encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

impl Record {
    pub(super) fn new(
        name: &str,
        revision: u64,
        labels: &[String],
        spec: &StreamSpec,
        seal: Option<&Seal>,
    ) -> Result<Self, Error> {
        let written = |text: serde_json::Result<String>| {
            text.map_err(|error| Error::config("spec", format!("cannot be written: {error}")))
        };
        let text = written(serde_json::to_string(&spec.with_keys()))?;
        let (mut clear, mut sealed) = (None, None);
        match seal {
            Some(seal) => sealed = Some(seal.close(name, &text).ok_or_else(no_random)?),
            None if written(serde_json::to_string(spec))? == text => clear = Some(text),
            None => {
                let reason = "the stream has keys or passwords in it, and there is nothing to encrypt it with in Redis";
                return Err(Error::config("secret", reason));
            }
        }
        let stamp = crate::life::life()?;
        Ok(Self { form: FORM, revision, stamp, labels: labels.to_vec(), spec: clear, sealed })
    }

    pub(super) fn write(&self) -> String {
        // It has no map whose keys are no strings, and writes to memory.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for what is not understood.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|record: &Self| record.form == FORM)
    }

    /// The spec; `None` where it cannot be read. What is wrong with it is not said: it may be what is secret.
    pub(super) fn stream(&self, name: &str, seal: Option<&Seal>) -> Option<DesiredStream> {
        let opened;
        let text = match (&self.spec, &self.sealed) {
            (Some(text), _) => text,
            (None, Some(sealed)) => {
                opened = seal?.open(name, sealed)?;
                &opened
            }
            (None, None) => return None,
        };
        let spec = serde_json::from_str(text).ok()?;
        let (name, labels) = (name.to_owned(), self.labels.clone());
        Some(DesiredStream { name, revision: self.revision, labels, spec })
    }
}

#[cfg(test)]
mod tests {
    use flowcast_core::{Output, Source};

    use super::*;

    #[test]
    fn what_is_written_is_read_the_same_and_holds_no_secret() {
        let seal = Seal::new(&"a-secret-of-some-bytes".into(), "fc:{x}:").expect("a key");
        let spec = StreamSpec::new(Source::file("show.mp4").looped())
            .owner("alice")
            .to(Output::rtmp("rtmp://live.example.com/app", "canary-key"));
        let labels = ["gpu".to_owned()];
        let record = Record::new("rain", 3, &labels, &spec, Some(&seal)).expect("it can be written");
        let text = record.write();
        assert!(!text.contains("canary"), "{text}");
        let read = Record::read(&text).expect("it is understood");
        let stream = read.stream("rain", Some(&seal)).expect("the same secret");
        assert_eq!((stream.revision, stream.labels.as_slice(), &stream.spec), (3, &labels[..], &spec));
        assert!(!format!("{stream:?}{read:?}").contains("canary"));
        assert!(read.stream("rain", None).is_none() && read.stream("snow", Some(&seal)).is_none());
        let refused = Record::new("rain", 3, &labels, &spec, None).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.starts_with("secret: ") && !error.contains("canary")));
        let open = StreamSpec::new(Source::file("show.mp4")).to(Output::record("show.flv"));
        let record = Record::new("rain", 1, &[], &open, None).expect("nothing is secret");
        assert_eq!(record.stream("rain", None).map(|stream| stream.spec), Some(open));
        for text in ["", "{}", "{\"form\":2,\"revision\":1,\"stamp\":\"\"}"] {
            assert_eq!(Record::read(text), None, "{text}");
        }
    }
}
