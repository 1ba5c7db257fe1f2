//! Loops of one file that keep in step, each from a reel of its own: renditions.
//!
//! In: which of them have come, and where they are in the file. Out: when all of them begin, where one that comes later begins, and the lap with
//! which all of them go over to a file that has replaced theirs. On the threads of their streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the first one waits for the others.
const TOGETHER: Duration = Duration::from_secs(2);
/// How much of the file is sent at once, at most, by one whose keyframe comes earlier than where the others are.
const MOST_AT_ONCE: Duration = Duration::from_secs(10);

/// Loops that keep in step.
#[derive(Debug)]
pub(crate) struct SyncGroup {
    /// Where in the file they begin.
    begins: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    next: u64,
    /// How many renditions there are.
    places: usize,
    /// When the first one came.
    since: Option<Instant>,
    /// The lap that was begun last, and when its beginning was due.
    lap: Option<(u64, Instant)>,
    /// The lap from which on all play what has replaced the file.
    replaced_from: Option<u64>,
}

#[derive(Debug)]
struct Member {
    number: u64,
    place: usize,
    has_come: bool,
    /// What is played directly sees another file when it opens that.
    is_reel: bool,
    next_file: NextFile,
}

/// How it stands with a file that has replaced the one that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextFile {
    No,
    Ready,
    /// It cannot be played; the others do not wait.
    Failed,
}

impl State {
    /// Begins, if it is time.
    fn attend(&mut self, begins: Duration, now: Instant) -> Option<(u64, Instant)> {
        if self.lap.is_none()
            && let Some(since) = self.since
        {
            let has_come = |place| self.members.iter().any(|member| member.place == place && member.has_come);
            let at = if (0..self.places).all(has_come) { Some(now) } else { since.checked_add(TOGETHER) };
            self.lap = at.filter(|at| *at <= now).map(|at| (0, at.checked_sub(begins).unwrap_or(at)));
        }
        self.lap
    }

    fn member(&mut self, number: u64) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.number == number)
    }
}

impl SyncGroup {
    /// So many renditions, of which each may be shown by several streams; they begin at `begins` of the file.
    pub(crate) fn new(places: usize, begins: Duration) -> Self {
        Self { begins, state: Mutex::new(State { places, ..State::default() }) }
    }

    /// Whether they are on the air.
    pub(crate) fn has_begun(&self) -> bool {
        self.state.lock().attend(self.begins, Instant::now()).is_some()
    }

    /// Where in the file one begins that is opened now. Beyond its end if the others are about to begin again.
    pub(crate) fn begins(&self) -> Duration {
        let now = Instant::now();
        let lap = self.state.lock().attend(self.begins, now);
        lap.map_or(self.begins, |(_, began)| now.saturating_duration_since(began))
    }

    /// One that shows rendition number `place`.
    pub(crate) fn join(self: &Arc<Self>, place: usize) -> SyncMember {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.members.push(Member { number, place, has_come: false, is_reel: true, next_file: NextFile::No });
        drop(state);
        SyncMember { group: self.clone(), number, laps: 0 }
    }
}

/// One of them; dropped, it is not waited for any more.
#[derive(Debug)]
pub(crate) struct SyncMember {
    group: Arc<SyncGroup>,
    number: u64,
    /// The lap of the others in which it began.
    laps: u64,
}

impl SyncMember {
    /// Its media time could begin.
    pub(super) fn comes(&self, now: Instant) {
        let mut state = self.group.state.lock();
        state.since.get_or_insert(now);
        if let Some(member) = state.member(self.number) {
            member.has_come = true;
        }
    }

    /// When its first tag is due, which is at `first` of the file, so that it is where the others are; `None` until all have come. `length` is that of
    /// the file.
    pub(super) fn origin(
        &mut self,
        now: Instant,
        first: Duration,
        length: Option<Duration>,
    ) -> Option<Instant> {
        let (lap, began) = self.group.state.lock().attend(self.group.begins, now)?;
        self.laps = lap;
        let mut there = now.saturating_duration_since(began);
        if there < first {
            // The others began another lap meanwhile, or their next one begins just now.
            there += length.unwrap_or_default();
        }
        let since = there.checked_sub(first).filter(|since| *since <= MOST_AT_ONCE);
        now.checked_sub(since.unwrap_or_default())
    }

    /// Its lap number `laps` was due to begin at `began`.
    pub(super) fn has_lapped(&self, laps: u64, began: Instant) {
        let mut state = self.group.state.lock();
        let lap = self.laps + laps;
        if state.lap.is_none_or(|(known, _)| known < lap) {
            state.lap = Some((lap, began));
        }
    }

