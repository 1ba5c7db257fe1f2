//! Mixing: music under a publisher, samples of the program, and changes on the air, as a recording has them.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::Interrupt;
use flowcast::loudness::{Loudness, LoudnessFacts};
use flowcast::mix::{AudioFormat, MixInput, Mixer, MixerRef};
use flowcast::pull::Pull;
use flowcast::source::At;
use flowcast::{
    Config, Encoding, Engine, Error, EventKind, Output, Playlist, Profile, RtmpServerExt, Source,
    StreamHandle,
};
use kit::rig::{quickly, wait_event};
use kit::{
    Clip, Need, PATIENCE, directory, ffmpeg_publish, make, need, packet_hashes, run, text, wait_until,
};

use crate::assert_one_stream;
use crate::leveled::measured;

const RATE: f64 = 48_000.0;

/// The first channel of a file's sound, decoded.
fn sound(file: &Path, directory: &Path) -> Vec<f32> {
    let raw = directory.join("sound.f32");
    let arguments = [
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-i",
        text(file),
        "-map",
        "0:a:0",
        "-af",
        "pan=mono|c0=c0",
        "-ar",
        "48000",
    ];
    run("ffmpeg", arguments.into_iter().chain(["-f", "f32le", text(&raw)]), PATIENCE);
    let bytes = std::fs::read(raw).expect("it was written");
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

/// The level of a tone in samples, as an amplitude (Goertzel).
fn level(samples: &[f32], hertz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let (sin, cos) = (TAU * hertz * at as f64 / RATE).sin_cos();
        (re, im) = (re + f64::from(*sample) * cos, im + f64::from(*sample) * sin);
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

/// A file with a tone of this many hertz at half of full scale, ten seconds long.
fn tone(directory: &Path, name: &str, hertz: u32) -> PathBuf {
    let source = format!("-f lavfi -i aevalsrc=0.5*sin({hertz}*2*PI*t)|0.5*sin({hertz}*2*PI*t):s=44100:d=10");
    make(directory, name, &source)
}

fn wait_media(live: &StreamHandle, seconds: f64) {
    let begin = live.stats().media_time.as_millis() as f64;
    let done =
        wait_until(3 * PATIENCE, || live.stats().media_time.as_millis() as f64 >= begin + seconds * 1000.0);
    assert!(done, "{}", live.stats());
}

#[test]
fn a_publisher_keeps_its_picture_bit_for_bit_with_music_under_its_sound() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip { seconds: 6, ..Clip::default() }.make(directory.path(), "studio.mp4");
    let music = tone(directory.path(), "music.flac", 1000);
    let file = directory.path().join("mixed.flv");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    engine.keys().add("studio", "studio-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let mixer = Mixer::new().input("music", MixInput::playlist(Playlist::files([&music])).gain_db(-12.0));
    let source = Source::published("studio").once().with_mix(mixer);
    let live = engine.stream(source).to(Output::record(&file)).start().expect("it starts");
    let handle = live.mixer().expect("it is mixed");
    assert_eq!(handle.inputs(), ["source", "music"]);
    let mut publisher = ffmpeg_publish(&clip, &format!("rtmp://{}/live/studio-key", server.address()), 1);
    publisher.wait_success(3 * PATIENCE);
    live.wait_timeout(PATIENCE).expect("it ends with the publication").expect("it runs well");
    assert!(handle.has_ended() && live.mixer().is_none());
    let encoding = live.stats().encoding.expect("sound is encoded");
    assert_eq!((encoding.encoder.as_str(), encoding.dropped), ("aac", 0), "{encoding:?}");
    let (pictures, gap) = assert_one_stream(&file);
    assert!(pictures <= 41.0 && gap <= 23.0, "gaps of {pictures} and {gap} ms");
    let (sent, came) = (packet_hashes(&clip, "v"), packet_hashes(&file, "v"));
    let from = sent.iter().position(|hash| Some(hash) == came.first()).expect("a picture of the clip");
    assert_eq!(came, sent[from..], "every picture is what was published");
    assert!(came.len() >= 100, "{} pictures", came.len());
    let samples = sound(&file, directory.path());
    let own = level(&sound(&clip, directory.path())[48_000..48_000 + 96_000], 440.0);
    let middle = &samples[48_000..48_000 + 96_000];
    let (voice, music) = (level(middle, 440.0), level(middle, 1000.0));
    assert!((voice - own).abs() < 0.01 && own > 0.05, "the voice: {voice} for {own}");
    assert!((music - 0.5 * 10_f64.powf(-12.0 / 20.0)).abs() < 0.01, "the music: {music}");
}

#[test]
fn a_loop_is_mixed_with_files_and_samples_that_are_changed_on_the_air() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    // Without sound of its own: what is mixed is all there is.
    let clip = Clip { audio: false, ..Clip::default() }.make(directory.path(), "silent.mp4");
    let music = tone(directory.path(), "music.flac", 1000);
    let broken = directory.path().join("broken.mp3");
    std::fs::write(&broken, [7; 5000]).expect("a writable directory");
    let file = directory.path().join("mixed.flv");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let mixer = Mixer::new()
        .input("music", MixInput::playlist(Playlist::files([&broken, &music])))
        .input("program", MixInput::samples(AudioFormat::f32(48_000, 1)));
    let source = Source::file(&clip).looped().with_mix(mixer);
    // What is told right at the start is to be heard, too.
    let events = engine.events();
    let live = engine.stream(source).record(&file).start().expect("it starts");
    let mixer = live.mixer().expect("it is mixed");
    let mut sink = mixer.sink("program").expect("a sink");
    assert!(mixer.sink("program").is_err() && mixer.sink("music").is_err());
    let giver = std::thread::spawn(move || {
        let mut at = 0_u32;
        loop {
            let block: Vec<f32> = (at..at + 480)
                .map(|at| (0.25 * (TAU * 3000.0 * f64::from(at) / RATE).sin()) as f32)
                .collect();
            at += 480;
            match sink.send(&block[..]) {
                Ok(()) => {}
                Err(Error::Ended) => return at,
                Err(error) => panic!("{error}"),
            }
        }
    });
    wait_media(&live, 3.0);
    mixer.mute("music").expect("such an input");
    wait_media(&live, 3.0);
    mixer.unmute("music").expect("such an input");
    mixer.set_gain_db("program", f64::NEG_INFINITY).expect("such an input");
    wait_media(&live, 3.0);
    let stats = mixer.stats();
    assert_eq!(stats.inputs[1].playing.as_deref(), Some(music.as_path()), "{stats:?}");
    live.stop(PATIENCE).expect("it runs well");
    assert!(giver.join().expect("it was told of the end") >= 9 * 48_000 - 48_000);
    let skipped = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::ItemSkipped { path, .. } => Some(path.clone()),
        _ => None,
    });
    assert_eq!(skipped, broken);
    let (pictures, gap) = assert_one_stream(&file);
    assert!(pictures <= 41.0 && gap <= 23.0, "gaps of {pictures} and {gap} ms");
    let samples = sound(&file, directory.path());
    // Which of the two is heard in each tenth of a second.
    let mut heard: Vec<(bool, bool)> = samples
        .chunks_exact(4800)
        .map(|tenth| (level(tenth, 1000.0) > 0.2, level(tenth, 3000.0) > 0.05))
        .collect();
    heard.dedup();
    // The order of what is heard alone; where one changes, a tenth may hold both.
    let both_then_one_then_other = [(true, true), (false, true), (true, false)];
    let order: Vec<_> = heard.iter().filter(|heard| both_then_one_then_other.contains(heard)).collect();
    let mut order: Vec<_> = order.into_iter().copied().collect();
    order.dedup();
    assert!(order.ends_with(&[(true, false)]), "{heard:?}");
    assert!(both_then_one_then_other.iter().all(|one| order.contains(one)), "{heard:?}");
}

