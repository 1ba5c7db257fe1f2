//! Which stream of which application a publish or play means.
//!
//! In: the application of `connect` and the name of `publish` or `play`, as clients put them together from what their user
//! wrote into one or two fields. Out: both as they are meant, where that can be said.

/// What some servers want in front of a name, and clients keep sending to others. Stream keys must not begin so.
pub const NAME_PREFIXES: [&str; 4] = ["mp4:", "flv:", "f4v:", "mp3:"];
/// What Flash calls an application's only instance.
const DEFAULT_INSTANCE: &str = "_definst_";

/// An application and a stream name without their queries, and the query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) app: String,
    pub(super) name: String,
    pub(super) query: String,
}

/// Finds the place. Names and keys hold no slash and no space, so what is around them means nothing; the query of the name
/// goes before that of the application. Without a name, it is the last part of an application that has several; without an
/// application, it is what stands before the last slash of the name.
pub(super) fn place(app: &str, name: &str) -> Place {
    let (app, app_query) = app.split_once('?').unwrap_or((app, ""));
    let (name, query) = name.split_once('?').unwrap_or((name, app_query));
    let mut app = parts(app).collect::<Vec<_>>();
    let mut name = parts(bare(name)).collect::<Vec<_>>();
    if name.is_empty() && app.len() > 1 {
        name.extend(app.pop().map(bare));
    } else if app.is_empty() && name.len() > 1 {
        let last = name.pop();
        app = std::mem::take(&mut name);
        name.extend(last.map(bare));
    } else if name.len() > app.len() && !app.is_empty() && name.starts_with(&app) {
        name.drain(..app.len());
    }
    Place { app: app.join("/"), name: name.join("/"), query: query.to_owned() }
}

/// What stands between the slashes and means something.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.trim().split('/').filter(|part| !part.is_empty() && *part != DEFAULT_INSTANCE)
}

/// The name without a prefix.
fn bare(name: &str) -> &str {
    let name = name.trim().trim_start_matches('/');
    let prefix = NAME_PREFIXES
        .iter()
        .find(|prefix| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)));
    prefix.and_then(|prefix| name.get(prefix.len()..)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_found_whatever_field_it_was_written_into() {
        let meant = |app, name| {
            let Place { app, name, query } = place(app, name);
            (app, name, query)
        };
        let table = [
            (("live", "secret"), ("live", "secret", "")),
            (("live/secret", ""), ("live", "secret", "")),
            (("live/secret/", "/"), ("live", "secret", "")),
            (("live/secret?t=1", ""), ("live", "secret", "t=1")),
            (("live/secret", "?t=1"), ("live", "secret", "t=1")),
            (("live/_definst_", "secret"), ("live", "secret", "")),
            (("live/_definst_/secret", ""), ("live", "secret", "")),
            (("live/mp4:secret", ""), ("live", "secret", "")),
            (("live", "_definst_/secret"), ("live", "secret", "")),
            (("live", "/secret"), ("live", "secret", "")),
            (("live", "//secret/"), ("live", "secret", "")),
            (("/live/", "secret"), ("live", "secret", "")),
            (("live", " secret\r\n"), ("live", "secret", "")),
            (("live", "flv:secret"), ("live", "secret", "")),
            (("live", "/MP4:/secret?a=b?c"), ("live", "secret", "a=b?c")),
            (("live?t=1", "secret"), ("live", "secret", "t=1")),
            (("live?t=1", "secret?u=2"), ("live", "secret", "u=2")),
            (("live", "live/secret"), ("live", "secret", "")),
            (("", "live/secret"), ("live", "secret", "")),
            (("", "/live/room/mp4:secret"), ("live/room", "secret", "")),
            (("live/room", "room/secret"), ("live/room", "room/secret", "")),
            // What is not clear stays as it came.
            (("live/room", "secret"), ("live/room", "secret", "")),
            (("live", "room/secret"), ("live", "room/secret", "")),
            (("live", "secret%3Ft=1"), ("live", "secret%3Ft=1", "")),
            (("live", "mp5:secret"), ("live", "mp5:secret", "")),
            (("live", "live"), ("live", "live", "")),
            (("live", ""), ("live", "", "")),
            (("", "secret"), ("", "secret", "")),
            (("", ""), ("", "", "")),
            (("_definst_", "é:"), ("", "é:", "")),
        ];
        for ((app, name), (wants_app, wants_name, query)) in table {
            let wanted = (wants_app.to_owned(), wants_name.to_owned(), query.to_owned());
            assert_eq!(meant(app, name), wanted, "{app:?} {name:?}");
        }
    }
}
