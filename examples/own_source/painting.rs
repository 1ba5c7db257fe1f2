//! The picture of the test card: colours, a bar that moves, a clock made of blocks.
//!
//! In: the number of a picture. Out: its samples, 4:2:0.

/// Pixels of a picture that are shown.
pub(crate) const WIDTH: usize = 128;
pub(crate) const HEIGHT: usize = 72;
/// Lines that are coded: whole macroblocks.
pub(crate) const LINES: usize = 80;

/// Luma, blue and red difference of white, yellow, cyan, green, magenta, red, blue and black, at three quarters.
const COLOURS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [162, 44, 142],
    [131, 156, 44],
    [112, 72, 58],
    [84, 184, 198],
    [65, 100, 212],
    [35, 212, 114],
    [16, 128, 128],
];
/// Digits and a colon, three blocks wide and five high, a line each.
const FONT: [[u8; 5]; 11] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
    [0, 2, 0, 2, 0],
];
const COLON: usize = 10;
/// Pixels of a block of the clock, and from one of its digits to the next.
const BLOCK: usize = 4;
const DIGIT: usize = 16;
/// Where the clock is, and its frame.
const CLOCK: (usize, usize) = (24, 16);
/// Where the bar moves: lines, and its width.
const TRACK: std::ops::Range<usize> = 48..64;
const BAR: usize = 8;
const WHITE: u8 = 235;
const BLACK: u8 = 16;

/// The samples of one picture.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    luma: Vec<u8>,
    /// Blue and red difference, half as wide and half as high.
    chroma: [Vec<u8>; 2],
}

impl Picture {
    /// Picture number `number` of this many a second.
    pub(crate) fn paint(number: u64, rate: u64) -> Self {
        let pixels = WIDTH * LINES;
        let mut picture =
            Self { luma: vec![BLACK; pixels], chroma: [vec![128; pixels / 4], vec![128; pixels / 4]] };
        let seconds = number / rate;
        let text = [seconds / 600 % 6, seconds / 60 % 10, COLON as u64, seconds / 10 % 6, seconds % 10];
        let bar = usize::try_from(number * 2 % WIDTH as u64).unwrap_or(0);
        for y in 0..LINES {
            for x in 0..WIDTH {
                let [luma, blue, red] = pixel(x, y, &text, bar);
                picture.luma[y * WIDTH + x] = luma;
                let half = y / 2 * (WIDTH / 2) + x / 2;
                (picture.chroma[0][half], picture.chroma[1][half]) = (blue, red);
            }
        }
        picture
    }

    /// The samples of the macroblock in this column and row: 256 of luma, 64 of either colour difference.
    pub(crate) fn macroblock(&self, column: usize, row: usize) -> Vec<u8> {
        let mut samples = Vec::with_capacity(384);
        for line in row * 16..row * 16 + 16 {
            samples.extend(&self.luma[line * WIDTH + column * 16..][..16]);
        }
        for plane in &self.chroma {
            for line in row * 8..row * 8 + 8 {
                samples.extend(&plane[line * (WIDTH / 2) + column * 8..][..8]);
            }
        }
        samples
    }
}

fn pixel(x: usize, y: usize, text: &[u64; 5], bar: usize) -> [u8; 3] {
    if TRACK.contains(&y) {
        // The bar, which leaves on one side and comes in on the other.
        let is_bar = (x + WIDTH - bar) % WIDTH < BAR;
        return [if is_bar { WHITE } else { BLACK + 16 }, 128, 128];
    }
    let (left, top) = CLOCK;
    let in_clock =
        x + BLOCK >= left && x < left + text.len() * DIGIT && y + BLOCK >= top && y < top + 5 * BLOCK + BLOCK;
    if !in_clock {
        return COLOURS[x * COLOURS.len() / WIDTH];
    }
    let lit = x.checked_sub(left).zip(y.checked_sub(top)).is_some_and(|(x, y)| {
        let digit = usize::try_from(text[x / DIGIT]).unwrap_or(0);
        let (column, line) = (x % DIGIT / BLOCK, y / BLOCK);
        column < 3 && line < 5 && FONT[digit][line] >> (2 - column) & 1 == 1
    });
    [if lit { WHITE } else { BLACK }, 128, 128]
}
