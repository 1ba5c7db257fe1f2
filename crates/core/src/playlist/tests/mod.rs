//! Orders, edits on the air, and lists from the file system.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::*;

fn list(names: &str) -> Playlist {
    Playlist::files(names.split_whitespace())
}

fn id(list: &Playlist, name: &str) -> ItemId {
    list.items().into_iter().find(|item| item.path == *name).expect("the item is in the list").id
}

/// The name of the next item, or what stands in its place.
fn next(cursor: &mut PlaylistCursor) -> String {
    let peeked = cursor.peek();
    match cursor.next() {
        Next::Item(item) => {
            assert_eq!(peeked.as_ref(), Some(&item), "what was looked at is what comes");
            assert_eq!(cursor.current(), Some(&item));
            item.path.display().to_string()
        }
        other => {
            assert_eq!((peeked, cursor.current()), (None, None));
            format!("{other:?}")
        }
    }
}

fn names(cursor: &mut PlaylistCursor, count: usize) -> String {
    (0..count).map(|_| next(cursor)).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_ordered_list_goes_round_and_each_stream_has_its_own_place() {
    let list = list("a b c");
    let (mut first, mut second) = (list.cursor(), list.cursor());
    assert_eq!(names(&mut first, 4), "a b c a");
    assert_eq!(names(&mut second, 2), "a b");
    assert_eq!(names(&mut first, 3), "b c a");
}

#[test]
fn a_list_played_once_ends_and_goes_on_with_what_is_added() {
    let list = list("a b").once();
    let mut cursor = list.cursor();
    assert_eq!(names(&mut cursor, 4), "a b Complete Complete");
    list.insert(0, "c").expect("there is room");
    list.add("d").expect("there is room");
    assert_eq!(names(&mut cursor, 3), "d c Complete");
    for item in list.items() {
        list.remove(item.id);
    }
    assert_eq!(next(&mut cursor), "Complete");
}

#[test]
fn an_empty_list_waits_for_an_item() {
    let list = Playlist::new();
    let mut cursor = list.cursor();
    assert_eq!(names(&mut cursor, 2), "Empty Empty");
    let first = list.add("a").expect("there is room");
    assert_eq!(names(&mut cursor, 2), "a a");
    assert!(list.remove(first) && !list.remove(first));
    assert_eq!(cursor.current().map(|item| item.id), Some(first), "it plays to its end");
    assert_eq!(names(&mut cursor, 2), "Empty Empty");
    list.add("b").expect("there is room");
    assert_eq!(names(&mut cursor, 2), "b b");
}

#[test]
fn edits_of_an_ordered_list_repeat_and_lose_nothing() {
    // Each list plays `a b`, is edited, and goes on.
    type Edit = fn(&Playlist);
    let edits: [(&str, Edit, &str); 12] = [
        ("add", |list| drop(list.add("x")), "c d x a b c d x"),
        ("insert behind the current", |list| drop(list.insert(2, "x")), "x c d a b x c"),
        ("insert before the current", |list| drop(list.insert(0, "x")), "c d x a b c"),
        ("remove the current", |list| assert!(list.remove(id(list, "b"))), "c d a c d"),
        ("remove the next", |list| assert!(list.remove(id(list, "c"))), "d a b d"),
        ("remove a played one", |list| assert!(list.remove(id(list, "a"))), "c d b c d"),
        ("current to the end", |list| assert!(list.move_to(id(list, "b"), 9)), "c d a c d b a"),
        ("current to the top", |list| assert!(list.move_to(id(list, "b"), 0)), "c d b a c"),
        ("played one to the end", |list| assert!(list.move_to(id(list, "a"), 3)), "c d b c d a b"),
        ("coming one to the top", |list| assert!(list.move_to(id(list, "d"), 0)), "c d a b c"),
        ("last to behind the current", |list| assert!(list.move_to(id(list, "d"), 2)), "d c a b d"),
        (
            "current moved, then removed",
            |list| {
                list.move_to(id(list, "b"), 3);
                list.remove(id(list, "b"));
            },
            "c d a c d",
        ),
    ];
    for (what, edit, then) in edits {
        let list = list("a b c d");
        let mut cursor = list.cursor();
        assert_eq!(names(&mut cursor, 2), "a b");
        edit(&list);
        assert_eq!(names(&mut cursor, then.split(' ').count()), then, "{what}");
    }
}

#[test]
fn the_last_item_moved_to_the_top_while_it_plays_does_not_come_twice() {
    let list = list("a b c");
    let mut cursor = list.cursor();
    assert_eq!(names(&mut cursor, 3), "a b c");
    list.move_to(id(&list, "c"), 0);
    assert_eq!(names(&mut cursor, 6), "a b c a b c");
}

#[test]
fn played_once_items_moved_to_before_the_current_come_at_the_end() {
    let list = list("a b c d").once();
    let mut cursor = list.cursor();
    assert_eq!(names(&mut cursor, 2), "a b");
    list.move_to(id(&list, "d"), 0);
    list.move_to(id(&list, "a"), 3);
    assert_eq!(names(&mut cursor, 3), "c d Complete");
}

#[test]
fn a_skip_is_obeyed_once_by_every_stream_that_plays() {
    let list = list("a b c");
    let (mut first, mut second, mut idle) = (list.cursor(), list.cursor(), list.cursor());
    assert_eq!((next(&mut first), names(&mut second, 2)), ("a".to_owned(), "a b".to_owned()));
    assert_eq!(first.take_command(), None);
    list.skip();
    let mut later = list.cursor();
    for cursor in [&mut first, &mut second] {
        assert_eq!((cursor.take_command(), cursor.take_command()), (Some(Command::Skip), None));
    }
    assert_eq!((next(&mut first), next(&mut second)), ("b".to_owned(), "c".to_owned()));
    // Whoever plays nothing has nothing to leave.
    for cursor in [&mut idle, &mut later] {
        assert_eq!((next(cursor), cursor.take_command()), ("a".to_owned(), None));
    }
    // The item ended before the skip was looked at: it is not taken for the next one.
    list.skip();
    assert_eq!((next(&mut first), first.take_command()), ("c".to_owned(), None));
}

#[test]
fn a_jump_plays_the_item_now_and_the_list_goes_on_behind_it() {
    let list = list("a b c d");
    let mut cursor = list.cursor();
    assert_eq!(next(&mut cursor), "a");
    let (b, c) = (id(&list, "b"), id(&list, "c"));
    assert!(list.jump(c));
    assert_eq!((cursor.take_command(), cursor.take_command()), (Some(Command::Jump(c)), None));
    assert_eq!(names(&mut cursor, 3), "c d a");
    assert_eq!(names(&mut cursor, 2), "b c");
    // Back, to one that was played in this round already.
    assert!(list.jump(b));
    assert_eq!(names(&mut cursor, 4), "b c d a");
    // To the one that plays: it begins again.
    assert!(list.jump(id(&list, "a")));
    assert_eq!(names(&mut cursor, 2), "a b");
    // A jump that is skipped before it was followed, and one whose target goes away.
    list.jump(c);
    list.skip();
    assert_eq!((cursor.take_command(), next(&mut cursor)), (Some(Command::Skip), "d".to_owned()));
    list.jump(c);
    assert!(list.remove(c) && !list.jump(c));
    assert_eq!((cursor.take_command(), next(&mut cursor)), (Some(Command::Jump(c)), "a".to_owned()));
}

#[test]
fn a_jump_in_a_shuffled_list_counts_as_a_turn() {
    let list = list("a b c d e").shuffled().seed(3);
    let mut cursor = list.cursor();
    let played: BTreeSet<_> = (0..2).map(|_| next(&mut cursor)).collect();
    let target = list.items().into_iter().find(|item| !played.contains(&item.path.display().to_string()));
    let target = target.expect("three were not played");
    list.jump(target.id);
    let rest: BTreeSet<_> = (0..3).map(|_| next(&mut cursor)).collect();
    assert!(rest.contains(&target.path.display().to_string()));
    assert_eq!(played.len() + rest.len(), 5);
    assert!(played.is_disjoint(&rest), "every item comes once in the round");
}

#[test]
fn a_shuffled_list_plays_each_item_once_a_round_and_never_twice_in_a_row() {
    for count in 2..8 {
        let list = Playlist::files((0..count).map(|number| number.to_string())).shuffled();
        for seed in 0..20 {
            let mut cursor = list.clone().seed(seed).cursor();
            let mut before = String::new();
            let mut rounds = BTreeSet::new();
            for _ in 0..30 {
                let round: Vec<_> = (0..count).map(|_| next(&mut cursor)).collect();
                assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), count, "{round:?}");
                assert_ne!(round[0], before);
                before.clone_from(&round[count - 1]);
                rounds.insert(round);
            }
            assert!(count < 4 || rounds.len() > 10, "{} orders of {count} items in 30 rounds", rounds.len());
        }
    }
    assert_eq!(names(&mut list("a").shuffled().cursor(), 3), "a a a");
}

