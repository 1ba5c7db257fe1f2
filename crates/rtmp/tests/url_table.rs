//! URLs as platforms give them out, and as users break them.
#![allow(clippy::unwrap_used, reason = "tests")]

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::{Destination, Scheme, UrlError, UrlPart};

/// URL, scheme, host, port, app, key, tcUrl, as shown.
type Row = (&'static str, Scheme, &'static str, u16, &'static str, &'static str, &'static str, &'static str);

const FULL: &[Row] = &[
    // YouTube, primary, backup and over TLS
    (
        "rtmp://a.rtmp.youtube.com/live2/abcd-efgh",
        Scheme::Rtmp,
        "a.rtmp.youtube.com",
        1935,
        "live2",
        "abcd-efgh",
        "rtmp://a.rtmp.youtube.com/live2",
        "rtmp://a.rtmp.youtube.com/live2/****",
    ),
    (
        "rtmp://b.rtmp.youtube.com/live2?backup=1/abcd-efgh",
        Scheme::Rtmp,
        "b.rtmp.youtube.com",
        1935,
        "live2?backup=1",
        "abcd-efgh",
        "rtmp://b.rtmp.youtube.com/live2?backup=1",
        "rtmp://b.rtmp.youtube.com/live2?****/****",
    ),
    (
        "RTMPS://a.rtmps.youtube.com:443/live2/abcd-efgh",
        Scheme::Rtmps,
        "a.rtmps.youtube.com",
        443,
        "live2",
        "abcd-efgh",
        "rtmps://a.rtmps.youtube.com/live2",
        "rtmps://a.rtmps.youtube.com/live2/****",
    ),
    // Facebook
    (
        "rtmps://live-api-s.facebook.com:443/rtmp/FB-123-0-Abc?s_bl=1&s_sw=0",
        Scheme::Rtmps,
        "live-api-s.facebook.com",
        443,
        "rtmp",
        "FB-123-0-Abc?s_bl=1&s_sw=0",
        "rtmps://live-api-s.facebook.com/rtmp",
        "rtmps://live-api-s.facebook.com/rtmp/****",
    ),
    // Twitch
    (
        "rtmp://live.twitch.tv/app/live_1_a?bandwidthtest=true",
        Scheme::Rtmp,
        "live.twitch.tv",
        1935,
        "app",
        "live_1_a?bandwidthtest=true",
        "rtmp://live.twitch.tv/app",
        "rtmp://live.twitch.tv/app/****",
    ),
    // A slash in the key's own query does not end the app
    (
        "rtmp://h/live/key?sign=a/b",
        Scheme::Rtmp,
        "h",
        1935,
        "live",
        "key?sign=a/b",
        "rtmp://h/live",
        "rtmp://h/live/****",
    ),
    // Nested app
    (
        "rtmp://10.0.0.1:1936/live/sub/key?x=1",
        Scheme::Rtmp,
        "10.0.0.1",
        1936,
        "live/sub",
        "key?x=1",
        "rtmp://10.0.0.1:1936/live/sub",
        "rtmp://10.0.0.1:1936/live/sub/****",
    ),
    // IPv6; the other scheme's port is not the default
    (
        "rtmp://[2001:db8::1]/live/k",
        Scheme::Rtmp,
        "2001:db8::1",
        1935,
        "live",
        "k",
        "rtmp://[2001:db8::1]/live",
        "rtmp://[2001:db8::1]/live/****",
    ),
    (
        "rtmps://[::1]:1935/live/k",
        Scheme::Rtmps,
        "::1",
        1935,
        "live",
        "k",
        "rtmps://[::1]:1935/live",
        "rtmps://[::1]:1935/live/****",
    ),
    // User information is neither sent in tcUrl nor shown
    (
        "rtmp://user:p@ss@host:80/live/k",
        Scheme::Rtmp,
        "host",
        80,
        "live",
        "k",
        "rtmp://host:80/live",
        "rtmp://****@host:80/live/****",
    ),
    // Without an app, as servers like MediaMTX and go2rtc name streams
    (
        "rtmp://h//key?user=a&pass=b",
        Scheme::Rtmp,
        "h",
        1935,
        "",
        "key?user=a&pass=b",
        "rtmp://h/",
        "rtmp://h/****",
    ),
    // Slashes too many
    ("rtmp://h//live//k", Scheme::Rtmp, "h", 1935, "live", "k", "rtmp://h/live", "rtmp://h/live/****"),
];

