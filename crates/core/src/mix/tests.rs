//! Mixes against a reference in 64 bits, and what is heard of changes.

use std::f64::consts::TAU;

use super::control::MixFormat;
use super::desk::Desk;
use super::handle::MixerRef;
use super::level::amplitude;
use super::settings::{Ducking, MixInput, Mixer};
use crate::error::Error;
use crate::sound_format::AudioFormat;

const RATE: u32 = 48_000;
const FORMAT: MixFormat = MixFormat { rate: RATE, channels: 2 };

/// A desk, and the queues of its inputs in the order they were named.
struct Bench {
    desk: Desk,
    out: Vec<Vec<f32>>,
}

impl Bench {
    fn new(mixer: &Mixer) -> Self {
        assert!(mixer.problems().is_empty(), "{:?}", mixer.problems());
        Self { desk: Desk::new(mixer, FORMAT), out: vec![Vec::new(); 2] }
    }

    fn handle(&self) -> MixerRef {
        MixerRef::new(self.desk.shared().clone())
    }

    /// Gives samples to the input of this name.
    fn give(&self, name: &str, rows: &[Vec<f32>]) {
        let input = self.desk.shared().inputs.iter().find(|input| input.name == name).expect("such an input");
        let taken = input.queue.as_ref().expect("a queue").try_push(rows);
        assert_eq!(taken, Some(rows[0].len()), "there is room");
    }

    /// Mixes with these samples of the source.
    fn run(&mut self, own: &[Vec<f32>]) {
        let mut rows = own.to_vec();
        self.desk.process(&mut rows);
        self.out.iter_mut().zip(rows).for_each(|(out, row)| out.extend(row));
    }

    /// What came out, without what the limiter held back at first.
    fn heard(&self) -> Vec<Vec<f32>> {
        self.out.iter().map(|row| row[self.desk.delay()..].to_vec()).collect()
    }
}

fn tone(hertz: f64, level: f64, from: usize, count: usize) -> Vec<f32> {
    (from..from + count)
        .map(|at| (level * (TAU * hertz * at as f64 / f64::from(RATE)).sin()) as f32)
        .collect()
}

fn silence(count: usize) -> Vec<Vec<f32>> {
    vec![vec![0.0; count]; 2]
}

fn samples() -> MixInput {
    MixInput::samples(AudioFormat::f32(RATE, 2))
}

#[test]
fn a_mix_that_takes_the_place_of_another_is_as_that_one_was_made_from_its_first_sample_on() {
    let mixer = Mixer::new()
        .input("voice", MixInput::source().fade_in(std::time::Duration::from_secs(1)))
        .input("music", samples())
        .input("rain", samples().gain_db(-6.0));
    let mut before = Bench::new(&mixer);
    before.handle().set_gain_db("voice", -12.0).expect("such an input");
    before.handle().mute("music").expect("such an input");
    before.run(&silence(1024));
    let mut bench = Bench::new(&mixer);
    bench.handle().go_on(&before.handle());
    let tones = || vec![tone(440.0, 0.25, 0, 4096); 2];
    bench.give("music", &vec![tone(1000.0, 0.5, 0, 4096); 2]);
    bench.give("rain", &vec![tone(3000.0, 0.25, 0, 4096); 2]);
    bench.run(&tones());
    bench.run(&silence(1024));
    let (voice, rain) = (tone(440.0, 0.25 * amplitude(-12.0), 0, 4096), tone(3000.0, 0.25, 0, 4096));
    let heard = bench.heard();
    for (at, sample) in heard[0][..4096].iter().enumerate() {
        // What is new is as its settings say.
        let wanted = f64::from(voice[at]) + f64::from(rain[at]) * amplitude(-6.0);
        assert!((f64::from(*sample) - wanted).abs() < 1e-4, "{at}: {sample} for {wanted}");
    }
}