    /// Whether it plays a reel.
    pub(super) fn plays_reel(&self, is_reel: bool) {
        if let Some(member) = self.group.state.lock().member(self.number) {
            member.is_reel = is_reel;
        }
    }

    /// What has replaced the file is ready, where its lap number `laps` begins: whether it is that lap with which all go over to it.
    pub(super) fn may_replace(&self, laps: u64) -> bool {
        let (mut state, lap) = (self.group.state.lock(), self.laps + laps);
        let is_alone = state.members.len() == 1;
        if let Some(member) = state.member(self.number) {
            member.next_file = NextFile::Ready;
        }
        if state.replaced_from.is_none()
            && state.members.iter().all(|member| !member.is_reel || member.next_file != NextFile::No)
        {
            // Others may have begun this lap already.
            state.replaced_from = Some(if is_alone { lap } else { lap + 1 });
        }
        if state.replaced_from.is_none_or(|from| lap < from) {
            return false;
        }
        if let Some(member) = state.member(self.number) {
            member.next_file = NextFile::No;
        }
        if state.members.iter().all(|member| member.next_file != NextFile::Ready) {
            state.replaced_from = None;
        }
        true
    }

    /// What has replaced the file cannot be played: it stays with what it has.
    pub(super) fn cannot_replace(&self) {
        if let Some(member) = self.group.state.lock().member(self.number) {
            member.next_file = NextFile::Failed;
        }
    }
}

impl Drop for SyncMember {
    fn drop(&mut self) {
        self.group.state.lock().members.retain(|member| member.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn they_begin_at_one_instant_and_where_the_file_is_not_where_their_keyframes_are() {
        let now = Instant::now();
        let group = Arc::new(SyncGroup::new(2, 5 * SECOND));
        let [mut one, mut other] = [0, 1].map(|place| group.join(place));
        assert_eq!(group.begins(), 5 * SECOND);
        one.comes(now);
        assert_eq!(one.origin(now + SECOND, 5 * SECOND, None), None, "the other one has not come");
        other.comes(now + SECOND);
        assert_eq!(one.origin(now + SECOND, 5 * SECOND, None), Some(now + SECOND));
        // Its keyframe is three seconds before that.
        let later = now + SECOND + SECOND / 10;
        assert_eq!(other.origin(later, 2 * SECOND, None), Some(now - 2 * SECOND));
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_and_who_comes_later_begins_where_the_others_are() {
        let now = Instant::now();
        let group = Arc::new(SyncGroup::new(2, Duration::ZERO));
        let mut one = group.join(0);
        one.comes(now);
        assert_eq!(one.origin(now + TOGETHER / 2, Duration::ZERO, None), None);
        let begins = now + TOGETHER;
        assert_eq!(one.origin(begins + SECOND / 10, Duration::ZERO, None), Some(begins));
        // A lap of ten seconds, of which seven are over.
        one.has_lapped(1, begins + 10 * SECOND);
        let mut late = group.join(1);
        let at = begins + 17 * SECOND;
        late.comes(at);
        assert_eq!(late.origin(at, 6 * SECOND, Some(10 * SECOND)), Some(at - SECOND));
        // It was opened in the lap before.
        let mut later = group.join(1);
        assert_eq!(later.origin(at, 9 * SECOND, Some(10 * SECOND)), Some(at - 8 * SECOND));
        // Too far away to be sent at once.
        let mut far = group.join(1);
        let at = begins + 40 * SECOND;
        assert_eq!(far.origin(at, SECOND, Some(60 * SECOND)), Some(at));
    }

    #[test]
    fn all_go_over_to_another_file_with_one_lap() {
        let now = Instant::now();
        let group = Arc::new(SyncGroup::new(3, Duration::ZERO));
        let mut members = [0, 1, 2].map(|place| group.join(place));
        members.iter().for_each(|member| member.comes(now));
        members.iter_mut().for_each(|member| {
            member.origin(now, Duration::ZERO, None).expect("all have come");
        });
        let [one, other, third] = &members;
        assert!(!one.may_replace(3) && !one.may_replace(4) && !other.may_replace(4));
        third.cannot_replace();
        assert!(!one.may_replace(5), "the others may have begun this lap");
        assert!(!other.may_replace(5) && other.may_replace(6) && one.may_replace(6));
        // The next time.
        assert!(!one.may_replace(7) && !other.may_replace(7) && other.may_replace(8) && one.may_replace(8));
        let [one, other, third] = members;
        drop((other, third));
        assert!(one.may_replace(9), "nobody is left to wait for");
    }
}
