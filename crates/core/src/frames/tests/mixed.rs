//! A program whose sound is mixed with others.

use super::*;
use crate::mix::{MixInput, MixerRef};

/// The level of a tone of 1 kHz in samples at 8 kHz, as an amplitude.
fn level(samples: &[f32]) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let (sin, cos) = (std::f64::consts::TAU * at as f64 / 8.0).sin_cos();
        (re, im) = (re + f64::from(*sample) * cos, im + f64::from(*sample) * sin);
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

fn heard(studio: &Studio) -> Vec<f32> {
    let mut heard = Vec::new();
    sound(&studio.tags, 8000, |_, samples| heard.extend_from_slice(samples));
    heard
}

/// Runs three seconds of pictures, with a tone of half of full scale in the mix.
fn run(frames: Frames, is_heard: bool) -> Vec<f32> {
    let mixer = Mixer::new().input("tone", MixInput::samples(AudioFormat::f32(8000, 1)).gain_db(-6.0206));
    let mut studio = Studio::start_mixed(frames, false, Some(&mixer));
    let mixer: MixerRef = studio.mixer().expect("it is mixed");
    let mut sink = mixer.sink("tone").expect("a sink");
    for number in 0..90_i64 {
        let block: Vec<f32> = (0..267)
            .map(|at| {
                [0.0, 0.3536, 0.5, 0.3536, 0.0, -0.3536, -0.5, -0.3536][(number as usize * 267 + at) % 8]
            })
            .collect();
        sink.try_send(&block[..]).expect("usable samples");
        studio.run_to(number * 1_000_000 / 30);
        studio.picture(number as u32, at(number * 1_000_000 / 30)).expect("it is taken");
        if is_heard {
            let own = vec![0.0_f32; 267];
            studio.sink.send_samples(&own[..], at(number * 1_000_000 / 30)).expect("they are taken");
        }
    }
    heard(&studio)
}

#[test]
fn what_is_mixed_is_heard_with_and_without_sound_of_the_program() {
    for (frames, is_heard) in [(numbered(30), false), (with_sound(numbered(30)), true)] {
        let heard = run(frames, is_heard);
        assert!(heard.len() >= 20_000, "{} samples", heard.len());
        let level = level(&heard[8000..16_000]);
        assert!((level - 0.25).abs() < 0.03, "{level} with sound of its own: {is_heard}");
    }
}