/// The median of the levels of a tone, over the tenths of a second in which it is heard and none of the others is.
fn alone(samples: &[f32], hertz: f64, others: &[f64]) -> Option<f64> {
    let is_alone = |tenth: &&[f32]| {
        level(tenth, hertz) > 0.01 && others.iter().all(|other| level(tenth, *other) < 0.002)
    };
    let mut levels: Vec<f64> =
        samples.chunks_exact(4800).filter(is_alone).map(|tenth| level(tenth, hertz)).collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied()
}

#[test]
fn files_of_a_mix_are_brought_to_one_loudness_in_front_of_their_gain() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip { audio: false, ..Clip::default() }.make(directory.path(), "silent.mp4");
    let file = directory.path().join("mixed.flv");
    // From about -34 to -3 LUFS.
    let tones = [(1000.0, 0.02), (2000.0, 0.7), (600.0, 0.1)];
    let items = tones.map(|(hertz, amplitude)| {
        let one = format!("{amplitude}*sin({hertz}*2*PI*t)");
        make(
            directory.path(),
            &format!("{hertz}.flac"),
            &format!("-f lavfi -i aevalsrc={one}|{one}:s=44100:d=3"),
        )
    });
    let mut wanted = Vec::new();
    for (item, (_, amplitude)) in items.iter().zip(tones) {
        // Known before they are played, whatever else this machine does.
        let facts = LoudnessFacts::measure(item, &Interrupt::new()).expect("it has sound");
        let (lufs, _) = measured(item, None);
        assert!((facts.integrated_lufs - lufs).abs() <= 0.1, "{facts:?}, by FFmpeg {lufs} LUFS");
        wanted.push((-14.0 - lufs, amplitude * 10_f64.powf((-14.0 - lufs - 6.0) / 20.0)));
    }
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let music = MixInput::playlist(Playlist::files(&items)).leveled(Loudness::default()).gain_db(-6.0);
    let source = Source::file(&clip).looped().with_mix(Mixer::new().input("music", music));
    let events = engine.events();
    let live = engine.stream(source).record(&file).start().expect("it starts");
    for (item, (gain, _)) in items.iter().zip(&wanted) {
        let told = wait_event(&events, 3 * PATIENCE, |event| match &event.kind {
            EventKind::Leveled { path, gain_db, .. } => Some((path.clone(), *gain_db)),
            EventKind::LoudnessUnknown { path, .. } => panic!("{} is not known", path.display()),
            _ => None,
        });
        assert!(told.0 == *item && (told.1 - gain).abs() < 0.2, "{told:?} for {gain} of {}", item.display());
    }
    // What is told is decoded a second ahead.
    wait_media(&live, 5.0);
    live.stop(PATIENCE).expect("it runs well");
    assert_one_stream(&file);
    let samples = sound(&file, directory.path());
    for ((hertz, _), (gain, wanted)) in tones.into_iter().zip(wanted) {
        let others: Vec<f64> = tones.map(|(hertz, _)| hertz).into_iter().filter(|at| *at != hertz).collect();
        let heard = alone(&samples, hertz, &others).unwrap_or(0.0);
        let off = 20.0 * (heard / wanted).log10();
        assert!(off.abs() < 0.5, "{hertz} Hz: {heard} for {wanted}, {off} dB off, by a gain of {gain} dB");
    }
}

