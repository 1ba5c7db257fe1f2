//! Addresses of origins with a place for the name.

use std::fmt;

use flowcast_rtmp::url::Destination;

const NAME: &str = "{name}";
const APP: &str = "{app}";

/// An address in which only the name is missing.
#[derive(Clone)]
pub(super) struct Template(String);

impl Template {
    /// With the application put in.
    pub(super) fn new(url: &str, app: Option<&str>) -> Result<Self, &'static str> {
        let mut url = url.to_owned();
        if url.contains(APP) {
            let app = app.ok_or(
                "`{app}`: the server accepts any application, and finds streams by their names alone",
            )?;
            url = url.replace(APP, app);
        }
        if !url.contains(NAME) {
            if url.contains('?') {
                return Err("a URL with a query needs `{name}`, where the name is to stand");
            }
            url = format!("{}/{NAME}", url.trim_end_matches('/'));
        }
        let made = url.replace(NAME, "name");
        if made.contains(['{', '}']) {
            return Err("only `{name}` and `{app}` can stand for something");
        }
        match Destination::parse(&made) {
            // The host may not be what strangers say.
            Ok(_) if is_in_authority(&url) => Err("`{name}` cannot stand in the host"),
            Ok(_) => Ok(Self(url)),
            Err(_) => Err("an origin is a URL: rtmp://host/app/{name} or rtmps://host/app/{name}"),
        }
    }

    /// The address of the stream `name`, which is a usable one.
    pub(super) fn of(&self, name: &str) -> String {
        self.0.replace(NAME, name)
    }
}

/// Whether the name stands before the path.
fn is_in_authority(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().is_some_and(|authority| authority.contains(NAME))
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stands_where_it_is_wanted_or_at_the_end() {
        let of = |url: &str| Template::new(url, Some("live")).map(|template| template.of("show"));
        for (url, expected) in [
            ("rtmp://origin/live", "rtmp://origin/live/show"),
            ("rtmp://origin/live/", "rtmp://origin/live/show"),
            ("rtmp://origin/{app}/{name}", "rtmp://origin/live/show"),
            ("rtmp://u:p@origin:1936/a/{name}?t={name}", "rtmp://u:p@origin:1936/a/show?t=show"),
            ("rtmps://origin/{name}", "rtmps://origin/show"),
        ] {
            assert_eq!(of(url).as_deref(), Ok(expected));
        }
        for url in [
            "rtmp://{name}/live",
            "rtmp://{name}.example.com/live/{name}",
            "rtmp://{name}@origin/live",
            "origin",
            "",
        ] {
            assert!(of(url).is_err(), "{url}");
        }
    }
}
