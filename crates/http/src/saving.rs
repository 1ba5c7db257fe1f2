//! What was changed is on the disk before it is answered, where the program says how.
//!
//! In: answers to requests that may have changed something. Out: the same, once the program has saved; with a header if it could not. Changes
//! that are made at the same time are saved together.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use flowcast_core::chain;
use parking_lot::Mutex;

use crate::house::House;

/// Says that what was done is not on the disk, and why.
pub(crate) const UNSAVED: HeaderName = HeaderName::from_static("flowcast-unsaved");

/// How the program saves.
pub(crate) type Save = Arc<dyn Fn() -> Result<(), Box<dyn StdError + Send + Sync>> + Send + Sync>;

/// Saves for many who wait at a time.
#[derive(Default)]
pub(crate) struct Saver {
    save: Option<Save>,
    /// How many have asked.
    asked: AtomicU64,
    /// How many of them were saved for. Held while the program saves.
    saved: Mutex<u64>,
}

impl Saver {
    pub(crate) fn new(save: Option<Save>) -> Self {
        Self { save, ..Self::default() }
    }

    /// Saves what was changed before this was called.
    ///
    /// # Errors
    ///
    /// What the program says.
    ///
    /// # Blocking
    ///
    /// On the program, for others who wait, too.
    fn save(&self) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let Some(save) = &self.save else { return Ok(()) };
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut saved = self.saved.lock();
        if *saved >= mine {
            return Ok(());
        }
        let all = self.asked.load(Ordering::SeqCst);
        save()?;
        *saved = all;
        Ok(())
    }
}

/// Holds an answer back until what was changed is saved.
pub(crate) async fn saved(State(house): State<House>, request: Request, next: Next) -> Response {
    let may_change = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mut response = next.run(request).await;
    if !may_change || !response.status().is_success() || house.saver.save.is_none() {
        return response;
    }
    let rooms = house.clone();
    let reason = match house.blocking(move |_| rooms.saver.save().map_err(|error| chain(&*error))).await {
        Ok(Ok(())) => return response,
        Ok(Err(reason)) => reason,
        Err(_) => "too many calls are under way".to_owned(),
    };
    log::error!("what was done over HTTP is not saved: {reason}");
    let value = HeaderValue::from_str(&reason.replace(char::is_control, " "));
    let value = value.unwrap_or(HeaderValue::from_static("it could not be saved"));
    response.headers_mut().insert(UNSAVED, value);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn who_waits_while_it_is_saved_is_saved_for_once_more_and_all_at_once() {
        let (begins, begun) = sync_channel(100);
        let (goes, go) = sync_channel(0);
        let go = Mutex::new(go);
        let save: Save = Arc::new(move || {
            begins.send(()).expect("it is looked at");
            go.lock().recv().expect("it is let go");
            Ok(())
        });
        let saver = Saver::new(Some(save));
        let asked = |count| {
            while saver.asked.load(Ordering::SeqCst) < count {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| saver.save().expect("it can be saved"));
            begun.recv().expect("it begins");
            // These come too late for the first time.
            for _ in 0..5 {
                scope.spawn(|| saver.save().expect("it can be saved"));
            }
            asked(6);
            goes.send(()).expect("it waits");
            begun.recv().expect("it begins");
            goes.send(()).expect("it waits");
        });
        assert!(begun.try_recv().is_err(), "five who waited were saved for together");
        assert_eq!(*saver.saved.lock(), 6);
    }

    #[test]
    fn who_waits_behind_a_failure_tries_for_itself() {
        let times = AtomicU64::new(0);
        let times: &'static AtomicU64 = Box::leak(Box::new(times));
        let save: Save = Arc::new(move || match times.fetch_add(1, Ordering::SeqCst) {
            0 => Err("the disk is full".into()),
            _ => Ok(()),
        });
        let saver = Saver::new(Some(save));
        let together = Barrier::new(2);
        let failed: u64 = std::thread::scope(|scope| {
            let ask = || {
                together.wait();
                u64::from(saver.save().is_err())
            };
            let both = [scope.spawn(ask), scope.spawn(ask)];
            both.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!((failed, times.load(Ordering::SeqCst)), (1, 2));
    }
}
