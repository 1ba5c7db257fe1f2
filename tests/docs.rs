//! What README.md and docs/ name is there: files, links and headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where paths in backticks begin.
const FOLDERS: [&str; 7] = ["benches/", "crates/", "docs/", "examples/", "fuzz/", "scripts/", "tests/"];
/// What paths of docs/decisions.md are relative to.
const CRATES: [&str; 5] = ["av/", "core/", "flowcast/", "rtmp/", "server/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of pages") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = read(page);
    let headings = text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    headings
        .map(|heading| {
            let kept = heading.trim().to_lowercase().replace(' ', "-");
            kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
        })
        .collect()
}

/// What stands between two marks, wherever it stands in one line.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.lines()
        .flat_map(move |line| line.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0)))
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for link in between(&read(&page), "](", ')').filter(|link| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let is_there = target.exists() && anchor.is_none_or(|anchor| anchors(&target).contains(anchor));
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_are_named_are_there() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let is_decisions = page.ends_with("docs/decisions.md");
        for name in read(&page).split('`').skip(1).step_by(2) {
            let is_ours = FOLDERS.iter().any(|folder| name.starts_with(folder));
            let is_of_crate = is_decisions && CRATES.iter().any(|folder| name.starts_with(folder));
            if name.contains(char::is_whitespace) || name.contains('*') || !(is_ours || is_of_crate) {
                continue;
            }
            seen += 1;
            let path = if is_of_crate { root().join("crates").join(name) } else { root().join(name) };
            if !path.exists() {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(seen > 100, "{seen} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every decision says which files it concerns, and is in the contents.
#[test]
fn decisions_can_be_found() {
    let text = read(&root().join("docs/decisions.md"));
    let (contents, _) = text.split_once("\n## All outputs").expect("the first decision");
    let mut wrong = Vec::new();
    for section in text.split("\n## ").skip(2) {
        let (heading, rest) = section.split_once('\n').expect("a heading");
        if !rest.trim_start().starts_with("*Files: `") || !contents.contains(&format!("[{heading}](#")) {
            wrong.push(heading);
        }
    }
    assert!(wrong.is_empty(), "without files, or not in the contents: {wrong:?}");
}
