//! Lists under any run of edits, against models of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::playlist::{Command, ItemId, Next, Playlist};

/// What may happen to a list and the streams that play it. Items are said by a number that is taken modulo their count.
#[derive(Debug, Clone)]
enum Step {
    Next(bool),
    Peek(bool),
    Fail,
    Add,
    Insert(usize),
    Remove(usize),
    Move(usize, usize),
    Skip,
    Jump(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<bool>().prop_map(Step::Next),
        2 => any::<bool>().prop_map(Step::Peek),
        1 => Just(Step::Fail),
        1 => Just(Step::Add),
        1 => any::<usize>().prop_map(Step::Insert),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => any::<(usize, usize)>().prop_map(|(from, to)| Step::Move(from, to)),
        1 => Just(Step::Skip),
        1 => any::<usize>().prop_map(Step::Jump),
    ];
    proptest::collection::vec(step, 1..120)
}

/// An ordered list as a child would keep it: a row of cards with a finger between two of them; played cards are turned over.
#[derive(Debug, Default)]
struct Row {
    before: Vec<(ItemId, bool)>,
    behind: Vec<(ItemId, bool)>,
    last: Option<ItemId>,
}

impl Row {
    fn insert(&mut self, position: usize, card: (ItemId, bool)) {
        match position.checked_sub(self.before.len()) {
            Some(position) => self.behind.insert(position, card),
            None => self.before.insert(position, card),
        }
    }

    fn remove(&mut self, id: ItemId) -> (ItemId, bool) {
        for side in [&mut self.before, &mut self.behind] {
            if let Some(at) = side.iter().position(|card| card.0 == id) {
                return side.remove(at);
            }
        }
        panic!("{id} is not in the row")
    }

    /// Puts the finger behind a card and turns it over.
    fn play(&mut self, id: ItemId) {
        let mut all: Vec<_> = self.before.drain(..).chain(self.behind.drain(..)).collect();
        let at = all.iter().position(|card| card.0 == id).expect("the card is in the row");
        all[at].1 = true;
        self.behind = all.split_off(at + 1);
        self.before = all;
        self.last = Some(id);
    }

    fn next(&mut self, once: bool) -> Option<ItemId> {
        let open = |cards: &[(ItemId, bool)]| cards.iter().find(|card| !card.1).map(|card| card.0);
        let found = open(&self.behind).or_else(|| open(&self.before).filter(|_| once));
        let found = found.or_else(|| {
            if once {
                return None;
            }
            self.turn_back();
            let mut all = self.before.iter().chain(&self.behind).map(|card| card.0);
            all.clone().find(|&id| Some(id) != self.last).or_else(|| all.next())
        });
        found.inspect(|&id| self.play(id))
    }

    fn turn_back(&mut self) {
        self.before.iter_mut().chain(&mut self.behind).for_each(|card| card.1 = false);
    }

    fn jump(&mut self, id: ItemId) {
        self.turn_back();
        self.play(id);
        self.before.iter_mut().for_each(|card| card.1 = true);
    }
}

fn nth(list: &Playlist, number: usize) -> Option<ItemId> {
    let items = list.items();
    (!items.is_empty()).then(|| items[number % items.len()].id)
}

