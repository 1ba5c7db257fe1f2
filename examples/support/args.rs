//! Command line arguments: `--name VALUE` or `--name=VALUE`, `--flag`, and the rest.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::str::FromStr;
use std::time::Duration;

use super::Result;

/// Parsed arguments.
#[derive(Debug, Default)]
pub struct Args {
    options: Vec<(String, String)>,
    flags: Vec<String>,
    rest: Vec<String>,
}

impl Args {
    /// Parses this process's arguments. `options` take a value, `flags` do not; anything else that begins with `-` is an
    /// error that shows `usage`. `--help` prints it and ends the process.
    pub fn parse(usage: &str, options: &[&str], flags: &[&str]) -> Result<Self> {
        Self::parse_pairs(usage, options, &[], flags)
    }

    /// The same, with options that take two values, see [`Args::pair`].
    pub fn parse_pairs(usage: &str, options: &[&str], pairs: &[&str], flags: &[&str]) -> Result<Self> {
        let mut args = Self::default();
        let words: std::result::Result<Vec<_>, _> =
            std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect();
        let words = words.map_err(|word| format!("{}: not UTF-8", word.display()))?;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                println!("{usage}");
                std::process::exit(0);
            }
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (word.clone(), None),
            };
            let is_pair = pairs.contains(&name.as_str());
            if is_pair || options.contains(&name.as_str()) {
                let needs = if is_pair { "two values" } else { "a value" };
                let missing = || format!("{name} needs {needs}\n{usage}");
                let value = joined.or_else(|| words.next()).ok_or_else(missing)?;
                let second = if is_pair { Some(words.next().ok_or_else(missing)?) } else { None };
                args.options.extend(std::iter::once(value).chain(second).map(|value| (name.clone(), value)));
            } else if flags.contains(&word.as_str()) {
                args.flags.push(word);
            } else if word.starts_with('-') {
                return Err(format!("unknown option {word}\n{usage}").into());
            } else {
                args.rest.push(word);
            }
        }
        Ok(args)
    }

    /// All values given for an option.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.options.iter().filter(|(option, _)| option == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The last value given for an option.
    pub fn last<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.all(name).last().copied() else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("{name}: {value:?} is not usable").into())
    }

    /// The last value given for an option that is a time in seconds.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        let Some(seconds) = self.last::<f64>(name)? else { return Ok(None) };
        let time = Duration::try_from_secs_f64(seconds);
        time.map(Some).map_err(|error| format!("{name} {seconds}: {error}").into())
    }

    /// The values given last for an option that takes two.
    pub fn pair(&self, name: &str) -> Option<(&str, &str)> {
        match self.all(name)[..] {
            [.., first, second] => Some((first, second)),
            _ => None,
        }
    }

    /// Whether a flag was given.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// Arguments that are no options.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }
}