#[test]
fn a_sum_is_that_of_a_reference_in_64_bits_sample_by_sample() {
    let mixer = Mixer::new()
        .input("voice", MixInput::source().gain_db(-3.0))
        .input("music", samples().gain_db(-9.5).pan(0.4))
        .input("rain", samples().gain_db(-20.0).pan(-1.0))
        .input("quiet", samples().muted());
    let mut bench = Bench::new(&mixer);
    let gains = [(-3.0, 0.0), (-9.5, 0.4), (-20.0, -1.0), (-200.0, 0.0)];
    let (mut reference, total) = (vec![Vec::new(); 2], 96_000);
    for from in (0..total).step_by(1024) {
        let count = 1024.min(total - from);
        let rows = |hertz: f64, level: f64| {
            vec![tone(hertz, level, from, count), tone(hertz * 1.5, level, from, count)]
        };
        let inputs = [rows(220.0, 0.5), rows(997.0, 0.7), rows(3000.0, 0.9), rows(50.0, 1.0)];
        for (name, rows) in ["music", "rain", "quiet"].iter().zip(&inputs[1..]) {
            bench.give(name, rows);
        }
        bench.run(&inputs[0]);
        for index in 0..count {
            for (channel, out) in reference.iter_mut().enumerate() {
                let sum: f64 = inputs
                    .iter()
                    .zip(gains)
                    .map(|(rows, (db, pan)): (_, (f64, f64))| {
                        let place = if channel == 0 { 1.0 - pan.max(0.0) } else { 1.0 + pan.min(0.0) };
                        f64::from(rows[channel][index]) * amplitude(db) * place
                    })
                    .sum();
                out.push(sum);
            }
        }
    }
    for (heard, reference) in bench.heard().iter().zip(&reference) {
        for (at, (heard, reference)) in heard.iter().zip(reference).enumerate() {
            let off = (f64::from(*heard) - reference).abs();
            assert!(off < 2e-7, "sample {at}: {heard} for {reference}");
        }
    }
}

#[test]
fn eight_full_scale_inputs_do_not_pass_the_ceiling() {
    let mixer = (0..8).fold(Mixer::new(), |mixer, number| mixer.input(number.to_string(), samples()));
    let mut bench = Bench::new(&mixer);
    for from in (0..144_000).step_by(1000) {
        for number in 0..8 {
            // Squares, which are full scale all the time.
            let square = tone(100.0 + f64::from(number), 1.0, from, 1000);
            let square: Vec<f32> = square.iter().map(|sample| sample.signum()).collect();
            bench.give(&number.to_string(), &[square.clone(), square]);
        }
        bench.run(&silence(1000));
    }
    let ceiling = amplitude(-1.0);
    let peak = bench.out.iter().flatten().fold(0.0_f64, |peak, sample| peak.max(f64::from(sample.abs())));
    assert!(peak <= ceiling + 1e-7, "{peak}");
    assert!(peak > ceiling * 0.98, "it is not turned down for nothing: {peak}");
    let stats = bench.handle().stats();
    assert!((18.0..21.0).contains(&stats.limited_db), "{stats:?}");
    assert!(stats.latency.as_micros() < 5500, "{stats:?}");
}

/// The sharpest bend of a waveform, as the second difference.
fn bend(row: &[f32]) -> f64 {
    let second = |three: &[f32]| f64::from(three[0]) - 2.0 * f64::from(three[1]) + f64::from(three[2]);
    row.windows(3).map(|three| second(three).abs()).fold(0.0, f64::max)
}

#[test]
fn changes_on_the_air_do_not_click() {
    type Change = fn(&MixerRef) -> Result<(), Error>;
    let changes: [(&str, Change); 6] = [
        ("down", |mixer| mixer.set_gain_db("music", -40.0)),
        ("up", |mixer| mixer.set_gain_db("music", 6.0)),
        ("off", |mixer| mixer.set_gain_db("music", f64::NEG_INFINITY)),
        ("mute", |mixer| mixer.mute("music")),
        ("left", |mixer| mixer.set_pan("music", -1.0)),
        ("right", |mixer| mixer.set_pan("music", 1.0)),
    ];
    for (name, change) in changes {
        let mut bench = Bench::new(&Mixer::new().input("music", samples()));
        let handle = bench.handle();
        for from in (0..48_000).step_by(960) {
            // At the crest of the wave, where a step would be the worst.
            if from == 24_000 {
                change(&handle).expect("a change");
            }
            let rows = [120.25, 120.25].map(|hertz| tone(hertz, 0.4, from, 960));
            bench.give("music", &rows);
            bench.run(&silence(960));
        }
        // The tone itself bends by w^2 of its level; a step of a tenth of it would bend by 0.04.
        let own = 0.8 * (TAU * 120.25 / f64::from(RATE)).powi(2);
        for row in bench.heard() {
            assert!(bend(&row) < own + 5e-5, "{name}: {} for {own}", bend(&row));
        }
    }
}