/// A clip whose sound is a tone of this many hertz at a quarter of full scale.
fn clip_with_tone(directory: &Path, name: &str, hertz: u32, seconds: u32) -> PathBuf {
    let silent = Clip { audio: false, seconds, ..Clip::default() }.make(directory, &format!("silent-{name}"));
    let file = directory.join(name);
    let sound = format!("sine=frequency={hertz}:sample_rate=44100,volume=2");
    let mut arguments =
        vec!["-nostdin", "-v", "error", "-y", "-i", text(&silent), "-f", "lavfi", "-i", &sound];
    arguments
        .extend(["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "128k", "-ac", "2"]);
    run("ffmpeg", arguments.into_iter().chain(["-shortest", text(&file)]), PATIENCE);
    file
}

/// Waits until sound of an input comes, or is lost.
fn wait_live(events: &flowcast::Events, input: &str, is_live: bool) {
    wait_event(events, 3 * PATIENCE, |event| match &event.kind {
        EventKind::MixInputLive { input: name } => (is_live && name == input).then_some(()),
        EventKind::MixInputLost { input: name, .. } => (!is_live && name == input).then_some(()),
        _ => None,
    });
}

/// The tenths of a second of a sound in which a tone is heard, and in which it is not.
fn tenths(samples: &[f32], hertz: f64) -> (usize, usize) {
    let heard = samples.chunks_exact(4800).filter(|tenth| level(tenth, hertz) > 0.05).count();
    (heard, samples.len() / 4800 - heard)
}

/// Waits until an input is heard, or is silent, by its meter.
fn wait_heard(mixer: &MixerRef, index: usize, is_heard: bool) {
    let peak = || mixer.stats().inputs[index].peak_dbfs;
    let is_so = || if is_heard { peak() > -20.0 } else { peak() < -80.0 };
    assert!(wait_until(6 * PATIENCE, is_so), "{:?}", mixer.stats());
}

#[test]
fn the_sound_of_one_publisher_is_heard_under_the_picture_of_another_and_may_come_and_go() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = clip_with_tone(directory.path(), "host.mp4", 440, 2);
    let guest_clip = clip_with_tone(directory.path(), "guest.mp4", 1000, 2);
    let file = directory.path().join("talk.flv");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    for name in ["host", "guest"] {
        engine.keys().add(name, format!("{name}-key")).expect("a usable key");
    }
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let publish = |clip: &Path, name: &str| {
        ffmpeg_publish(clip, &format!("rtmp://{}/live/{name}-key", server.address()), 500)
    };
    let mixer = Mixer::new().input("guest", MixInput::published("guest"));
    // Few samples: a machine that is busy has to keep up.
    let mut encoding = Encoding::new(Profile::Default);
    (encoding.audio.sample_rate, encoding.audio.channels) = (Some(24_000), Some(1));
    let source = Source::published("host").once().with_mix(mixer).encoding(encoding);
    let live = engine.stream(source).to(Output::record(&file)).start().expect("it starts");
    let (events, mixer) = (live.events(), live.mixer().expect("it is mixed"));
    assert_eq!(mixer.stats().inputs[1].live, Some(false));
    let mut host = publish(&clip, "host");
    wait_heard(&mixer, 0, true);
    for _ in 0..2 {
        let mut guest = publish(&guest_clip, "guest");
        wait_live(&events, "guest", true);
        wait_heard(&mixer, 1, true);
        let stats = mixer.stats();
        assert!(stats.inputs[1].waiting.as_millis() <= 500, "{stats:?}");
        // Killed: nobody is waited for.
        guest.kill();
        wait_live(&events, "guest", false);
        wait_heard(&mixer, 1, false);
        wait_heard(&mixer, 0, true);
    }
    host.interrupt(PATIENCE);
    live.wait_timeout(3 * PATIENCE).expect("it ends with the publication").expect("it runs well");
    assert_one_stream(&file);
    // All pictures are those of the host, lap after lap; a machine that does not keep up leaves some out.
    let (sent, came) = (packet_hashes(&clip, "v"), packet_hashes(&file, "v"));
    let from = sent.iter().position(|hash| Some(hash) == came.first()).expect("a picture of the clip");
    let mut laps = sent.iter().cycle().skip(from);
    let most = if live.stats().encoding.is_none_or(|encoding| encoding.dropped > 0) { sent.len() } else { 1 };
    let is_next = |hash: &String| laps.by_ref().take(most).any(|sent| sent == hash);
    assert!(came.iter().all(is_next), "every picture is what the host published, in its order");
    let (heard, silent) = tenths(&sound(&file, directory.path()), 1000.0);
    assert!(heard >= 2 && silent >= 5, "the guest is heard in {heard} tenths, and not in {silent}");
}

#[test]
fn a_stream_of_another_server_is_heard_and_comes_back() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip { audio: false, ..Clip::default() }.make(directory.path(), "silent.mp4");
    let guest = clip_with_tone(directory.path(), "guest.mp4", 1000, 2);
    let file = directory.path().join("mixed.flv");
    // The origin: another engine, which loops a file on its server.
    let origin = Engine::new(Config::default()).expect("the defaults work");
    let server = origin.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let play = || {
        let live = origin.stream(Source::file(&guest).looped()).to(Output::publish("guest")).start();
        live.expect("it starts")
    };
    let playing = play();
    let address = server.address();
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let pull = Pull::url(&format!("rtmp://{address}/live/guest")).reconnect(quickly());
    let mixer = Mixer::new().input("guest", MixInput::pull(pull));
    let events = engine.events();
    let live = engine.stream(Source::file(&clip).looped().with_mix(mixer)).record(&file).start();
    let live = live.expect("it starts");
    wait_live(&events, "guest", true);
    wait_media(&live, 3.0);
    playing.stop(PATIENCE).expect("it runs well");
    wait_live(&events, "guest", false);
    wait_media(&live, 2.0);
    let playing = play();
    wait_live(&events, "guest", true);
    wait_media(&live, 3.0);
    let stats = live.mixer().expect("it is mixed").stats();
    live.stop(PATIENCE).expect("it runs well");
    playing.stop(PATIENCE).expect("it runs well");
    let (pictures, gap) = assert_one_stream(&file);
    assert!(pictures <= 41.0 && gap <= 24.0, "gaps of {pictures} and {gap} ms");
    let (heard, silent) = tenths(&sound(&file, directory.path()), 1000.0);
    assert!(heard >= 40 && silent >= 10, "heard in {heard} tenths, and not in {silent}: {stats:?}");
}