#[test]
fn the_same_seed_gives_the_same_order_in_every_version() {
    let shuffled = list("a b c d e f").shuffled().seed(7);
    let order = names(&mut shuffled.cursor(), 12);
    assert_eq!(order, names(&mut shuffled.cursor(), 12));
    assert_eq!(order, "c a f d b e b d c a e f");
    let other = shuffled.seed(8);
    assert_ne!(order, names(&mut other.cursor(), 12));
}

#[test]
fn all_orders_are_equally_likely() {
    let mut orders: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..6000 {
        let order = names(&mut list("a b c").shuffled().seed(seed).cursor(), 3);
        *orders.entry(order).or_default() += 1;
    }
    // Six orders, 1000 each; five standard deviations are 144.
    assert_eq!(orders.len(), 6);
    assert!(orders.values().all(|count| (856..1144).contains(count)), "{orders:?}");
}

#[test]
fn weights_say_how_often_an_item_comes() {
    let list = list("a b").shuffled().seed(1);
    list.add_weighted("three", 3).expect("there is room");
    list.add_weighted("never", 0).expect("there is room");
    list.add_weighted("two", 2).expect("there is room");
    let mut cursor = list.cursor();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut before = String::new();
    for _ in 0..700 {
        let name = next(&mut cursor);
        assert_ne!(name, before);
        *counts.entry(name.clone()).or_default() += 1;
        before = name;
    }
    let expected = [("a", 100), ("b", 100), ("three", 300), ("two", 200)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert!(list.jump(id(&list, "never")));
    assert_eq!(next(&mut cursor), "never");
    // Nothing but the heavy one's own repeats could give it more.
    let heavy = Playlist::files(["a"]).shuffled();
    heavy.add_weighted("heavy", u32::MAX).expect("there is room");
    let played = names(&mut heavy.cursor(), 6);
    assert!(["a heavy a heavy a heavy", "heavy a heavy a heavy a"].contains(&&*played), "{played}");
}

#[test]
fn played_once_a_heavier_item_comes_earlier() {
    let mut first = 0;
    for seed in 0..4000 {
        let list = list("a b").shuffled().once().seed(seed);
        list.add_weighted("heavy", 6).expect("there is room");
        let mut cursor = list.cursor();
        let order: Vec<_> = (0..3).map(|_| next(&mut cursor)).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(next(&mut cursor), "Complete");
        first += u32::from(order[0] == "heavy");
    }
    // 6 of 8; five standard deviations are 137.
    assert!((2863..3137).contains(&first), "{first}");
}

#[test]
fn an_item_added_to_a_shuffled_list_comes_anywhere_in_the_rest_of_the_round() {
    let mut places = [0; 4];
    for seed in 0..400 {
        let list = list("a b c d e").shuffled().seed(seed);
        let mut cursor = list.cursor();
        for _ in 0..2 {
            // Not looked ahead: what is drawn already keeps its turn.
            assert!(matches!(cursor.next(), Next::Item(_)));
        }
        list.add("x").expect("there is room");
        let rest: Vec<_> = (0..4).map(|_| next(&mut cursor)).collect();
        places[rest.iter().position(|name| name == "x").expect("it comes in this round")] += 1;
    }
    assert!(places.iter().all(|&count| (60..140).contains(&count)), "{places:?}");
}

#[test]
fn what_was_looked_at_stays_while_other_items_are_edited() {
    let list = list("a b c d").shuffled();
    let mut cursor = list.cursor();
    assert!(matches!(cursor.next(), Next::Item(_)));
    let peeked = cursor.peek().expect("three are left");
    list.add("x").expect("there is room");
    list.move_to(peeked.id, 0);
    assert_eq!(cursor.next(), Next::Item(peeked.clone()));
    let peeked = cursor.peek().expect("three are left");
    list.remove(peeked.id);
    assert_ne!(cursor.peek().expect("two are left").id, peeked.id);
}

#[test]
fn a_list_of_which_every_item_fails_says_so_after_each_round() {
    for list in
        [list("a b c"), list("a b c").shuffled(), list("a b c").once(), list("a b c").shuffled().once()]
    {
        let mut cursor = list.cursor();
        for _ in 0..3 {
            let mut tried = BTreeSet::new();
            while let Next::Item(item) = cursor.next() {
                cursor.failed(item.id);
                assert!(tried.insert(item.id), "{list:?}: tried twice");
            }
            assert_eq!(tried.len(), 3, "{list:?}");
            assert_eq!(cursor.current(), None);
        }
        while let Next::Item(item) = cursor.next() {
            cursor.failed(item.id);
        }
        let Next::Item(item) = cursor.next() else { panic!("{list:?}: asked again, it begins again") };
        cursor.failed(item.id);
        list.add("d").expect("there is room");
        let mut left = (0..3).map(|_| match cursor.next() {
            Next::Item(item) => {
                cursor.failed(item.id);
                item.path
            }
            other => panic!("{list:?}: {other:?}"),
        });
        assert!(left.any(|path| path == *"d"), "{list:?}: an item that was added is tried");
    }
}

#[test]
fn one_good_item_is_found_among_heavier_broken_ones() {
    let list = list("good").shuffled();
    for name in ["x", "y"] {
        list.add_weighted(name, 1_000_000).expect("there is room");
    }
    let mut cursor = list.cursor();
    let good = id(&list, "good");
    let mut failures = 0;
    for _ in 0..10 {
        loop {
            match cursor.next() {
                Next::Item(item) if item.id == good => break,
                Next::Item(item) => cursor.failed(item.id),
                other => panic!("{other:?}"),
            }
            failures += 1;
        }
    }
    assert!(failures <= 20, "{failures} tries");
    // Ahead of time, while the good one plays: it is the only one to go on with.
    while let Some(item) = cursor.peek().filter(|item| item.id != good) {
        cursor.failed(item.id);
    }
    assert_eq!(next(&mut cursor), "good");
}

#[test]
fn failures_end_an_ordered_list_only_if_nothing_was_played_between() {
    let list = list("a b c");
    let mut cursor = list.cursor();
    for _ in 0..5 {
        assert_eq!(next(&mut cursor), "a");
        for broken in ["b", "c"] {
            assert_eq!(next(&mut cursor), broken);
            cursor.failed(id(&list, broken));
        }
    }
    let list = list.once();
    assert_eq!(next(&mut cursor), "Complete", "played once, with two left out");
    drop(list);
}

#[test]
fn the_order_may_change_on_the_air() {
    let list = list("a b c d e");
    let mut cursor = list.cursor();
    assert_eq!(names(&mut cursor, 2), "a b");
    let list = list.shuffled();
    let rest: BTreeSet<_> = (0..3).map(|_| next(&mut cursor)).collect();
    assert_eq!(rest.into_iter().collect::<Vec<_>>(), ["c", "d", "e"]);
    let list = list.ordered().once();
    assert_eq!(next(&mut cursor), "Complete");
    drop(list);
}

#[test]
fn every_stream_of_a_list_hears_its_policy() {
    let list = list("a");
    let cursor = list.cursor();
    assert_eq!(cursor.parameter_change(), ParameterChange::Allow);
    let _ = list.on_change(ParameterChange::Refuse);
    assert_eq!(cursor.parameter_change(), ParameterChange::Refuse);
}

#[test]
fn a_dropped_cursor_is_forgotten() {
    let list = list("a b");
    let (first, second) = (list.cursor(), list.cursor());
    drop(first);
    assert_eq!(list.shared.list.lock().places.len(), 1);
    drop(second);
    assert!(list.shared.list.lock().places.is_empty());
}

#[test]
fn a_full_list_takes_no_more() {
    let list = Playlist::files((0..=Playlist::MAX_ITEMS).map(|number| number.to_string()));
    assert_eq!(list.len(), Playlist::MAX_ITEMS);
    let refused = list.add("one more").expect_err("the list is full");
    assert!(matches!(&refused, Error::Playlist { path, .. } if path == "one more"), "{refused}");
    let unnamed = Error::Playlist { path: PathBuf::new(), reason: "has no item".to_owned() };
    assert_eq!(unnamed.to_string(), "playlist: has no item");
    assert!(list.remove(list.items()[5].id));
    list.insert(5, "in its place").expect("there is room");
    assert_eq!(list.items()[5].path, PathBuf::from("in its place"));
}

#[test]
fn a_directory_gives_its_media_files_by_name() {
    let dir = Scratch::new();
    for name in ["b.mp4", "a.MP3", "10.flv", ".hidden.mp4", "cover.jpg", "list.m3u", "noextension", ".mp4"] {
        fs::write(dir.0.join(name), "").expect("a file in the new directory");
    }
    fs::create_dir_all(dir.0.join("nested.mp4")).expect("a directory in it");
    fs::write(dir.0.join("nested.mp4/c.mp4"), "").expect("a file in it");
    std::os::unix::fs::symlink("nowhere.mp4", dir.0.join("dangling.mp4")).expect("a link");
    std::os::unix::fs::symlink("b.mp4", dir.0.join("link.mp4")).expect("a link");
    let list = Playlist::dir(&dir.0).expect("it can be read");
    let paths: Vec<_> = list.items().into_iter().map(|item| item.path).collect();
    assert_eq!(paths, ["10.flv", "a.MP3", "b.mp4", "link.mp4"].map(|name| dir.0.join(name)));
}

#[test]
fn what_cannot_be_read_is_a_typed_error() {
    let dir = Scratch::new();
    fs::write(dir.0.join("cover.jpg"), "").expect("a file in the new directory");
    let large = dir.0.join("large.m3u");
    fs::File::create(&large).and_then(|file| file.set_len(16 * 1024 * 1024 + 1)).expect("a sparse file");
    type Read = fn(&Path) -> Result<Playlist, Error>;
    let table: [(Read, PathBuf, &str); 6] = [
        (|path| Playlist::dir(path), dir.0.clone(), "no media file in it"),
        (|path| Playlist::dir(path), dir.0.join("missing"), "the directory cannot be read: "),
        (|path| Playlist::dir(path), dir.0.join("cover.jpg"), "the directory cannot be read: "),
        (|path| Playlist::m3u(path), dir.0.join("missing.m3u"), "cannot be read: "),
        (|path| Playlist::m3u(path), dir.0.clone(), "cannot be read: not a file"),
        (|path| Playlist::m3u(path), large, "larger than 16777216 bytes"),
    ];
    for (read, path, expected) in table {
        let error = read(&path).expect_err("it cannot be a list");
        assert_eq!(error.code(), "PLAYLIST_INVALID");
        assert!(
            matches!(&error, Error::Playlist { path: at, reason } if *at == path && reason.starts_with(expected)),
            "{error}"
        );
    }
}

#[test]
fn an_m3u_list_is_relative_to_its_folder() {
    let dir = Scratch::new();
    fs::write(dir.0.join("list.m3u8"), "#EXTM3U\nmusic/a.mp3\n").expect("a file in the new directory");
    let list = Playlist::m3u(dir.0.join("list.m3u8")).expect("it can be read");
    assert_eq!(list.items()[0].path, dir.0.join("music/a.mp3"));
}

/// A directory of one test, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("flowcast-playlist-{:016x}", u64::from_le_bytes(crate::net::random_bytes()));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
