//! A socket that becomes ready together with a message is told of in the driver's next turn: the poll tells it once.

use std::any::Any;
use std::io::{Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use flowcast::driver::mio::{self, Interest};
use flowcast::driver::{OutputContext, OutputDriver, OutputMailbox, OutputState, Readiness};
use flowcast::stats::{OutputPhase, OutputStats};
use flowcast::{Config, Engine};
use kit::PATIENCE;

use crate::right::{Made, Pictures};

/// Reads in its turns, when it is told that there is something.
struct Reader {
    socket: mio::net::UnixStream,
    is_registered: bool,
    /// A turn that is told to wait says that it does, and waits for the test.
    hold: Receiver<()>,
    holds: Sender<()>,
    goes_on: Receiver<()>,
    read: Sender<u8>,
    delivered: bool,
    finishes: bool,
}

impl OutputDriver for Reader {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if !std::mem::replace(&mut self.is_registered, true) {
            cx.registry
                .register(&mut self.socket, cx.token, Interest::READABLE)
                .expect("a socket that can be");
        }
        if self.hold.try_recv().is_ok() {
            self.holds.send(()).expect("the test waits for it");
            self.goes_on.recv_timeout(PATIENCE).expect("the test goes on");
        }
        let mut byte = [0];
        if cx.readable && self.delivered && self.socket.read(&mut byte).is_ok_and(|count| count == 1) {
            let _ = self.read.send(byte[0]);
        }
        OutputState::Running
    }

    fn deliver(&mut self, _cx: &mut OutputContext<'_>, _message: Box<dyn Any + Send>) -> OutputState {
        self.delivered = true;
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _cx: &mut OutputContext<'_>) {
        self.finishes = true;
    }

    fn is_finished(&mut self) -> bool {
        self.finishes
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

#[test]
fn a_message_takes_nothing_of_what_is_known_of_the_socket() {
    let (mut ours, theirs) = UnixStream::pair().expect("two sockets");
    theirs.set_nonblocking(true).expect("it can be");
    let socket = mio::net::UnixStream::from_std(theirs);
    let ((hold, held), (holds, is_held), (go_on, goes_on), (read, was_read)) =
        (channel(), channel(), channel(), channel());
    let (mailbox, mailboxes) = channel::<OutputMailbox>();
    let output = Made(move |cx: &flowcast::driver::OutputOpening<'_>| {
        mailbox.send(cx.mailbox()).expect("the test waits for it");
        let (is_registered, delivered, finishes) = (false, false, false);
        let reader = Reader { socket, is_registered, hold: held, holds, goes_on, read, delivered, finishes };
        Box::new(reader) as Box<dyn OutputDriver>
    });
    let engine = Engine::new(Config::default()).expect("an engine");
    let source = Made(|_: &flowcast::driver::SourceOpening<'_>| {
        Box::new(Pictures::default()) as Box<dyn flowcast::driver::SourceDriver>
    });
    let live = engine.stream(source).to(output).start().expect("it starts");
    let mailbox = mailboxes.recv_timeout(PATIENCE).expect("it is opened");
    // Both come while the stream's thread is busy, so that its next wait brings both.
    hold.send(()).expect("the driver is there");
    is_held.recv_timeout(PATIENCE).expect("it has turns");
    ours.write_all(&[7]).expect("there is room");
    assert!(mailbox.send(Box::new(())));
    go_on.send(()).expect("the driver is there");
    assert_eq!(was_read.recv_timeout(PATIENCE), Ok(7), "it was never told that there is something to read");
    live.stop(PATIENCE).expect("it runs well");
}