#[test]
fn a_fade_takes_its_time_and_ends_where_it_is_to() {
    let mut bench = Bench::new(&Mixer::new());
    let handle = bench.handle();
    handle.fade("source", -20.0, std::time::Duration::from_secs(1)).expect("a fade");
    for _ in 0..60 {
        bench.run(&vec![vec![0.5; 1000]; 2]);
    }
    let heard = &bench.heard()[0];
    assert!((heard[24_000] - 0.275).abs() < 1e-3, "halfway: {}", heard[24_000]);
    assert!((heard[48_100] - 0.05).abs() < 1e-6, "{}", heard[48_100]);
    assert!(heard.windows(2).all(|pair| pair[0] >= pair[1]));
}

#[test]
fn music_gives_way_to_a_voice() {
    let mixer = Mixer::new().input("music", samples().ducking(Ducking::under("source")));
    let mut bench = Bench::new(&mixer);
    let levels = |bench: &mut Bench, level: f64, from: usize| {
        let before = bench.out[0].len();
        for from in (from..from + 96_000).step_by(960) {
            bench.give("music", &[tone(1000.0, 0.3, from, 960), tone(1000.0, 0.3, from, 960)]);
            bench.run(&[vec![0.0; 960], tone(200.0, level, from, 960)]);
        }
        let end = &bench.out[0][before + 90_000..];
        f64::from(end.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs())))
    };
    let alone = levels(&mut bench, 0.0, 0);
    let under = levels(&mut bench, 0.3, 96_000);
    let stats = bench.handle().stats();
    assert!((stats.inputs[1].ducked_db - 12.0).abs() < 0.2, "{stats:?}");
    let again = levels(&mut bench, 0.0, 192_000);
    let db = |level: f64| 20.0 * (level / alone).log10();
    assert!((db(under) + 12.0).abs() < 0.2, "{}", db(under));
    assert!(db(again) > -0.5, "{}", db(again));
}

#[test]
fn an_input_that_breaks_off_and_comes_back_does_not_click_and_is_not_waited_for() {
    let mut bench = Bench::new(&Mixer::new().input("music", samples()));
    for from in (0..96_000).step_by(960) {
        let is_there = !(31_000..50_000).contains(&from);
        if is_there {
            let rows = [120.25, 120.25].map(|hertz| tone(hertz, 0.4, from, 960));
            bench.give("music", &rows);
        }
        bench.run(&silence(960));
    }
    let own = 0.4 * (TAU * 120.25 / f64::from(RATE)).powi(2);
    let heard = &bench.heard()[0];
    // A fade of 5 ms bends by 0.4 times its own curve; a jump would be four times as much and more.
    assert!(bend(heard) < own + 0.012, "{}", bend(heard));
    assert!(heard[33_000..49_000].iter().all(|sample| *sample == 0.0), "silence meanwhile");
    assert_eq!(bench.handle().stats().inputs[1].gaps, 1);
}

#[test]
fn what_is_no_number_is_silence() {
    let mut bench = Bench::new(&Mixer::new().input("music", samples()));
    bench.give("music", &[vec![f32::NAN; 960], vec![0.25; 960]]);
    bench.run(&[vec![f32::INFINITY; 960], vec![0.25; 960]]);
    bench.run(&silence(960));
    let delay = bench.desk.delay();
    assert!(bench.out[0].iter().all(|sample| *sample == 0.0));
    assert!(bench.out[1][delay..960].iter().all(|sample| *sample == 0.5));
}

