//! What blending into a picture costs, as CPU time of this thread for each picture: the copy that it takes of a picture that others hold, too, then a
//! logo, a line of text, and a picture as large.
//!
//! `cargo run --release -p flowcast-av --example blend_cost`

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use flowcast_av::{ColorInfo, Error, Rgba, Stamp, VideoFrame};

const PICTURES: u32 = 500;

fn main() -> Result<(), Error> {
    println!("{:>10} {:>8} {:>10} {:>10} {:>10}", "", "copy", "logo", "line", "all of it");
    for (width, height) in [(1280, 720), (1920, 1080)] {
        let picture = VideoFrame::black(width, height, "yuv420p")?;
        let mut costs = Vec::new();
        for (wide, high, alpha) in
            [(2, 2, 0), (width / 10, width / 20, 255), (width * 2 / 3, 48, 128), (width, height, 128)]
        {
            let pixels = [200, 60, 20, alpha].repeat((wide * high) as usize);
            let stamp = Stamp::new(&Rgba::new(wide, high, pixels)?, &ColorInfo::default(), height, 255);
            let before = cpu_nanos();
            for _ in 0..PICTURES {
                let mut frame = picture.share()?;
                stamp.blend(&mut frame, 24, 24)?;
            }
            costs.push((cpu_nanos() - before) / u64::from(PICTURES) / 1000);
        }
        let size = format!("{width}x{height}");
        println!("{size:>10} {:>5} µs {:>7} µs {:>7} µs {:>7} µs", costs[0], costs[1], costs[2], costs[3]);
    }
    Ok(())
}

/// CPU time of this thread.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}