#[test]
fn full_urls() {
    for &(url, scheme, host, port, app, key, tc_url, shown) in FULL {
        let parsed = Destination::parse(url).unwrap();
        let parts = (parsed.scheme(), parsed.host(), parsed.port(), parsed.app(), parsed.key().reveal());
        assert_eq!(parts, (scheme, host, port, app, key), "{url}");
        assert_eq!(parsed.tc_url(), tc_url);
        assert_eq!(parsed.to_string(), shown);
        assert_eq!(format!("{parsed:?}"), format!("Destination({shown})"));
        assert_eq!(url.parse::<Destination>().as_ref(), Ok(&parsed));
        // The server's URL and the key apart lead to the same place.
        if parsed.userinfo().is_none() {
            assert_eq!(Destination::with_key(&parsed.tc_url(), StreamKey::from(key)), Ok(parsed));
        }
    }
    let parsed = Destination::parse("rtmp://user:p@ss@host:80/live/k").unwrap();
    assert_eq!(parsed.userinfo().map(StreamKey::reveal), Some("user:p@ss"));
}

#[test]
fn server_and_key_apart() {
    let apps = [
        ("rtmp://h/live", "live"),
        ("rtmp://h/live/", "live"),
        ("rtmps://x.global-contribute.live-video.net:443/app/", "app"),
        ("rtmp://h/live2?backup=1", "live2?backup=1"),
        ("rtmp://h/a/b/c", "a/b/c"),
    ];
    for (url, app) in apps {
        let destination = Destination::with_key(url, "k?q=/1".into()).unwrap();
        assert_eq!((destination.app(), destination.key().reveal()), (app, "k?q=/1"));
    }
    let missing = |part| Err(UrlError::Missing(part));
    assert_eq!(Destination::with_key("rtmp://h/live", "".into()), missing(UrlPart::Key));
    for url in ["rtmp://h", "rtmp://h/", "rtmp://h//"] {
        let destination = Destination::with_key(url, "k?t=1".into()).unwrap();
        let parts = (destination.app(), destination.key().reveal(), destination.tc_url());
        assert_eq!(parts, ("", "k?t=1", "rtmp://h/".to_owned()), "{url}");
        assert_eq!(Destination::with_key(url, "".into()), missing(UrlPart::Key), "{url}");
    }
    assert_eq!(Destination::with_key("rtmp://h?backup=1", "k".into()), missing(UrlPart::App));
}

/// URL, app, tcUrl, as shown: the app names the stream, as ffmpeg takes it.
#[test]
fn urls_without_a_key() {
    let cases = [
        ("rtmp://h/SECRET", "SECRET", "rtmp://h/SECRET", "rtmp://h/****"),
        (
            "rtmp://h:1936/SECRET?user=a&pass=b",
            "SECRET?user=a&pass=b",
            "rtmp://h:1936/SECRET?user=a&pass=b",
            "rtmp://h:1936/****?****",
        ),
        ("rtmps://h/live2?backup=1", "live2?backup=1", "rtmps://h/live2?backup=1", "rtmps://h/****?****"),
        ("rtmp://h/SECRET/", "SECRET", "rtmp://h/SECRET", "rtmp://h/****"),
        ("rtmp://h/live/SECRET/", "live/SECRET", "rtmp://h/live/SECRET", "rtmp://h/live/****"),
        ("rtmp://u:p@[::1]/SECRET", "SECRET", "rtmp://[::1]/SECRET", "rtmp://****@[::1]/****"),
    ];
    for (url, app, tc_url, shown) in cases {
        let parsed = Destination::parse(url).unwrap();
        assert_eq!(
            (parsed.app(), parsed.key().reveal(), parsed.tc_url().as_str()),
            (app, "", tc_url),
            "{url}"
        );
        assert_eq!(parsed.to_string(), shown);
    }
}

#[test]
fn a_login_is_decoded_and_goes_along_to_another_server() {
    let login = |userinfo: &str| {
        let login = Destination::parse(&format!("rtmp://{userinfo}@h/live/k")).unwrap().login().unwrap();
        (login.0, login.1.reveal().to_owned())
    };
    let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
    assert_eq!(login("joe:pass"), pair("joe", "pass"));
    assert_eq!(login("joe"), pair("joe", ""));
    assert_eq!(login("joe:a:b"), pair("joe", "a:b"));
    assert_eq!(login("joe%40x:p%2Fq%3fr%25"), pair("joe@x", "p/q?r%"));
    assert_eq!(login("100%:50%x%zz"), pair("100%", "50%x%zz"));
    assert_eq!(login("a%ff:b"), pair("a%ff", "b"));
    assert_eq!(Destination::parse("rtmp://h/live/k").unwrap().login(), None);

    let home = Destination::parse("rtmp://joe:SECRET@h/live/k").unwrap();
    let moved = home.moved_to("rtmp://edge:1936/live?x=1").unwrap();
    assert_eq!((moved.host(), moved.app(), moved.key()), ("edge", "live?x=1", home.key()));
    assert_eq!(moved.userinfo(), None, "another server is not told them");
    for same in ["rtmp://h/other", "rtmp://h:1935/live?x=1"] {
        assert_eq!(home.moved_to(same).unwrap().userinfo(), home.userinfo(), "{same}");
    }
    for other in ["rtmps://h/live", "rtmp://h:1936/live"] {
        assert_eq!(home.moved_to(other).unwrap().userinfo(), None, "{other}");
    }
    assert_eq!(home.on_server("rtmp://edge/live").unwrap().userinfo(), home.userinfo());
    let moved = home.moved_to("rtmp://other@edge/live").unwrap();
    assert_eq!(moved.userinfo().map(StreamKey::reveal), Some("other"));
    let keyless = Destination::parse("rtmp://h/stream").unwrap();
    assert_eq!(keyless.moved_to("rtmp://edge/stream").unwrap().to_string(), "rtmp://edge/****");
}