#[test]
fn names_that_are_not_there_and_values_that_are_none_are_refused() {
    let bench = Bench::new(&Mixer::new().input("music", samples()));
    let handle = bench.handle();
    assert_eq!(handle.inputs(), ["source", "music"]);
    for refused in [
        handle.set_gain_db("musik", 0.0),
        handle.set_gain_db("music", 31.0),
        handle.set_gain_db("music", f64::NAN),
        handle.set_pan("music", 1.1),
        handle.fade("music", 0.0, std::time::Duration::from_secs(601)),
        handle.sink("source").map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Config { .. } | Error::NotBuilt { .. })), "{refused:?}");
    }
    drop(bench);
    assert!(handle.has_ended());
    assert!(matches!(handle.mute("music"), Err(Error::Ended)));
}

#[cfg(feature = "libav")]
#[test]
fn a_device_whose_clock_is_fast_stays_in_step_and_is_told_when_it_comes_and_goes() {
    let mixer = Mixer::new().input("microphone", MixInput::device(AudioFormat::f32(RATE, 2)));
    let mut bench = Bench::new(&mixer);
    let mut sink = bench.handle().sink("microphone").expect("a sink");
    let state = |bench: &Bench| bench.handle().stats().inputs.remove(1);
    assert_eq!(state(&bench).live, Some(false));
    let mut given = 0.0;
    for _ in 0..1000 {
        // Twenty milliseconds of its clock, which is 0.2 % fast.
        given += 960.0 * 1.002;
        let count = given as usize;
        given -= count as f64;
        assert!(sink.try_send(&vec![0.25_f32; 2 * count][..]).expect("usable samples"), "it never waits");
        bench.run(&silence(960));
    }
    let stats = state(&bench);
    assert!((stats.live, stats.gaps, stats.dropped_samples) == (Some(true), 0, 0), "{stats:?}");
    assert!(stats.waiting.as_millis() < 300 && stats.drift_ppm > 20.0, "{stats:?}");
    assert!(bench.out[0][48_000..].iter().all(|sample| (sample - 0.25).abs() < 1e-4));
    drop(sink);
    (0..50).for_each(|_| bench.run(&silence(960)));
    let stats = state(&bench);
    assert!((stats.live, stats.gaps, stats.waiting.as_millis()) == (Some(false), 0, 0), "{stats:?}");
}

#[cfg(feature = "libav")]
#[test]
fn samples_of_another_rate_arrive_as_they_are_meant() {
    let mixer = Mixer::new().input("tone", MixInput::samples(AudioFormat::i16(44_100, 1)));
    let mut bench = Bench::new(&mixer);
    let mut sink = bench.handle().sink("tone").expect("a sink");
    assert!(matches!(bench.handle().sink("tone"), Err(Error::Config { .. })), "there is one at a time");
    let word = |at: usize| (16_384.0 * (TAU * 441.0 * at as f64 / 44_100.0).sin()) as i16;
    for from in (0..44_100).step_by(441) {
        let words: Vec<i16> = (from..from + 441).map(word).collect();
        assert!(sink.try_send(&words[..]).expect("usable samples"), "there is room");
        bench.run(&silence(480));
    }
    let heard = bench.heard();
    assert_eq!(heard[0], heard[1], "one channel is heard on both");
    let peak = heard[0][4800..].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    // One channel among two is as loud as libswresample makes it: 3 dB less on either.
    assert!((f64::from(peak) - 0.5 * 0.5_f64.sqrt()).abs() < 0.01 || (peak - 0.5).abs() < 0.01, "{peak}");
    let crossings = heard[0][4800..43_200].windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    assert!((352..=354).contains(&crossings), "441 Hz: {crossings} waves in 0.8 s");
    assert!(sink.send(&[0.5f32, 0.5][..]).is_err(), "not what was agreed on");
    drop(bench);
    assert!(matches!(sink.send(&[1i16, 2][..]), Err(Error::Ended)));
}