#[test]
fn a_mixer_is_that_of_the_source_on_the_air() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let mixed = |name: &str| {
        let mixer = Mixer::new().input(name, MixInput::source());
        Source::file(&clip).looped().with_mix(mixer)
    };
    let name = |live: &StreamHandle| live.mixer().map(|mixer| mixer.inputs().remove(0));
    let live =
        engine.stream(mixed("first")).record(directory.path().join("mixed.flv")).start().expect("it starts");
    wait_media(&live, 1.0);
    // Nobody publishes that: it is opened, and never on the air.
    let nobody = Source::published("nobody").with_mix(Mixer::new().input("nobody", MixInput::source()));
    let replacing =
        live.replace_source_within(nobody, At::NextKeyframe, Duration::from_secs(2)).expect("it is opened");
    assert_eq!(name(&live).as_deref(), Some("first"));
    assert!(replacing.wait().is_err());
    assert_eq!(name(&live).as_deref(), Some("first"));
    live.replace_source(mixed("second"), At::NextKeyframe)
        .expect("it is opened")
        .wait()
        .expect("it takes over");
    assert_eq!(name(&live).as_deref(), Some("second"));
    live.replace_source(Source::file(&clip).looped(), At::NextKeyframe)
        .expect("it is opened")
        .wait()
        .expect("it takes over");
    assert_eq!(name(&live), None);
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_stream_that_would_hear_itself_is_refused() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let hears = |name: &str| Mixer::new().input("echo", MixInput::published(name));
    let source = Source::published("studio").with_mix(hears("show"));
    let live = engine.stream(source).without_outputs().start().expect("it starts");
    let refused = live.add_output(Output::publish("show")).expect_err("it would hear itself");
    assert!(matches!(&refused, Error::FeedsItself { name } if name == "show"), "{refused}");
    live.stop(PATIENCE).expect("it runs well");
    let live =
        engine.stream(Source::published("studio")).to(Output::publish("show")).start().expect("it starts");
    let refused = live.replace_source(Source::published("studio").with_mix(hears("show")), At::NextKeyframe);
    assert!(matches!(refused.err(), Some(Error::FeedsItself { .. })));
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_mixer_that_cannot_work_is_refused_at_the_start() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let samples = || MixInput::samples(AudioFormat::f32(48_000, 2));
    for (mixer, setting) in [
        (Mixer::new().input("a", samples().gain_db(40.0)), "mixer.gain_db"),
        (Mixer::new().input("a", samples().duck_under("b")), "mixer.ducking"),
        (Mixer::new().input("a", samples()).input("a", samples()), "mixer.input"),
        (
            Mixer::new().input("a", MixInput::pull(Pull::url("rtmp://host/live/a").silence(Duration::ZERO))),
            "silence",
        ),
    ] {
        let refused =
            engine.stream(Source::published("studio").with_mix(mixer)).without_outputs().start().err();
        assert!(matches!(&refused, Some(Error::Config { name, .. }) if *name == setting), "{refused:?}");
    }
    let source = Source::published("studio").with_mix(Mixer::new());
    let live = engine.stream(source).without_outputs().start().expect("it starts before anybody publishes");
    assert!(live.mixer().is_some_and(|mixer| mixer.set_gain_db("voice", 0.0).is_err()));
    live.mixer().expect("it is mixed").fade("source", -20.0, Duration::from_secs(1)).expect("its own sound");
    live.stop(PATIENCE).expect("it runs well");
    assert!(live_is_unmixed(&engine));
}

fn live_is_unmixed(engine: &Engine) -> bool {
    let live = engine.stream(Source::published("other")).without_outputs().start().expect("it starts");
    let mixer = live.mixer();
    live.stop(PATIENCE).expect("it runs well");
    mixer.is_none()
}
