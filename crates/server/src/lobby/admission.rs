//! Who gets in: it is asked, decided, and told to those who do not.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::Asker;
use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject};

use super::Lobby;
use super::failures::Origin;
use super::guest::{Stage, Wish};
use crate::admission::{Admission, AdmissionKind, AdmissionRequest, Answer};
use crate::event::ServerEventKind;
use crate::refusal::RefusalReason;

/// How long a connection that was refused is kept to take the reason.
const GOODBYE: Duration = Duration::from_secs(2);

/// A no, and its words.
pub(super) struct Refusal {
    pub(super) reason: RefusalReason,
    pub(super) reject: Reject,
    pub(super) is_guess: bool,
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, reject: reason.reject(), is_guess: reason.is_guess() }
    }
}

impl Refusal {
    /// A hook's no.
    fn by_hook(reject: Reject) -> Self {
        let is_guess = matches!(reject, Reject::BadName | Reject::Denied);
        Self { reason: RefusalReason::Denied, reject, is_guess }
    }
}

impl Lobby {
    /// A guest has said what it wants.
    pub(super) fn hear(&mut self, id: usize, wish: Wish, now: Instant) {
        let hook = match &wish {
            Wish::Publish(_) => self.house.hooks.publish.clone(),
            Wish::Play(_) => self.house.hooks.play.clone(),
        };
        let Some(hook) = hook.filter(|_| self.is_our_app(wish.app())) else {
            return self.decide(id, &wish, Answer::Accept, now);
        };
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let (until, waiting) = (now + self.house.options.admission, Arc::new(()));
        let asker = Asker::new(guest.connection.peer, wish.app());
        let (kind, name, key, query, capabilities) = match &wish {
            Wish::Publish(request) => {
                let name = self.house.store.publisher(&request.key, &asker).ok().map(|grant| grant.name);
                let PublishRequest { key, query, capabilities, .. } = request.clone();
                (AdmissionKind::Publish, name, Some(key), query, capabilities)
            }
            Wish::Play(request) => {
                let PlayRequest { name, query, capabilities, .. } = request.clone();
                (AdmissionKind::Play, Some(name), None, query, capabilities)
            }
        };
        let (peer, tls, app) =
            (guest.connection.peer, guest.connection.transport.is_tls(), wish.app().to_owned());
        let request = AdmissionRequest { kind, peer, tls, app, name, key, query, capabilities };
        let admission =
            Admission::new(request, until, self.shared.desk.clone(), id, Arc::downgrade(&waiting));
        guest.stage = Stage::Waiting { wish, until, _waiting: waiting };
        // A hook that panics has dropped its admission, which is a no.
        if std::panic::catch_unwind(AssertUnwindSafe(|| hook(admission))).is_err() {
            log::error!("{peer}: the program's hook panicked");
        }
    }

    /// Takes in what the program has decided; who has left meanwhile is not there any more.
    pub(super) fn read_answers(&mut self, now: Instant) {
        for (id, answer) in self.shared.desk.take() {
            let Some(guest) = self.guests.get(&id) else { continue };
            let Stage::Waiting { wish, .. } = &guest.stage else { continue };
            self.decide(id, &wish.clone(), answer, now);
        }
    }

    /// Lets a guest in or refuses it.
    fn decide(&mut self, id: usize, wish: &Wish, answer: Answer, now: Instant) {
        let granted = match answer {
            _ if !self.is_our_app(wish.app()) => Err(RefusalReason::App.into()),
            Answer::Accept => Ok(None),
            Answer::AcceptAs(grant) => Ok(Some(grant)),
            Answer::Refuse(reject) => Err(Refusal::by_hook(reject)),
            Answer::GaveUp => Err(RefusalReason::Denied.into()),
        };
        let done = granted.and_then(|grant| match wish {
            Wish::Publish(request) => self.publish(id, request, grant, now),
            Wish::Play(request) => self.play(id, request, grant),
        });
        if let Err(refusal) = done {
            self.refuse(id, wish, refusal, now);
        }
    }

    /// The program did not answer.
    pub(super) fn give_up_waiting(&mut self, id: usize, now: Instant) {
        let Some(guest) = self.guests.get(&id) else { return };
        let Stage::Waiting { wish, .. } = &guest.stage else { return };
        self.refuse(id, &wish.clone(), RefusalReason::NoAnswer.into(), now);
    }

    fn refuse(&mut self, id: usize, wish: &Wish, refusal: Refusal, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let (peer, counters) = (guest.connection.peer, &self.shared.counters);
        let Refusal { reason, reject, is_guess } = refusal;
        counters.refused(reason);
        match wish {
            Wish::Publish(_) => {
                counters.refused_publish.fetch_add(1, Ordering::Relaxed);
                log::warn!("{peer}: publish refused ({reason})");
                counters.roll.tell(Some(peer), ServerEventKind::PublishRefused { reason });
            }
            Wish::Play(_) => {
                counters.refused_play.fetch_add(1, Ordering::Relaxed);
                log::info!("{peer}: play refused ({reason})");
                counters.roll.tell(Some(peer), ServerEventKind::PlayRefused { reason });
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
        guest.stage = Stage::Leaving { until: now + GOODBYE, told: false };
        // Readiness that came while nothing was read.
        guest.connection.note(true, true);
        // What it still sends is discarded; a close with unread bytes could overtake the reason.
        let mut scratch = [0; 1024];
        if guest.say_goodbye(now, &mut scratch).is_err() {
            drop(self.take(id));
        }
    }

    fn is_our_app(&self, app: &str) -> bool {
        self.house.options.app.as_ref().is_none_or(|ours| ours == app)
    }
}

impl Wish {
    fn app(&self) -> &str {
        match self {
            Self::Publish(request) => &request.app,
            Self::Play(request) => &request.app,
        }
    }
}
