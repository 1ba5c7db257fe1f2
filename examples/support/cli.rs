//! The command line: what clap does not bring by itself.

use std::ffi::OsStr;
use std::fmt::Display;
use std::process::exit;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Error, Parser};
use flowcast::Platform;

/// Widest column of `--help`.
pub const WIDTH: usize = 110;
/// Exit code for wrong arguments.
const WRONG: i32 = 1;

/// This process's arguments. `--help` prints the usage and ends the process; so do wrong arguments, with exit code 1.
pub fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| end(&error))
}

/// Ends the process because the arguments do not go together.
pub fn wrong<T: CommandFactory>(why: impl Display) -> ! {
    end(&T::command().error(ErrorKind::MissingRequiredArgument, why))
}

fn end(error: &Error) -> ! {
    // Nobody may be reading.
    let _ = error.print();
    exit(if error.use_stderr() { WRONG } else { 0 })
}

/// A time in seconds: `90`, `0.5`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed, such as 90 or 0.5")?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "it has to be 0 or more, and a time that ends".to_owned())
}

/// One of some names, each with what it means; `--help` lists them.
pub fn one_of<T: Clone + Send + Sync + 'static>(
    choices: Vec<(&'static str, &'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<_> = choices.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help)).collect();
    PossibleValuesParser::new(names).try_map(move |given| {
        let known = choices.iter().find(|(name, ..)| *name == given);
        known.map(|(.., value)| value.clone()).ok_or("no such choice")
    })
}

/// A platform by its name.
pub fn platform() -> impl TypedValueParser<Value = Platform> {
    PossibleValuesParser::new(Platform::NAMES).try_map(|name| name.parse::<Platform>())
}

/// What is before the first `=`, and what is behind it. The message does not repeat the value, which may be a secret.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub value: String,
}

/// Reads a [`Named`].
pub fn named() -> impl TypedValueParser<Value = Named> {
    NamedParser
}

#[derive(Clone)]
struct NamedParser;

impl TypedValueParser for NamedParser {
    type Value = Named;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Named, Error> {
        let pair = value.to_str().and_then(|text| text.split_once('='));
        let pair = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let option = arg.map_or_else(String::new, ToString::to_string);
        let wrong =
            || Error::raw(ErrorKind::ValueValidation, format!("{option} needs a name, '=' and a value\n"));
        let (name, value) = pair.ok_or_else(|| wrong().with_cmd(cmd))?;
        Ok(Named { name: name.to_owned(), value: value.to_owned() })
    }
}
