//! What the program draws and plays: a clock, a bouncing logo, and a tone that follows it.
//!
//! In: the number of a picture. Out: its pixels, and the samples that belong to it. Nothing here knows of streams.

use std::f32::consts::TAU;

/// Digits of seven strokes: top, upper left, upper right, middle, lower left, lower right, bottom.
const DIGITS: [u8; 10] = [0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f];
/// Picture elements of a row that say the number of the picture, for who checks it: a bit each, in squares of this many pixels.
pub(crate) const BIT: usize = 16;
pub(crate) const BITS: usize = 24;
/// Samples a second, and channels.
pub(crate) const SAMPLE_RATE: u32 = 48_000;
pub(crate) const CHANNELS: u32 = 2;
/// The tone where the logo is at the bottom, in hertz; it is an octave higher at the top.
const LOW: f32 = 220.0;
const LOUDNESS: f32 = 0.2;

/// The picture, four bytes a pixel.
pub(crate) struct Scene {
    width: usize,
    height: usize,
    rate: f64,
    /// Where the tone is in its cycle.
    phase: f32,
}

/// Pixels that can be drawn on.
struct Canvas<'a> {
    pixels: &'a mut [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl Canvas<'_> {
    fn fill(&mut self, (left, top): (usize, usize), (width, height): (usize, usize), color: [u8; 4]) {
        let (right, bottom) = ((left + width).min(self.width), (top + height).min(self.height));
        for row in self.pixels.chunks_mut(self.stride).take(bottom).skip(top) {
            row[4 * left.min(right)..4 * right].as_chunks_mut().0.fill(color);
        }
    }

    fn digit(&mut self, digit: u8, (left, top): (usize, usize), size: usize) {
        let strokes = DIGITS[usize::from(digit % 10)];
        let (thick, white) = (size / 6 + 1, [240, 240, 240, 255]);
        let places = [
            ((0, 0), true),
            ((0, 0), false),
            ((size, 0), false),
            ((0, size), true),
            ((0, size), false),
            ((size, size), false),
            ((0, 2 * size), true),
        ];
        for (stroke, ((x, y), is_flat)) in places.into_iter().enumerate() {
            if strokes >> stroke & 1 == 1 {
                let length = if is_flat { (size + thick, thick) } else { (thick, size + thick) };
                self.fill((left + x, top + y), length, white);
            }
        }
    }
}

/// Between 0 and 1 and back, once in `period` seconds.
fn bounce(seconds: f64, period: f64) -> f64 {
    1.0 - (2.0 * (seconds / period).fract() - 1.0).abs()
}

impl Scene {
    pub(crate) fn new((width, height): (u32, u32), rate: f64) -> Self {
        Self { width: width as usize, height: height as usize, rate, phase: 0.0 }
    }

    /// Where the logo is: from the left and from the top, 0 to 1.
    fn logo(&self, number: u32) -> (f64, f64) {
        let seconds = f64::from(number) / self.rate;
        (bounce(seconds, 7.0), bounce(seconds, 5.0))
    }

    /// Draws a picture.
    pub(crate) fn draw(&self, number: u32, pixels: &mut [u8], stride: usize) {
        let mut canvas = Canvas { pixels, stride, width: self.width, height: self.height };
        let (width, height) = (self.width, self.height);
        let shade = (number / 4 % 64) as u8;
        canvas.fill((0, 0), (width, height), [16, 24, 40 + shade, 255]);
        let (x, y) = self.logo(number);
        let size = height / 6;
        let at = ((x * (width - size) as f64) as usize, (y * (height - size) as f64) as usize);
        canvas.fill(at, (size, size), [230, 60, 40, 255]);
        canvas.fill((at.0 + size / 4, at.1 + size / 4), (size / 2, size / 2), [250, 200, 60, 255]);
        self.clock(number, &mut canvas);
        for bit in 0..BITS {
            let level = if number >> bit & 1 == 1 { 255 } else { 0 };
            canvas.fill((bit * BIT, height - BIT), (BIT, BIT), [level, level, level, 255]);
        }
    }

    /// Minutes, seconds, and pictures.
    fn clock(&self, number: u32, canvas: &mut Canvas<'_>) {
        let seconds = f64::from(number) / self.rate;
        let within = number - (seconds.floor() * self.rate).ceil() as u32;
        let seconds = seconds as u32;
        let size = self.height / 12;
        let mut left = self.width / 20;
        for value in [seconds / 60 % 100, seconds % 60, within % 100] {
            for digit in [value / 10, value % 10] {
                canvas.digit(digit as u8, (left, self.height / 20), size);
                left += 2 * size;
            }
            left += size;
        }
    }

    /// The samples of a picture: as many as `count` a channel, as high as the logo is.
    pub(crate) fn play(&mut self, number: u32, count: usize, samples: &mut Vec<f32>) {
        let (x, y) = self.logo(number);
        let step = LOW * 2.0_f32.powf(1.0 - y as f32) / SAMPLE_RATE as f32;
        samples.clear();
        for _ in 0..count {
            self.phase = (self.phase + step).fract();
            let sample = (self.phase * TAU).sin() * LOUDNESS;
            samples.extend([sample * (1.0 - x as f32), sample * x as f32]);
        }
    }
}

/// Samples of a picture, so that none is left over in an hour.
pub(crate) fn samples_of(number: u32, rate: f64) -> usize {
    let until = |number: u32| (f64::from(number) * f64::from(SAMPLE_RATE) / rate).round() as u64;
    (until(number + 1) - until(number)) as usize
}
