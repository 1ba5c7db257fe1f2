//! Settings of outputs, and of the engine for them, that cannot work or would be accepted without any effect.

use std::time::Duration;

use flowcast::config::{ReconnectPolicy, TlsRoots};
use flowcast::{Config, Engine, Error, Existing, Output, Source};

use kit::own_address;
use kit::rig::{Known, engine};

type Change = fn(&mut ReconnectPolicy);

/// What cannot work, and the field that is named.
const POLICIES: [(Change, &str); 9] = [
    (|policy| policy.tries = Some(0), "reconnect.tries"),
    (|policy| policy.factor = 0.5, "reconnect.factor"),
    (|policy| policy.factor = -1.0, "reconnect.factor"),
    (|policy| policy.factor = f64::NAN, "reconnect.factor"),
    (|policy| policy.factor = f64::INFINITY, "reconnect.factor"),
    (|policy| policy.first = Duration::ZERO, "reconnect.first"),
    (|policy| policy.first = policy.cap + Duration::from_millis(1), "reconnect.first"),
    (|policy| policy.cap = Duration::from_secs(3601), "reconnect.cap"),
    (|policy| (policy.tries, policy.refusals) = (Some(2), Some(3)), "reconnect.refusals"),
];

#[track_caller]
fn name_of<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Config { name, reason }) => {
            assert!(!reason.is_empty());
            name
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn policies_that_cannot_work_are_refused_where_they_are_said() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::publish("beside"))
        .start()
        .expect("it starts");
    let url = format!("rtmp://{}/live", own_address());
    for (change, field) in POLICIES {
        let mut policy = ReconnectPolicy::default();
        change(&mut policy);
        let output = Output::rtmp(&url, "key").reconnect(policy.clone());
        let kept = clip.beside("kept.flv");
        let builder = engine.stream(Source::file(&clip.file)).record(&kept).to(output.clone());
        assert_eq!(name_of(builder.start()), field);
        assert!(!kept.exists(), "{field}: something was made before it was refused");
        assert_eq!(name_of(live.add_output(output)), field);
        let mut config = Config::default();
        config.reconnect = policy;
        assert_eq!(name_of(Engine::new(config)), field);
    }
    // What is unusual and works.
    let mut policy = ReconnectPolicy::default();
    (policy.factor, policy.cap, policy.tries, policy.refusals) = (1.0, policy.first, Some(1), Some(0));
    live.add_output(Output::rtmp(&url, "key").reconnect(policy)).expect("it is added");
}

#[test]
fn settings_of_a_push_are_refused_for_other_outputs() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::publish("beside"))
        .start()
        .expect("it starts");
    let kept = clip.beside("kept.flv");
    for of in
        [|kept: &std::path::Path| Output::record(kept), |_: &std::path::Path| Output::publish("another")]
    {
        for (output, setting) in [
            (of(&kept).reconnect(ReconnectPolicy::default()), "reconnect"),
            (of(&kept).tls_roots(TlsRoots::Platform), "tls_roots"),
            (of(&kept).enhanced(), "enhanced"),
            (of(&kept).enhanced_always(), "enhanced_always"),
        ] {
            let builder = engine.stream(Source::file(&clip.file)).to(output.clone());
            assert_eq!(name_of(builder.start()), setting);
            assert_eq!(name_of(live.add_output(output)), setting);
            assert!(!kept.exists() && engine.hub().find("another").is_none());
        }
    }
    // And the other way round.
    for output in [Output::publish("another"), Output::rtmp(&format!("rtmp://{}/live", own_address()), "key")]
    {
        assert_eq!(name_of(live.add_output(output.existing(Existing::Replace))), "existing");
    }
    assert_eq!(engine.running(), 1);
}

#[test]
fn an_engine_that_could_do_nothing_is_refused() {
    type Setting = (fn(&mut Config), &'static str);
    let cases: [Setting; 11] = [
        (|config| config.max_streams = 0, "max_streams"),
        (|config| config.max_streams_per_owner = 0, "max_streams_per_owner"),
        (|config| config.players_per_thread = 0, "players_per_thread"),
        (|config| config.lag.drop_after = Duration::ZERO, "lag"),
        (|config| config.lag.stall_after = Duration::ZERO, "lag"),
        (|config| config.backlog.tags = 0, "backlog"),
        (|config| config.backlog.bytes = 0, "backlog"),
        (|config| config.backlog.media = Duration::ZERO, "lag.skip_after"),
        (|config| config.read_ahead.items = 0, "read_ahead"),
        (|config| config.read_ahead.bytes = 0, "read_ahead"),
        (|config| config.read_ahead.media = Duration::ZERO, "read_ahead"),
    ];
    for (change, field) in cases {
        let mut config = Config::default();
        change(&mut config);
        assert_eq!(name_of(Engine::new(config)), field);
    }
}
