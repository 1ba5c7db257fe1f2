//! The list: how it is changed, and how it is shown.

use std::path::Path;

use flowcast_core::StreamSpec;
use flowcast_redis::{DesiredStreams, NodeOptions, Nodes, Redis};

use super::{PATIENCE, Result, out};

pub(super) fn put(desired: &DesiredStreams, name: &str, file: &Path, labels: &[String]) -> Result<()> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    // The error of the format may show a line with a key in it: only where that is, is told.
    let spec: StreamSpec = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count());
        format!("{}, line {}: {}", file.display(), line + 1, error.message())
    })?;
    let revision = desired.put_where(name, &spec, labels)?;
    out(format_args!("{name}: should run, revision {revision}"))
}

pub(super) fn remove(desired: &DesiredStreams, name: &str) -> Result<()> {
    match desired.remove(name)? {
        true => out(format_args!("{name}: should not run any more")),
        false => Err(format!("{name}: it is not in the list").into()),
    }
}

pub(super) fn show(redis: &Redis, desired: &DesiredStreams) -> Result<()> {
    let nodes = Nodes::look(redis, NodeOptions::default().ttl)?;
    let rows = nodes.iter().map(|node| {
        let state = match node.age.as_secs() {
            age if age >= 10 => format!("{}, {age} s", node.state),
            _ => node.state.to_string(),
        };
        let load = format!("{:.0} %", node.room.load() * 100.0);
        let address = node.address.clone().unwrap_or_else(|| "-".to_owned());
        [node.name.clone(), state, load, address, node.labels.join(" ")]
    });
    table(["NODE", "STATE", "LOAD", "ADDRESS", "LABELS"], rows.collect())?;
    if !desired.wait_until_known(PATIENCE) {
        return Err("the list of streams is not known".into());
    }
    let mut rows = Vec::new();
    for name in desired.names() {
        let status = desired.status(&name)?.to_string();
        let revision =
            desired.get(&name).map_or_else(|| "?".to_owned(), |stream| stream.revision.to_string());
        rows.push([name, revision, status]);
    }
    out("")?;
    table(["STREAM", "REVISION", "STATUS"], rows)
}

/// Columns as wide as what is in them.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Result<()> {
    let head = head.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        out(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
