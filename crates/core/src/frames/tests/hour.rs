//! A program that is not on time: on the grid, together, without drift, for ten minutes or an hour.

use super::*;

const RATE: i64 = 30;
/// The program gives nothing for five seconds.
const STOP: std::ops::Range<i64> = 300 * RATE..305 * RATE;
/// Pictures that come together, once in so many.
const BURST: i64 = 5;
const EVERY: i64 = 250;
/// A flash and a click, once in so many pictures; never among those that come late.
const MARK: i64 = 10 * RATE;
const FIRST_MARK: i64 = 157;

fn time(picture: i64) -> i64 {
    picture * 1_000_000 / RATE
}

/// The first sample of a picture, at 8 kHz.
fn sample(picture: i64) -> i64 {
    (picture * 8000 + RATE - 1) / RATE
}

/// The sound of a picture: silence, or a click at its begin.
fn sound_of(picture: i64) -> Vec<f32> {
    let mut samples = vec![0.0; (sample(picture + 1) - sample(picture)) as usize];
    if picture % MARK == FIRST_MARK {
        samples[..80].fill(0.9);
    }
    samples
}

/// What was seen and heard of a stream.
struct Received {
    receiver: Receiver,
    /// The number of each picture, and its time in milliseconds.
    pictures: Vec<(u32, i64)>,
    /// Begins of clicks, in milliseconds.
    clicks: Vec<f64>,
    /// The last one, in samples.
    last: i64,
    samples: i64,
}

impl Received {
    /// Of a stream that is so long.
    fn new(seconds: i64) -> Self {
        let room = (seconds + 10) as usize;
        Self {
            receiver: Receiver::default(),
            pictures: Vec::with_capacity(room * RATE as usize),
            clicks: Vec::with_capacity(room),
            last: -1_000_000,
            samples: 0,
        }
    }

    /// Decodes what has come, which is not kept.
    fn take(&mut self, tags: &mut Vec<Tag>) {
        self.receiver.pictures(tags, |time, picture| self.pictures.push((number(picture), time)));
        self.receiver.sound(tags, 8000, |first, samples| {
            self.samples += samples.len() as i64;
            for (index, sample) in samples.iter().enumerate() {
                let at = first + index as i64;
                if sample.abs() > 0.3 && at - self.last > 4000 {
                    self.clicks.push(at as f64 / 8.0);
                    self.last = at;
                }
            }
        });
        tags.clear();
    }
}

/// Memory of the process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says so");
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    4096 * pages.expect("a number of pages")
}

#[test]
fn late_pictures_in_bursts_with_a_stop_stay_on_the_grid_and_together() {
    run_late(600);
}

#[test]
#[ignore = "takes minutes"]
fn an_hour_of_late_pictures_in_bursts_with_a_stop_stays_on_the_grid_and_together() {
    run_late(3600);
}

