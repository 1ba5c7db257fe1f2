//! Who gets in: asks, decides, and answers those who do not.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flowcast_core::Asker;
use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject};

use super::Lobby;
use super::entry::{ask_to_play, enter_by_key};
use super::failures::Origin;
use super::guest::{Stage, Wish};
use crate::admission::{Admission, AdmissionKind, AdmissionRequest, Answer};
use crate::event::ServerEventKind;
use crate::hooks::{Hook, Question};
use crate::refusal::RefusalReason;

/// A refusal, and its text.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) reason: RefusalReason,
    /// The text for the client, if it is not that of the reason.
    pub(super) reject: Option<Reject>,
    pub(super) is_guess: bool,
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, reject: None, is_guess: reason.is_guess() }
    }
}

impl Refusal {
    /// A hook's refusal.
    fn by_hook(reject: Reject) -> Self {
        let is_guess = matches!(reject, Reject::BadName | Reject::Denied);
        Self { reason: RefusalReason::Denied, reject: Some(reject), is_guess }
    }
}

impl Lobby {
    /// A guest has asked for something.
    pub(super) fn hear(&mut self, id: usize, wish: Wish, now: Instant) {
        let wish = wish.with_name(self.house.options.app.is_none());
        if !self.is_our_app(wish.app()) {
            return self.refuse(id, &wish, RefusalReason::App.into(), now);
        }
        if wish.is_nameless() {
            return self.refuse(id, &wish, RefusalReason::NoName.into(), now);
        }
        let hook = match &wish {
            Wish::Publish(_) => self.house.hooks.publish.clone(),
            Wish::Play(_) => self.house.hooks.play.clone(),
        };
        match hook {
            Some(hook) => self.ask_hook(id, wish, hook, now),
            None => self.decide(id, &wish, Answer::Accept, now),
        }
    }

    /// Asks the program's hook, which may take until the deadline.
    fn ask_hook(&mut self, id: usize, wish: Wish, hook: Hook, now: Instant) {
        let Some(guest) = self.guests.get(&id) else { return };
        let (peer, tls) = (guest.connection.peer, guest.connection.transport.is_tls());
        let app = wish.app().to_owned();
        let (kind, name, key, query, capabilities) = match &wish {
            Wish::Publish(request) => {
                let PublishRequest { key, query, capabilities, .. } = request.clone();
                (AdmissionKind::Publish, None, Some(key), query, capabilities)
            }
            Wish::Play(request) => {
                let PlayRequest { name, query, capabilities, .. } = request.clone();
                (AdmissionKind::Play, Some(name), None, query, capabilities)
            }
        };
        let mut request = AdmissionRequest { kind, peer, tls, app, name, key, query, capabilities };
        let store = self.house.store.clone();
        self.ask(id, wish, now, move |question, until, waiting| {
            if let Some(key) = &request.key {
                let grant = store.publisher(key, &Asker::new(peer, &request.app));
                request.name = grant.ok().map(|grant| grant.name);
            }
            hook(Admission::new(request, until, question, waiting));
        });
    }

