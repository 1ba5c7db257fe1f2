//! Names of the files of a recording that has several, and which files have them.
//!
//! In: a pattern, a number, a time, the name of the stream. Out: a name in the directory of the pattern, whatever the stream is called. Nothing here looks at the
//! file system.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::segments::Zone;

/// Digits of a number, at least.
const DIGITS: usize = 6;
/// The highest number that others go on behind: a higher one was given by somebody else.
const HIGHEST: u64 = 1 << 50;
/// The longest that is kept of a stream's name.
const MOST_STREAM: usize = 64;
/// What a time looks like: 0 is any digit.
const TIME: &str = "0000-00-00_00-00-00";

/// A part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number,
    Time,
}

/// How files are named.
#[derive(Debug, Clone)]
pub(in crate::output) struct Names {
    directory: PathBuf,
    parts: Vec<Part>,
    /// With a dot, or empty.
    extension: String,
    zone: Zone,
}

impl Names {
    /// The names of a pattern: a path whose last part may have `{number}`, `{time}` and `{stream}`. Without a number and a time, `-{number}` goes before the
    /// extension. What is in the directory's name stays as it is.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern.
    pub(super) fn new(pattern: &Path, stream: &str, zone: Zone) -> Result<Self, String> {
        let mut names = Self::plain(pattern, stream, zone)?;
        if !names.parts.contains(&Part::Number) && !names.parts.contains(&Part::Time) {
            names.parts.extend([Part::Text("-".to_owned()), Part::Number]);
        }
        Ok(names)
    }

    /// The same as it is written: without a number and a time all files have one name.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern.
    pub(in crate::output) fn plain(pattern: &Path, stream: &str, zone: Zone) -> Result<Self, String> {
        let directory = pattern.parent().unwrap_or(Path::new("")).to_owned();
        let name = pattern.file_name().and_then(|name| name.to_str());
        let name = name.ok_or("a pattern needs a name for the files, in UTF-8")?;
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && !extension.contains('}') => {
                (stem, format!(".{extension}"))
            }
            _ => (name, String::new()),
        };
        let (mut parts, mut rest) = (Vec::new(), stem);
        while let Some((text, behind)) = rest.split_once('{') {
            let (word, behind) = behind.split_once('}').ok_or("`{` without `}`")?;
            parts.push(Part::Text(text.to_owned()));
            parts.push(match word {
                "number" => Part::Number,
                "time" => Part::Time,
                "stream" => Part::Text(safe(stream)),
                other => return Err(format!("{{{other}}} is none of {{number}}, {{time}} and {{stream}}")),
            });
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self { directory, parts, extension, zone })
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory }
    }

    /// Whether names have a number, and so differ by it.
    pub(in crate::output) fn is_numbered(&self) -> bool {
        self.parts.contains(&Part::Number)
    }

    /// The name of a file.
    pub(in crate::output) fn name(&self, number: u64, at: SystemTime) -> PathBuf {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Number => format!("{number:0DIGITS$}"),
            Part::Time => self.zone.text(at),
        });
        self.directory.join(parts.collect::<String>() + &self.extension)
    }

    /// Whether a file of this name in the directory is one of these; with a number behind it, too, as those have whose name was taken.
    pub(super) fn is_one(&self, name: &str) -> bool {
        let Some(stem) = name.strip_suffix(self.extension.as_str()) else { return false };
        // Names that differ by their number get none behind it.
        rest_of(stem, &self.parts).is_some_and(|rest| {
            let number = rest.strip_prefix('-').filter(|_| !self.is_numbered());
            rest.is_empty() || number.is_some_and(|number| !number.is_empty() && is_digits(number))
        })
    }

    /// Whether names have a time, in seconds.
    pub(in crate::output) fn is_timed(&self) -> bool {
        self.parts.contains(&Part::Time)
    }

    /// The number in a name, if it is one of these and has one.
    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        let stem = name.strip_suffix(self.extension.as_str()).filter(|_| self.is_one(name))?;
        let place = self.parts.iter().position(|part| *part == Part::Number)?;
        let rest = rest_of(stem, self.parts.get(..place)?)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits)?.parse().ok().filter(|number| *number <= HIGHEST)
    }
}