#[test]
fn a_fade_under_way_gives_way_to_a_change_to_where_it_goes() {
    type Change = fn(&MixerRef) -> Result<(), Error>;
    let changes: [(&str, Change); 3] = [
        ("set", |mixer| mixer.set_gain_db("source", -90.0)),
        ("silence", |mixer| mixer.set_gain_db("source", f64::NEG_INFINITY)),
        ("a shorter fade", |mixer| mixer.fade("source", -90.0, std::time::Duration::from_millis(15))),
    ];
    for (name, change) in changes {
        let mut bench = Bench::new(&Mixer::new());
        let handle = bench.handle();
        handle.fade("source", -90.0, std::time::Duration::from_secs(60)).expect("a fade");
        bench.run(&vec![vec![0.5; 1000]; 2]);
        assert!(bench.heard()[0].last().is_some_and(|sample| *sample > 0.49), "{name}");
        change(&handle).expect("a change");
        bench.run(&vec![vec![0.5; 2000]; 2]);
        // 10 or 15 ms, and what the limiter looks ahead, which is left out of what is heard.
        assert!(bench.heard()[0][1000 + 720 + 10..].iter().all(|sample| sample.abs() < 2e-5), "{name}");
    }
}

#[test]
fn one_channel_has_no_place() {
    for pan in [-1.0, 0.5, 1.0] {
        let mixer = Mixer::new().input("source", MixInput::source().pan(pan));
        let mut desk = Desk::new(&mixer, MixFormat { rate: RATE, channels: 1 });
        let mut rows = vec![vec![0.5; 4000]];
        desk.process(&mut rows);
        assert!(rows[0][desk.delay()..].iter().all(|sample| *sample == 0.5), "{pan}");
        MixerRef::new(desk.shared().clone()).set_pan("source", -pan).expect("a change");
        let mut rows = vec![vec![0.5; 4000]];
        desk.process(&mut rows);
        assert!(rows[0].iter().all(|sample| *sample == 0.5), "{pan}, moving");
    }
}

#[test]
fn what_is_louder_than_numbers_can_be_stays_a_number() {
    let mixer = Mixer::new()
        .input("source", MixInput::source().gain_db(30.0))
        .input("music", samples().gain_db(30.0).ducking(Ducking::under("source")));
    let mut bench = Bench::new(&mixer);
    let (loud, quiet) = (vec![vec![1e38_f32; 960]; 2], vec![vec![1e-3_f32; 960]; 2]);
    bench.give("music", &loud);
    bench.run(&vec![[f32::MAX, -f32::MAX].repeat(480); 2]);
    for _ in 0..250 {
        bench.give("music", &quiet);
        bench.run(&silence(960));
    }
    let ceiling = amplitude(-1.0) as f32;
    assert!(bench.out.iter().flatten().all(|sample| sample.abs() <= ceiling));
    assert!(bench.out[0].last().is_some_and(|sample| *sample > 0.02), "the ducker lets go of it again");
}

/// A file of 16-bit samples, all the same.
#[cfg(feature = "libav")]
fn wave(path: &std::path::Path, samples: u32) {
    let bytes = samples * 4;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + bytes).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wave.extend_from_slice(&RATE.to_le_bytes());
    wave.extend_from_slice(&(RATE * 4).to_le_bytes());
    wave.extend_from_slice(b"\x04\0\x10\0data");
    wave.extend_from_slice(&bytes.to_le_bytes());
    wave.resize(wave.len() + bytes as usize, 0x20);
    std::fs::write(path, wave).expect("it can be written");
}

#[cfg(feature = "libav")]
#[test]
fn the_end_of_a_list_that_is_played_once_is_no_gap() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("jingle.wav");
    wave(&path, 4800);
    let list = crate::playlist::Playlist::files([path]).once();
    let mut bench = Bench::new(&Mixer::new().input("jingle", MixInput::playlist(list.clone())));
    let shared = bench.desk.shared().clone();
    let queue = shared.inputs[1].queue.clone().expect("a queue");
    let feed = super::files::FileFeed {
        shared,
        index: 1,
        queue: queue.clone(),
        list,
        loudness: None,
        interrupt: flowcast_av::Interrupt::new(),
        cpu: crate::sys::CpuMeter::default(),
    };
    let _reader = feed.start("test").expect("a thread");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !queue.is_finished() {
        assert!(std::time::Instant::now() < deadline, "it never says that nothing follows");
        std::thread::yield_now();
    }
    for _ in 0..20 {
        bench.run(&silence(480));
    }
    assert!(bench.heard()[0][..4000].iter().all(|sample| *sample > 0.2));
    assert_eq!(bench.handle().stats().inputs[1].gaps, 0);
}