fn run_late(seconds: i64) {
    let frames = with_sound(numbered(RATE as u32)).pool_size(64);
    let mut studio = Studio::start(frames);
    // Two in a hundred: five in a row come when the last of them does, and that late.
    let late = |number: i64| match number % EVERY {
        burst @ 0..BURST if number > 0 => time(BURST - 1 - burst) + 60_000,
        _ => 2_000,
    };
    let (mut received, mut came, mut used) = (Received::new(seconds), 0, Vec::new());
    for number in (0..seconds * RATE).filter(|number| !STOP.contains(number)) {
        came = (time(number) + late(number)).max(came);
        studio.run_to(came);
        studio.picture(number as u32, at(time(number))).expect("it is taken");
        studio.sink.send_samples(&sound_of(number)[..], at(time(number))).expect("they are taken");
        if number % (60 * RATE) == 0 {
            received.take(&mut studio.tags);
            used.push(resident());
        }
    }
    let stats = studio.sink.stats();
    studio.run_to(time(seconds * RATE) + 1_500_000);
    received.take(&mut studio.tags);
    let end = seconds * RATE;
    if let Some(used) = used.get(10..) {
        // Of an hour, which runs alone. What comes in a minute is 2 MB of samples and 8 MB of pixels.
        let (least, most) = (used.iter().min(), used.iter().max());
        let grown = most.zip(least).map(|(most, least)| most - least);
        assert!(grown.is_none_or(|grown| grown < 6 << 20), "memory grew: {used:?}");
    }
    assert!(received.pictures.len() as i64 >= end, "{}", received.pictures.len());
    let mut others = 0;
    for (place, &(number, millis)) in received.pictures.iter().enumerate().take(end as usize) {
        let place = place as i64;
        assert!((millis - time(place) / 1000).abs() <= 1, "place {place} is at {millis} ms");
        let behind = place - i64::from(number);
        let is_stop = STOP.contains(&place) || STOP.contains(&(place - 1));
        assert!(behind >= 0 && (behind <= BURST || is_stop), "{number} at place {place}");
        others += i64::from(behind > 0 && !is_stop);
    }
    assert!(others <= end * 2 / 100, "{others} places have another picture");
    // The clock of the last second is that of the first.
    let marks: Vec<_> = (FIRST_MARK..seconds * RATE).step_by(MARK as usize).collect();
    assert_eq!(received.clicks.len(), marks.len());
    let frame = 1000.0 / RATE as f64;
    let (mut off, mut flashes) = (Vec::new(), received.pictures.iter());
    for (&mark, click) in marks.iter().zip(&received.clicks) {
        let flash = flashes.find(|(number, _)| i64::from(*number) == mark);
        let (_, flash) = flash.expect("it was shown");
        let meant = time(mark) as f64 / 1000.0;
        assert!((click - meant).abs() <= frame / 2.0, "a click at {click} ms, meant for {meant}");
        assert!((click - *flash as f64).abs() <= frame, "a click at {click} ms, a flash at {flash}");
        off.push(click - meant);
    }
    let mean = |off: &[f64]| off.iter().sum::<f64>() / off.len() as f64;
    let (first, last) = (mean(&off[..20]), mean(&off[off.len() - 20..]));
    assert!((first - last).abs() < 2.0, "{first} ms at first, {last} ms at last");
    let heard = received.samples as f64 / 8000.0;
    assert!((0.0..2.0).contains(&(heard - seconds as f64)), "{heard} s of sound");
    assert!(stats.queued <= 30 && stats.late_samples <= seconds as u64 * 8000 * 2 / 100, "{stats:?}");
    assert_eq!((stats.timelines, stats.refused, stats.dropped), (0, 0, 0));
}

#[test]
fn a_program_that_is_slower_than_its_rate_is_shown_at_its_rate() {
    let mut studio = Studio::start(with_sound(numbered(RATE as u32)));
    // Each picture and its sound are a fiftieth longer than they should be, and come in pairs.
    let seconds = 120;
    for pair in 0..seconds * RATE / 2 * 50 / 51 {
        let said = |number: i64| time(number) * 51 / 50;
        studio.run_to(said(2 * pair + 1));
        for number in [2 * pair, 2 * pair + 1] {
            studio.picture(number as u32, at(said(number))).expect("it is taken");
            let sound = sound_of(number);
            studio.sink.send_samples(&sound[..], at(said(number))).expect("they are taken");
        }
    }
    let mut received = Received::new(seconds);
    received.take(&mut studio.tags);
    let steps = received.pictures.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert!(steps.clone().all(|step| (33..=34).contains(&step)), "{:?}", steps.max());
    let stats = studio.sink.stats();
    let repeated = seconds * RATE / 51;
    assert!((repeated - 4..=repeated + 4).contains(&(stats.repeated as i64)), "{stats:?}");
    let marks = (FIRST_MARK..).step_by(MARK as usize).map(|mark| time(mark) as f64 * 51.0 / 50.0 / 1000.0);
    for (meant, click) in marks.zip(&received.clicks) {
        assert!((click - meant).abs() <= 500.0 / RATE as f64, "a click at {click} ms, meant for {meant}");
    }
    assert!(received.clicks.len() >= 11 && stats.timelines == 0, "{stats:?}");
}
