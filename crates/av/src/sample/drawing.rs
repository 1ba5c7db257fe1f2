//! The picture and the tone of a sample clip, from nothing but their position in time.

use crate::encoder::Picture;

/// Frame `number`: a moving gradient, a box on its way, and the number as bars.
pub(super) fn picture(width: u32, height: u32, number: u32) -> Picture {
    let mut picture = Picture::black(width, height);
    gradient(&mut picture, number);
    let side = (height / 5).max(2);
    let box_x = (number.wrapping_mul(7)) % (width.saturating_sub(side).max(1));
    let box_y = (number.wrapping_mul(3)) % (height.saturating_sub(side).max(1));
    fill(&mut picture, (box_x, box_y), (side, side), 235);
    bars(&mut picture, number);
    picture
}

fn gradient(picture: &mut Picture, number: u32) {
    let width = picture.width as usize;
    for (row, line) in picture.y.chunks_exact_mut(width.max(1)).enumerate() {
        for (column, pixel) in line.iter_mut().enumerate() {
            // 32 to 159: within the limited range of video.
            *pixel = 32 + ((column + row / 2 + number as usize * 2) % 128) as u8;
        }
    }
    let tint = (number % 64) as u8;
    picture.u.fill(96 + tint);
    picture.v.fill(160 - tint);
}

/// The lowest 16 bits of the number along the lower edge: white for 1, black for 0, the lowest bit left.
fn bars(picture: &mut Picture, number: u32) {
    let bar = picture.width / 16;
    let height = picture.height / 8;
    let top = picture.height - height;
    for bit in 0..16 {
        let luma = if number >> bit & 1 == 1 { 235 } else { 16 };
        fill(picture, (bit * bar, top), (bar, height), luma);
    }
}

fn fill(picture: &mut Picture, (left, top): (u32, u32), (width, height): (u32, u32), luma: u8) {
    let stride = picture.width as usize;
    let rows = picture.y.chunks_exact_mut(stride.max(1)).skip(top as usize).take(height as usize);
    for row in rows {
        for pixel in row.iter_mut().skip(left as usize).take(width as usize) {
            *pixel = luma;
        }
    }
}

/// `count` samples from sample number `start` on, for each channel: 440 Hz, an octave higher in odd channels.
pub(super) fn tone(start: u64, count: usize, rate: u32, channels: u32) -> Vec<Vec<f32>> {
    (0..channels)
        .map(|channel| {
            let hertz = if channel % 2 == 0 { 440 } else { 880 };
            (0..count as u64)
                .map(|offset| {
                    // Whole cycles are left out before the sine, so that long clips lose no precision.
                    let phase =
                        ((start + offset) * hertz % u64::from(rate.max(1))) as f64 / f64::from(rate.max(1));
                    ((phase * std::f64::consts::TAU).sin() * 0.25) as f32
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_the_number() {
        let (width, height) = (320, 180);
        let picture = picture(width, height, 0b1010_0000_0000_0101);
        let bottom = &picture.y[(height as usize - 1) * width as usize..];
        let bits = (0..16).fold(0_u32, |bits, bit| bits | u32::from(bottom[bit * 20 + 10] > 128) << bit);
        assert_eq!(bits, 0b1010_0000_0000_0101);
    }

    #[test]
    fn tone_is_continuous() {
        let whole = tone(0, 2048, 48_000, 2);
        let second = tone(1024, 1024, 48_000, 2);
        assert_eq!(whole[1][1024..], second[1]);
    }
}
