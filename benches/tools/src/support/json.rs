//! One JSON object in one line.

use std::fmt::{Display, Write as _};

/// Builds a JSON object.
#[derive(Debug)]
pub struct Object(String);

impl Default for Object {
    fn default() -> Self {
        Self(String::from("{"))
    }
}

impl Object {
    fn key(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
    }

    /// Adds a number or boolean; numbers that JSON cannot say become null.
    pub fn value(mut self, name: &str, value: impl Display) -> Self {
        let text = value.to_string();
        self.key(name);
        self.0.push_str(if matches!(text.as_str(), "NaN" | "inf" | "-inf") { "null" } else { &text });
        self
    }

    /// Adds a text.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.key(name);
        self.0.push_str(&quoted(value));
        self
    }

    /// Adds a number or a text if there is one.
    pub fn optional(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.value(name, value),
            None => self.value(name, "null"),
        }
    }

    /// Adds an object.
    pub fn object(mut self, name: &str, object: Self) -> Self {
        self.key(name);
        self.0.push_str(&object.finish());
        self
    }

    /// Adds a list of objects.
    pub fn list(mut self, name: &str, items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<_> = items.into_iter().map(Self::finish).collect();
        self.key(name);
        let _ = write!(self.0, "[{}]", items.join(","));
        self
    }

    /// The finished object.
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
