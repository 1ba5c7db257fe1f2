//! What can be said of a pull before it is dialled.

use super::*;

fn codes(pull: &Pull) -> Vec<String> {
    pull.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn all_that_cannot_work_is_found_at_once() {
    assert!(codes(&Pull::url("rtmp://origin/live/show")).is_empty());
    let policy = ReconnectPolicy { tries: Some(0), ..ReconnectPolicy::default() };
    let wrong = Pull::url("ftp://origin/live").or("rtmp://:1/").silence(Duration::ZERO);
    let wrong = wrong.hold(Duration::from_secs(90_000)).first_media(Duration::from_millis(1));
    let found = codes(&wrong.reconnect(policy));
    let names = ["rtmp://", "host", "first_media", "silence", "hold", "tries"];
    assert_eq!(found.len(), names.len(), "{found:?}");
    for (found, name) in found.iter().zip(names) {
        assert!(found.contains(name), "{found} has no {name}");
    }
}

#[cfg(feature = "serde")]
mod written {
    use serde_json::json;

    use super::*;
    use crate::source::{Source, WithKey};

    #[test]
    fn it_is_a_url_or_a_table_and_comes_back_as_it_was() {
        let url = "rtmp://user:secret@origin/live/show?token=abc";
        let policy = ReconnectPolicy { cap: Duration::from_secs(5), ..ReconnectPolicy::default() };
        let pulls = [
            Pull::url("rtmp://origin/show"),
            Pull::url(url),
            Pull::url("rtmps://origin:8443/a/b/show")
                .reach(Reach::public().and("10.0.0.0/8".parse().expect("a network")))
                .silence(Duration::from_secs(3))
                .hold(Duration::ZERO)
                .reconnect(policy),
            #[cfg(feature = "libav")]
            Pull::url("https://user:secret@origin/"),
            #[cfg(feature = "libav")]
            Pull::url("srt://origin:9000?streamid=show&passphrase=abcabcabcabc"),
            Pull::url("rtmp://origin/show")
                .or("rtmp://other/live/show?token=abc")
                .first_media(Duration::from_secs(2)),
        ];
        for pull in pulls {
            for source in [Source::pull(pull.clone()), Source::pull(pull.clone()).once()] {
                let shown = serde_json::to_value(WithKey(&source)).expect("it can be written");
                let again: Source = serde_json::from_value(shown.clone()).unwrap_or_else(|error| {
                    panic!("{shown}: {error}");
                });
                assert_eq!(again, source, "{shown}");
                // Without what is secret it says so when it is checked.
                let hidden = serde_json::to_value(&source).expect("it can be written");
                assert!(
                    !hidden.to_string().contains("secret") && !hidden.to_string().contains("abc"),
                    "{hidden}"
                );
                let read: Source = serde_json::from_value(hidden.clone()).expect("it can be read");
                let found: Vec<_> = read.problems().iter().map(ToString::to_string).collect();
                assert!(found.iter().any(|problem| problem.contains("hidden")), "{hidden}: {found:?}");
            }
        }
        let short = serde_json::to_value(WithKey(&Source::url(url))).expect("it can be written");
        assert_eq!(short, json!({ "pull": url }));
        let wrong = serde_json::from_value::<Source>(json!({"pull": {"url": url, "retry": 3}}));
        let error = wrong.expect_err("there is no such setting").to_string();
        assert!(error.contains("a pull is a URL, or a table"), "{error}");
        let both = serde_json::from_value::<Source>(json!({"pull": url, "file": "a.mp4"}));
        assert!(both.expect_err("one of them").to_string().contains("only one of"));
    }
}
