//! Addresses of servers that name a stream by one word, or know no apps.

use flowcast::{Output, RtmpServerExt, Source};

use kit::acted::{Acted, Answer};
use kit::rig::{Known, engine, outputs};
use kit::{Need, PATIENCE, need, run, text, wait_until};

/// Paths, and the app and the name that ffmpeg makes of them.
const PATHS: [(&str, &str, &str); 7] = [
    ("/mystream", "mystream", ""),
    ("/mystream?user=a&pass=b", "mystream?user=a&pass=b", ""),
    ("/live/", "live", ""),
    ("/live/key", "live", "key"),
    ("/live/key?token=1", "live", "key?token=1"),
    ("/live/sub/key", "live/sub", "key"),
    ("//key", "", "key"),
];

fn said(server: &Acted) -> (String, String, Vec<Option<String>>) {
    let visits = server.visits();
    let visit = visits.first().expect("a connection");
    let names = ["releaseStream", "FCPublish", "publish"].map(|command| visit.name(command));
    (visit.connect("app"), visit.connect("tcUrl"), names.to_vec())
}

#[test]
fn an_address_is_taken_as_ffmpeg_takes_it() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let has_ffmpeg = need(&[Need::Ffmpeg]);
    for (path, app, name) in PATHS {
        let server = Acted::start(|_, _| Answer::Usual);
        let url = format!("rtmp://{}{path}", server.address());
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(Output::rtmp_url(&url))
            .start()
            .expect("it starts");
        assert!(server.wait_tags(0, 20), "{path}");
        live.stop(PATIENCE).expect("it stops");
        let ours = said(&server);
        let names = vec![Some(name.to_owned()); 3];
        assert_eq!(ours, (app.to_owned(), format!("rtmp://{}/{app}", server.address()), names), "{path}");
        if has_ffmpeg {
            let peer = Acted::start(|_, _| Answer::Usual);
            let url = format!("rtmp://{}{path}", peer.address());
            run(
                "ffmpeg",
                ["-nostdin", "-v", "error", "-i", text(&clip.file), "-c", "copy", "-f", "flv", &url],
                PATIENCE,
            );
            let (app, tc_url, names) = said(&peer);
            let tc_url = tc_url.replace(&peer.address().to_string(), &server.address().to_string());
            assert_eq!(ours, (app, tc_url, names), "{path}: ffmpeg does otherwise");
        }
    }
}

#[test]
fn a_server_without_apps_is_given_the_key_alone() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for end in ["", "/"] {
        let server = Acted::start(|_, _| Answer::Usual);
        let output = Output::rtmp(&format!("rtmp://{}{end}", server.address()), "mystream?user=a&pass=b");
        let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
        assert!(server.wait_tags(0, 20));
        assert_eq!(outputs(&live).len(), 1);
        let shown = live.stats().outputs[0].name.clone();
        assert_eq!(shown, format!("rtmp://{}/****", server.address()));
        live.stop(PATIENCE).expect("it stops");
        let names = vec![Some("mystream?user=a&pass=b".to_owned()); 3];
        assert_eq!(said(&server), (String::new(), format!("rtmp://{}/", server.address()), names));
    }
}

#[test]
fn our_own_server_takes_them_where_any_app_will_do() {
    let clip = Known::small();
    let engine = engine(|_| {});
    engine.keys().add("studio", "a-stream-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").options(|options| options.app = None);
    let server = server.start().expect("it listens");
    let host = format!("rtmp://{}", server.address());
    for output in [
        Output::rtmp_url(&format!("{host}/a-stream-key")),
        Output::rtmp_url(&format!("{host}/live/a-stream-key/")),
        Output::rtmp_url(&format!("{host}//a-stream-key")),
        Output::rtmp(&host, "a-stream-key"),
    ] {
        let shown = format!("{output:?}");
        let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
        let on_air = || engine.hub().find("studio").is_some();
        assert!(wait_until(PATIENCE, on_air), "{shown}: {:?}", live.stats().outputs);
        live.stop(PATIENCE).expect("it stops");
        assert!(wait_until(PATIENCE, || engine.hub().find("studio").is_none()));
    }
}