/// What follows the parts in a name; `None` if they are not in it.
fn rest_of<'a>(name: &'a str, parts: &[Part]) -> Option<&'a str> {
    parts.iter().try_fold(name, |name, part| match part {
        Part::Text(text) => name.strip_prefix(text.as_str()),
        Part::Number => {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            name.get(digits..).filter(|_| digits >= DIGITS)
        }
        Part::Time => {
            let (time, rest) = name.split_at_checked(TIME.len())?;
            let is_alike =
                |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
            let is_time = time.bytes().zip(TIME.bytes()).all(is_alike);
            is_time.then(|| rest.strip_prefix('Z').unwrap_or(rest))
        }
    })
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A stream's name as a part of a file's.
fn safe(stream: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_. ".contains(letter);
    let plain = stream.chars().take(MOST_STREAM).map(|letter| if is_plain(letter) { letter } else { '_' });
    let plain: String = plain.collect();
    // A name that begins with a dot is hidden, or a directory.
    if plain.starts_with('.') { plain.replacen('.', "_", 1) } else { plain }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn names(pattern: &str, stream: &str) -> Names {
        Names::new(Path::new(pattern), stream, Zone::Utc).unwrap()
    }

    #[test]
    fn a_pattern_says_how_files_are_named() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_949_005);
        for (pattern, name) in [
            ("archive/show.mp4", "archive/show-000007.mp4"),
            ("{time}.ts", "2026-11-29_10-43-25Z.ts"),
            ("a/{stream}_{time}_{number}.mkv", "a/rain_2026-11-29_10-43-25Z_000007.mkv"),
            ("no-extension", "no-extension-000007"),
            ("a{b}/x.flv", "a{b}/x-000007.flv"),
            ("{number}", "000007"),
        ] {
            let names = names(pattern, "rain");
            assert_eq!(names.name(7, at), Path::new(name));
            assert!(names.is_one(Path::new(name).file_name().unwrap().to_str().unwrap()), "{name}");
        }
        for pattern in ["{nonsense}.mp4", "{time.mp4", "..", "a/"] {
            assert!(
                Names::new(Path::new(pattern), "rain", Zone::Utc).is_err() || pattern == "a/",
                "{pattern}"
            );
        }
    }

    #[test]
    fn no_stream_names_a_file_outside_of_the_directory() {
        let at = UNIX_EPOCH;
        for stream in ["../../etc/passwd", "..", "/etc", "a/../b", "a\0b", ".", "é\u{2028}"] {
            let name = names("archive/{stream}.mp4", stream).name(1, at);
            assert_eq!(name.parent(), Some(Path::new("archive")), "{stream:?}");
            let plain = name.file_name().unwrap().to_str().unwrap();
            assert!(!plain.starts_with('.') && !plain.contains(['/', '\0']), "{plain:?}");
        }
    }

    #[test]
    fn only_files_of_the_pattern_are_told_to_be_of_it() {
        let names = names("x/{stream}_{time}.mp4", "rain");
        for (name, is_one) in [
            ("rain_2026-11-29_10-43-25Z.mp4", true),
            ("rain_2026-11-29_10-43-25.mp4", true),
            ("rain_2026-11-29_10-43-25Z-2.mp4", true),
            ("rain_2026-11-29_10-43-25Z-.mp4", false),
            ("rain_2026-11-29_10-43-25Z-a.mp4", false),
            ("rain_2026-11-29_10-43-25Z.flv", false),
            ("rain_2026-11-29.mp4", false),
            ("rainy_2026-11-29_10-43-25Z.mp4", false),
            ("", false),
        ] {
            assert_eq!(names.is_one(name), is_one, "{name}");
        }
        let numbered = self::names("show.mp4", "");
        assert!(numbered.is_one("show-000001.mp4") && numbered.is_one("show-1000000.mp4"));
        assert!(!numbered.is_one("show-20261129-000001.mp4"), "it is that of another stream");
        assert!(!numbered.is_one("show-000001-2.mp4"), "a number that is taken is passed over");
        assert_eq!(numbered.number_of("show-000041.mp4"), Some(41));
        assert_eq!(numbered.number_of("show-18446744073709551615.mp4"), None);
        let timed = self::names("{time}_{number}.ts", "");
        assert_eq!(timed.number_of("2026-11-29_10-43-25Z_000007.ts"), Some(7));
        assert!(!numbered.is_one("show-1.mp4") && !numbered.is_one("show.mp4"));
    }
}