    /// Asks on a thread of the program's code; the guest waits for the answer, and is not read until then.
    fn ask(
        &mut self,
        id: usize,
        wish: Wish,
        now: Instant,
        ask: impl FnOnce(Question, Instant, Weak<()>) + Send + 'static,
    ) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        // A second question about one request has the rest of the first one's time.
        let (until, waiting) = match &guest.stage {
            Stage::Waiting { until, waiting, .. } => (*until, waiting.clone()),
            _ => (now + self.house.options.admission, Arc::new(())),
        };
        let (question, weak) = (Question::new(self.shared.desk.clone(), id), Arc::downgrade(&waiting));
        guest.stage = Stage::Waiting { wish: wish.clone(), until, waiting };
        let job = move || {
            // A guest that has left or was refused meanwhile costs the program nothing.
            if weak.strong_count() > 0 && Instant::now() < until {
                ask(question, until, weak);
            }
        };
        if self.pool.submit(Box::new(job)).is_err() {
            self.refuse(id, &wish, RefusalReason::Overload.into(), now);
        }
    }

    /// Takes the program's decisions; a guest that has left meanwhile is gone.
    pub(super) fn read_answers(&mut self, now: Instant) {
        for (id, answer) in self.shared.desk.take() {
            let Some(guest) = self.guests.get(&id) else { continue };
            let Stage::Waiting { wish, until, .. } = &guest.stage else { continue };
            if *until <= now {
                self.give_up_waiting(id, now);
            } else {
                self.decide(id, &wish.clone(), answer, now);
            }
        }
    }

    /// Lets a guest in or refuses it.
    fn decide(&mut self, id: usize, wish: &Wish, answer: Answer, now: Instant) {
        let done = match (answer, wish) {
            (Answer::Accept, _) if self.house.is_program_store => {
                return self.ask_store(id, wish.clone(), now);
            }
            (Answer::Accept, Wish::Publish(request)) => self.publish(id, request, now),
            (Answer::Accept, Wish::Play(request)) => {
                self.may_play(id, request).and_then(|()| self.play(id, &request.name, wish, now))
            }
            (Answer::AcceptAs(grant), Wish::Publish(request)) => {
                self.publish_as(id, &self.told_app(&request.app, request.key.reveal()), grant, now)
            }
            (Answer::AcceptAs(grant), Wish::Play(_)) => self.play(id, &grant.name, wish, now),
            (Answer::Entered(entered), Wish::Publish(request)) => {
                let app = self.told_app(&request.app, request.key.reveal());
                entered.map(|entered| self.go_on_air(id, &app, *entered, now))
            }
            (Answer::MayPlay(may), Wish::Play(request)) => {
                may.map_err(Refusal::from).and_then(|()| self.play(id, &request.name, wish, now))
            }
            (Answer::Refuse(reject), _) => Err(Refusal::by_hook(reject)),
            (Answer::GaveUp | Answer::Entered(_) | Answer::MayPlay(_), _) => {
                Err(RefusalReason::Denied.into())
            }
        };
        if let Err(refusal) = done {
            self.refuse(id, wish, refusal, now);
        }
    }

    /// Asks the program's own key store, which may take until the deadline.
    fn ask_store(&mut self, id: usize, wish: Wish, now: Instant) {
        let Some(guest) = self.guests.get(&id) else { return };
        let peer = guest.connection.peer;
        let (house, wanted) = (&self.house, wish.clone());
        let (store, engine, takeover) =
            (house.store.clone(), house.engine.clone(), house.options.takeover_after);
        self.ask(id, wish, now, move |question, _, _| {
            let answer = match &wanted {
                Wish::Publish(request) => {
                    Answer::Entered(enter_by_key(&*store, &engine, takeover, request, peer).map(Box::new))
                }
                Wish::Play(request) => Answer::MayPlay(ask_to_play(&*store, request, peer)),
            };
            question.answer(answer);
        });
    }

    /// The program did not answer.
    pub(super) fn give_up_waiting(&mut self, id: usize, now: Instant) {
        let Some(guest) = self.guests.get(&id) else { return };
        let Stage::Waiting { wish, .. } = &guest.stage else { return };
        self.refuse(id, &wish.clone(), RefusalReason::NoAnswer.into(), now);
    }

    pub(super) fn refuse(&mut self, id: usize, wish: &Wish, refusal: Refusal, now: Instant) {
        let app: Arc<str> = self.told_app(wish.app(), wish.name()).into();
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let (peer, counters) = (guest.connection.peer, &self.shared.counters);
        let Refusal { reason, reject, is_guess } = refusal;
        let reject = reject.unwrap_or_else(|| reason.reject(matches!(wish, Wish::Publish(_)), &app));
        counters.refused(reason);
        match wish {
            Wish::Publish(_) => {
                counters.refused_publish.fetch_add(1, Ordering::Relaxed);
                log::warn!("{peer}: publish refused ({reason}), app {app:?}");
                counters.roll.tell(Some(peer), ServerEventKind::PublishRefused { reason, app });
            }
            Wish::Play(_) => {
                counters.refused_play.fetch_add(1, Ordering::Relaxed);
                log::info!("{peer}: play refused ({reason}), app {app:?}");
                counters.roll.tell(Some(peer), ServerEventKind::PlayRefused { reason, app });
            }
        }
        let wait = if is_guess { self.failures.failed(Origin::of(peer.ip()), now) } else { Duration::ZERO };
        if wait.is_zero() {
            self.tell(id, reject, now);
        } else {
            guest.stage = Stage::Delayed { reject, until: now + wait };
        }
    }

    /// Tells a guest that it is refused, and lets it leave.
    pub(super) fn tell(&mut self, id: usize, reject: Reject, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.connection.session.reject(reject, now);
        self.see_off(id, now);
    }

    fn is_our_app(&self, app: &str) -> bool {
        self.house.options.app.as_ref().is_none_or(|ours| ours == app)
    }

    /// The application named by a client that asked for `name`, fit for events, logs and the client's own log.
    pub(super) fn told_app(&self, app: &str, name: &str) -> String {
        told_app(self.house.options.app.as_deref(), app, name)
    }
}

/// The application a client named. People put keys in the place of the application, alone or beside the name: what
/// may be a key is not shown, unless it is `ours`.
fn told_app(ours: Option<&str>, app: &str, name: &str) -> String {
    // Every text contains the empty name.
    let may_be_key = ours != Some(app) && !app.is_empty() && app.contains(name);
    if may_be_key { HIDDEN.to_owned() } else { shown(app) }
}

/// Stands in for what may be a secret.
const HIDDEN: &str = "****";

/// A text from a client, fit for events and logs.
fn shown(text: &str) -> String {
    /// In characters.
    const MOST: usize = 128;
    text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Wish {
    /// If a request has no name, and its application is one word, that word is the name of the stream where any
    /// application is accepted.
    fn with_name(mut self, any_app: bool) -> Self {
        if any_app && self.is_nameless() {
            match &mut self {
                Self::Publish(request) => request.key = std::mem::take(&mut request.app).into(),
                Self::Play(request) => request.name = std::mem::take(&mut request.app),
            }
        }
        self
    }

    fn is_nameless(&self) -> bool {
        self.name().is_empty()
    }

    fn name(&self) -> &str {
        match self {
            Self::Publish(request) => request.key.reveal(),
            Self::Play(request) => &request.name,
        }
    }

    pub(super) fn app(&self) -> &str {
        match self {
            Self::Publish(request) => &request.app,
            Self::Play(request) => &request.app,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_may_hold_a_key_is_not_told() {
        let live = Some("live");
        for (ours, app, name) in [
            (live, "secret", ""),
            (live, "secret/", ""),
            (live, "secret", "secret"),
            (live, "live/secret", "secret"),
            (None, "secret", "secret"),
        ] {
            assert_eq!(told_app(ours, app, name), HIDDEN, "{ours:?} {app:?} {name:?}");
        }
        for (ours, app, name) in [
            (live, "live", ""),
            (live, "live", "live"),
            (live, "", ""),
            (live, "other", "secret"),
            (live, "live/room", "secret"),
            (None, "other", "secret"),
        ] {
            assert_eq!(told_app(ours, app, name), app, "{ours:?} {app:?} {name:?}");
        }
    }
}
