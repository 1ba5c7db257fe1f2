//! The table at the end.

use crate::measure::Measured;
use crate::side::Which;

/// Prints all that was measured.
pub(crate) fn print(all: &[Measured]) {
    if all.is_empty() {
        return;
    }
    println!(
        "\nCPU, in milliseconds, of one second of one stream; each kind beside its floor, in the same seconds:\n"
    );
    println!(
        "{:<11} {:>7} {:>9} {:>9} {:>6} {:>5}   what, and its floor",
        "kind", "streams", "flowcast", "floor", "ratio", "idle"
    );
    for measured in all {
        let ms = |which| measured.cost(which).as_secs_f64() * 1e3;
        let (what, floor) = measured.case.kind.explained();
        println!(
            "{:<11} {:>7} {:>9.3} {:>9.3} {:>6.2} {:>4.0}%   {what} / {floor}",
            measured.case.kind.name(),
            measured.case.streams,
            ms(Which::Flowcast),
            ms(Which::Floor),
            measured.ratio(),
            measured.idle * 100.0,
        );
    }
    println!(
        "\nTake the ratios to another machine, not the milliseconds. idle: what the machine had left meanwhile."
    );
    for measured in all {
        for trouble in &measured.troubles {
            println!("{} {}: does not count: {trouble}", measured.case.kind.name(), measured.case.streams);
        }
    }
}