proptest! {
    /// Two streams on an ordered list that is edited agree with the row of cards, and looking ahead changes nothing.
    #[test]
    fn an_ordered_list_is_a_row_of_cards(count in 0usize..6, once in any::<bool>(), steps in steps()) {
        let list = Playlist::files((0..count).map(|number| number.to_string()));
        let list = if once { list.once() } else { list };
        let mut cursors = [list.cursor(), list.cursor()];
        let mut rows = [Row::default(), Row::default()];
        for item in list.items() {
            rows.iter_mut().for_each(|row| row.behind.push((item.id, false)));
        }
        let mut playing = [false; 2];
        let mut jump = [None; 2];
        for step in steps {
            match step {
                Step::Next(stream) => {
                    let stream = usize::from(stream);
                    let row = &mut rows[stream];
                    let expected = match jump[stream].take() {
                        Some(id) => { row.jump(id); Some(id) }
                        None => row.next(once),
                    };
                    let given = cursors[stream].next();
                    let found = match &given { Next::Item(item) => Some(item.id), _ => None };
                    prop_assert_eq!(found, expected);
                    playing[stream] = found.is_some();
                    prop_assert!(found.is_some() || list.is_empty() || once);
                    prop_assert_eq!(cursors[stream].take_command(), None);
                }
                Step::Peek(stream) => drop(cursors[usize::from(stream)].peek()),
                Step::Fail => {}
                Step::Add => {
                    let id = list.add("added").expect("there is room");
                    rows.iter_mut().for_each(|row| row.behind.push((id, false)));
                }
                Step::Insert(position) => {
                    let position = position % (list.len() + 1);
                    let id = list.insert(position, "inserted").expect("there is room");
                    rows.iter_mut().for_each(|row| row.insert(position, (id, false)));
                }
                Step::Remove(number) => {
                    let Some(id) = nth(&list, number) else { continue };
                    prop_assert!(list.remove(id));
                    for row in &mut rows {
                        row.remove(id);
                    }
                    jump.iter_mut().for_each(|jump| *jump = jump.filter(|&jump| jump != id));
                }
                Step::Move(number, to) => {
                    let Some(id) = nth(&list, number) else { continue };
                    let to = to % list.len();
                    let moves = list.items()[to].id != id;
                    prop_assert!(list.move_to(id, to));
                    for row in rows.iter_mut().filter(|_| moves) {
                        let card = row.remove(id);
                        row.insert(to, card);
                    }
                    prop_assert_eq!(list.items()[to].id, id);
                }
                Step::Skip => {
                    list.skip();
                    for stream in 0..2 {
                        if let Some(id) = jump[stream].take() { rows[stream].jump(id) }
                        prop_assert_eq!(cursors[stream].take_command(), playing[stream].then_some(Command::Skip));
                    }
                }
                Step::Jump(number) => {
                    let Some(id) = nth(&list, number) else { continue };
                    prop_assert!(list.jump(id));
                    jump = [Some(id); 2];
                    for stream in 0..2 {
                        let expected = playing[stream].then_some(Command::Jump(id));
                        prop_assert_eq!(cursors[stream].take_command(), expected);
                    }
                }
            }
        }
        for row in &rows {
            let ids: Vec<_> = row.before.iter().chain(&row.behind).map(|card| card.0).collect();
            prop_assert_eq!(&ids, &list.items().iter().map(|item| item.id).collect::<Vec<_>>());
        }
    }

    /// Whatever is done to a shuffled list: it gives what is in it, as it was looked at, no item twice in a row while there
    /// is another, and lets none wait for longer than two rounds.
    #[test]
    fn a_shuffled_list_starves_and_repeats_nothing(count in 0usize..6, seed in any::<u64>(), steps in steps()) {
        let list = Playlist::files((0..count).map(|number| number.to_string())).shuffled().seed(seed);
        let mut cursor = list.cursor();
        let mut last = None;
        let mut jumped = false;
        // What failed since the last item was given, and since all failed.
        let (mut failing, mut failed) = (BTreeSet::new(), BTreeSet::new());
        // How many others were given since an item was, and the most that may be: every item twice, and every jump.
        let mut waiting: BTreeMap<ItemId, usize> = BTreeMap::new();
        let mut patience = 2 * count;
        for step in steps {
            match step {
                Step::Next(_) => {
                    let peeked = cursor.peek();
                    let items = list.items();
                    let item = match cursor.next() {
                        Next::Item(item) => item,
                        Next::AllFailed => {
                            prop_assert!(items.iter().all(|item| failed.contains(&item.id)));
                            (failing, failed) = Default::default();
                            waiting.clear();
                            continue;
                        }
                        Next::Empty => {
                            prop_assert!(items.is_empty());
                            continue;
                        }
                        Next::Complete => unreachable!("it is played for ever"),
                    };
                    prop_assert_eq!(Some(&item), peeked.as_ref());
                    prop_assert!(items.contains(&item));
                    let others = items.iter().any(|other| other.id != item.id && !failing.contains(&other.id));
                    prop_assert!(Some(item.id) != last || !others || jumped, "{} again", item.id);
                    for other in &items {
                        let waited = waiting.entry(other.id).or_default();
                        *waited = if other.id == item.id { 0 } else { *waited + 1 };
                        prop_assert!(*waited <= patience, "{} starves", other.id);
                    }
                    last = Some(item.id);
                    jumped = false;
                    failing.clear();
                }
                Step::Peek(_) => drop(cursor.peek()),
                Step::Fail => {
                    let Some(item) = cursor.peek() else { continue };
                    cursor.failed(item.id);
                    failing.insert(item.id);
                    failed.insert(item.id);
                    waiting.clear();
                }
                Step::Add => {
                    list.add("added").expect("there is room");
                    patience += 2;
                }
                Step::Insert(position) => {
                    list.insert(position, "inserted").expect("there is room");
                    patience += 2;
                }
                Step::Remove(number) => {
                    let Some(id) = nth(&list, number) else { continue };
                    list.remove(id);
                    waiting.remove(&id);
                }
                Step::Move(number, to) => {
                    let Some(id) = nth(&list, number) else { continue };
                    list.move_to(id, to % list.len());
                }
                Step::Skip => list.skip(),
                Step::Jump(number) => {
                    let Some(id) = nth(&list, number) else { continue };
                    jumped = list.jump(id);
                    patience += 1;
                }
            }
        }
    }
}
