//! Text as pixels.
//!
//! In: a text, a font, a size and colours. Out: a small picture with alpha. Each character is drawn by itself, with the font's kerning; what the font does
//! not have is drawn as its sign for that.

use ab_glyph::{Font, FontArc, Glyph, PxScale, ScaleFont, point};
use bytes::Bytes;
use flowcast_av::Rgba;

use super::{Color, TextStyle};

/// The largest picture of a text, in pixels each way.
const MOST_SIDE: usize = 8192;

/// The picture of a text; `None` where there is nothing to see.
pub(super) fn picture(text: &str, font: &FontArc, style: &TextStyle) -> Option<Rgba> {
    if text.is_empty() {
        return None;
    }
    let scale = PxScale::from(style.size as f32);
    let scaled = font.as_scaled(scale);
    let line_height = scaled.height() + scaled.line_gap();
    let (mut glyphs, mut widest) = (Vec::new(), 0.0_f32);
    let mut lines = 0_usize;
    for (number, line) in text.split('\n').enumerate() {
        lines = number + 1;
        let baseline = scaled.ascent() + line_height * number as f32;
        let mut pen = 0.0;
        let mut before = None;
        for character in line.chars() {
            let id = font.glyph_id(character);
            if let Some(before) = before {
                pen += scaled.kern(before, id);
            }
            glyphs.push(Glyph { id, scale, position: point(pen, baseline) });
            pen += scaled.h_advance(id);
            before = Some(id);
        }
        widest = widest.max(pen);
    }
    // A box has some room around the text; without one, a little for what hangs over.
    let margin = if style.background.is_some() { style.size / 4 } else { 2 } as usize;
    let height = scaled.height() + line_height * (lines - 1) as f32;
    let side = |length: f32| (length.ceil().max(1.0) as usize + 2 * margin).min(MOST_SIDE);
    let (width, height) = (side(widest), side(height));
    let mut covered = vec![0.0_f32; width * height];
    for glyph in glyphs {
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        let (left, top) = (bounds.min.x as i64 + margin as i64, bounds.min.y as i64 + margin as i64);
        outline.draw(|x, y, share| {
            let (x, y) = (left + i64::from(x), top + i64::from(y));
            if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
                && x < width
                && y < height
            {
                let place = &mut covered[y * width + x];
                *place = (*place + share).min(1.0);
            }
        });
    }
    let background = style.background.unwrap_or(Color::BLACK.with_alpha(0));
    let pixels: Vec<u8> = covered.iter().flat_map(|share| over(style.color, *share, background)).collect();
    Rgba::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, Bytes::from(pixels)).ok()
}

/// A colour that covers a share of a pixel, over another one.
fn over(color: Color, share: f32, behind: Color) -> [u8; 4] {
    let front = share * f32::from(color.alpha) / 255.0;
    let back = f32::from(behind.alpha) / 255.0 * (1.0 - front);
    let alpha = front + back;
    if alpha <= 0.0 {
        return [0; 4];
    }
    let mix =
        |color: u8, behind: u8| ((f32::from(color) * front + f32::from(behind) * back) / alpha).round() as u8;
    [
        mix(color.red, behind.red),
        mix(color.green, behind.green),
        mix(color.blue, behind.blue),
        (alpha * 255.0).round() as u8,
    ]
}
