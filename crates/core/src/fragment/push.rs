//! A push of an async program: a future that needs no runtime.
//!
//! In: a fragment. Out: what became of it, in the task that awaits it, which is woken when there is room.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Pushed;
use super::media::Fragment;
use super::queue::{Refused, Shared};
use crate::error::Error;
use crate::sys::Waiting;

/// A push that waits for room; see [`FragmentPublisher::push_async`](crate::FragmentPublisher::push_async).
#[must_use = "a future does nothing until it is awaited"]
pub struct PushFragment {
    shared: Arc<Shared>,
    fragment: Option<Fragment>,
    waiting: Waiting,
    has_waited: bool,
}

impl PushFragment {
    pub(super) fn new(shared: Arc<Shared>, fragment: Fragment) -> Self {
        Self { waiting: shared.waiting(), shared, fragment: Some(fragment), has_waited: false }
    }

    fn reserve(&self) -> Result<(), Refused> {
        match &self.fragment {
            Some(fragment) => self.shared.reserve(fragment),
            None => Err(Refused::Over),
        }
    }
}

/// It is moved, never pinned.
impl Unpin for PushFragment {}

impl Future for PushFragment {
    type Output = Result<Pushed, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Pushed, Error>> {
        let this = self.get_mut();
        let mut place = this.reserve();
        if matches!(place, Err(Refused::Full)) {
            if !std::mem::replace(&mut this.has_waited, true) {
                this.shared.note_full();
            }
            // What becomes free before this second look is seen by it, and what does later wakes the task.
            this.waiting.note(cx.waker());
            place = this.reserve();
        }
        let done = match place {
            Err(Refused::Full) => return Poll::Pending,
            Ok(()) => match this.fragment.take() {
                Some(fragment) => this.shared.put(fragment),
                None => Err(Error::Ended),
            },
            Err(Refused::Duplicate) => Ok(Pushed::Duplicate),
            Err(Refused::Over) => Err(Error::Ended),
        };
        this.waiting.forget();
        Poll::Ready(done)
    }
}

impl fmt::Debug for PushFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushFragment").field("fragment", &self.fragment).finish_non_exhaustive()
    }
}