#[test]
fn bad_urls() {
    let missing = UrlError::Missing;
    let long_host = format!("rtmp://{}/app/SECRET", "h".repeat(254));
    let long_app = format!("rtmp://h/{}/SECRET", "a".repeat(1025));
    let long_key = format!("rtmp://h/app/SECRET{}", "k".repeat(2048));
    let too_long = |part, length, limit| UrlError::TooLong { part, length, limit };
    let cases: &[(&str, UrlError)] = &[
        ("", UrlError::Scheme),
        ("SECRET", UrlError::Scheme),
        ("h/app/SECRET", UrlError::Scheme),
        ("http://h/app/SECRET", UrlError::Scheme),
        ("rtmpt://h/app/SECRET", UrlError::Scheme),
        (" rtmp://h/app/SECRET", UrlError::Scheme),
        ("rtmp:/h/app/SECRET", UrlError::Scheme),
        ("rtmp:///app/SECRET", missing(UrlPart::Host)),
        ("rtmp://:1935/app/SECRET", missing(UrlPart::Host)),
        ("rtmp://user@/app/SECRET", missing(UrlPart::Host)),
        ("rtmp://h", missing(UrlPart::App)),
        ("rtmp://h/", missing(UrlPart::App)),
        ("rtmp://h//", missing(UrlPart::App)),
        ("rtmp://h/?token=SECRET", missing(UrlPart::App)),
        ("rtmp://h?backup=1/SECRET", missing(UrlPart::App)),
        ("rtmp://h:/app/SECRET", UrlError::Port),
        ("rtmp://h:0/app/SECRET", UrlError::Port),
        ("rtmp://h:65536/app/SECRET", UrlError::Port),
        ("rtmp://h:+80/app/SECRET", UrlError::Port),
        ("rtmp://h:SECRET/app/x", UrlError::Port),
        ("rtmp://::1/app/SECRET", missing(UrlPart::Host)),
        ("rtmp://fe80::1/app/SECRET", UrlError::Port),
        ("rtmp://[::1/app/SECRET", UrlError::Host),
        ("rtmp://[h]/app/SECRET", UrlError::Host),
        ("rtmp://[::1]x/app/SECRET", UrlError::Host),
        ("rtmp://h%00/app/SECRET", UrlError::Host),
        ("rtmp://b\u{fc}cher/app/SECRET", UrlError::Host),
        ("rtmp://h h/app/SECRET", UrlError::Character { part: UrlPart::Host, offset: 1 }),
        ("rtmp://h/a\0b/SECRET", UrlError::Character { part: UrlPart::App, offset: 1 }),
        ("rtmp://h/app/SECRET\n", UrlError::Character { part: UrlPart::Key, offset: 6 }),
        ("rtmp://h/app/SECRET\u{a0}", UrlError::Character { part: UrlPart::Key, offset: 6 }),
        ("rtmp://us er@h/app/SECRET", UrlError::Character { part: UrlPart::UserInfo, offset: 2 }),
        (&long_host, too_long(UrlPart::Host, 254, 253)),
        (&long_app, too_long(UrlPart::App, 1025, 1024)),
        (&long_key, too_long(UrlPart::Key, 2054, 2048)),
    ];
    for (url, expected) in cases {
        let error = Destination::parse(url).expect_err(url);
        assert_eq!(error, *expected, "{url:?}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let urls = ["rtmp://SECRET:SECRET@h/app/SECRET?SECRET", "rtmps://h:1/app?token=SECRET/SECRET"];
    for url in urls {
        let destination = Destination::parse(url).unwrap();
        for shown in [format!("{destination}"), format!("{destination:?}"), format!("{destination:#?}")] {
            assert!(!shown.contains("SECRET") && shown.contains("****"), "{shown}");
        }
    }
}
