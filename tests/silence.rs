//! Silent AAC frames before a real decoder: exact zeros in every layout, and not a word of complaint.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use flowcast::rtmp::flv::Tag;
use flowcast::rtmp::flv::audio::{aac_frame, aac_sequence_header};
use flowcast::rtmp::flv::silence::{aac_config, aac_silence, channel_configuration};
use flowcast::rtmp::time::MediaTime;
use kit::{Need, Peer, flv_tags, make, need, run, write_flv};
use tempfile::TempDir;

const DECODING: Duration = Duration::from_secs(120);
const FRAME_SAMPLES: usize = 1024;

/// Writes an FLV file of these AAC frames, each where the one before ends.
fn write(directory: &TempDir, config: Bytes, frames: &[Bytes], rate_hz: u32) -> PathBuf {
    let time = |frame: usize| {
        let samples = u64::try_from(frame * FRAME_SAMPLES).expect("a count");
        MediaTime::from_millis(i64::try_from(samples * 1000 / u64::from(rate_hz)).expect("a short file"))
    };
    let tags = frames.iter().enumerate().map(|(number, frame)| aac_frame(time(number), frame.clone()));
    let tags: Vec<_> = std::iter::once(aac_sequence_header(config, MediaTime::ZERO)).chain(tags).collect();
    let path = directory.path().join("sound.flv");
    write_flv(&path, &tags);
    path
}

/// The samples of a file's sound, one channel after the other, as its decoder made them. It must have nothing to say.
#[track_caller]
fn decoded(file: &Path, directory: &TempDir) -> Vec<f32> {
    let samples = directory.path().join("samples");
    let [input, output] = [file, &samples].map(|path| path.to_str().expect("a path in UTF-8"));
    let mut ffmpeg = Peer::spawn(
        Path::new("ffmpeg"),
        ["-nostdin", "-v", "warning", "-y", "-i", input, "-f", "f32le", "-c:a", "pcm_f32le", output],
    );
    ffmpeg.wait_success(DECODING);
    assert_eq!(ffmpeg.errors(), "", "it decodes without a complaint");
    let bytes = std::fs::read(&samples).expect("the decoder's output");
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
}

/// The frames of a tone that an encoder made, and their configuration.
fn tone(directory: &TempDir, rate_hz: u32, channels: u8) -> (Bytes, Vec<Bytes>) {
    let source = format!("-f lavfi -i sine=frequency=440:sample_rate={rate_hz}:duration=1");
    let file = make(directory.path(), "tone.flv", &format!("{source} -ac {channels} -c:a aac"));
    let mut tags = flv_tags(&file);
    tags.retain(Tag::is_audio);
    // Two bytes of each are the header of the tag.
    let payload = |tag: &Tag| tag.body.to_bytes().slice(2..);
    let config = tags.iter().find(|tag| tag.is_sequence_header()).expect("AAC has a configuration");
    let frames = tags.iter().filter(|tag| !tag.is_sequence_header()).map(payload).collect();
    (payload(config), frames)
}

#[test]
fn silence_decodes_to_zeros_in_every_layout() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    for (rate_hz, channels) in [
        (48_000, 1),
        (44_100, 2),
        (48_000, 2),
        (22_050, 3),
        (96_000, 4),
        (32_000, 5),
        (48_000, 6),
        (44_100, 8),
    ] {
        let config = aac_config(rate_hz, channels).expect("a layout of AAC's");
        let frame = channel_configuration(channels).and_then(aac_silence).expect("a layout of AAC's");
        let file = write(&directory, config, &vec![frame; 100], rate_hz);
        let entries = run(
            "ffprobe",
            ["-v", "error", "-show_entries", "stream=sample_rate,channels,profile", "-of", "csv=p=0"]
                .into_iter()
                .chain([file.to_str().expect("a path in UTF-8")]),
            DECODING,
        );
        assert_eq!(entries.trim(), format!("LC,{rate_hz},{channels}"));
        let samples = decoded(&file, &directory);
        assert_eq!(samples.len(), 100 * FRAME_SAMPLES * usize::from(channels), "{channels} channels");
        assert!(samples.iter().all(|&sample| sample == 0.0), "{channels} channels");
    }
}

#[test]
fn silence_stands_between_frames_of_an_encoder() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    for (rate_hz, channels) in [(48_000, 1), (44_100, 2), (48_000, 6)] {
        let (config, tone) = tone(&directory, rate_hz, channels);
        let silence = channel_configuration(channels).and_then(aac_silence).expect("a layout of AAC's");
        // Ten frames of each in turn, four times.
        let runs =
            tone.chunks_exact(10).take(4).flat_map(|frames| [frames.to_vec(), vec![silence.clone(); 10]]);
        let frames: Vec<_> = runs.flatten().collect();
        assert_eq!(frames.len(), 80);
        let samples = decoded(&write(&directory, config, &frames, rate_hz), &directory);
        let frame = FRAME_SAMPLES * usize::from(channels);
        assert_eq!(samples.len(), 80 * frame);
        for (number, samples) in samples.chunks_exact(frame).enumerate() {
            let loudest = samples.iter().fold(0f32, |loudest, sample| loudest.max(sample.abs()));
            match number % 20 {
                // The first frame of a run fades in from the one before it, or out of it.
                0 | 10 => {}
                1..10 => assert!(loudest > 0.01, "frame {number} sounds: {loudest}"),
                _ => assert!(loudest == 0.0, "frame {number} is silent: {loudest}"),
            }
        }
    }
}
