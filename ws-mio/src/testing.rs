//! For testing an application: [`TestServer`] runs it without sockets, threads or a clock.
//!
//! The engine is the one of [`Server`](crate::Server); what surrounds it is in memory. Wires have
//! room for so many bytes, so that short writes and peers that do not read happen by themselves; edges are told as
//! a poll tells them; [`Faults`] are decided by a seed. Time passes only by
//! [`advance`](TestServer::advance), from one deadline to the next. The same seed gives the same
//! [`transcript`](TestServer::transcript).
//!
//! ```
//! use ws_mio::{Context, Decision, Message, Session, accept_with, testing::TestServer};
//!
//! struct Echo;
//!
//! impl Session for Echo {
//!     fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
//!         if let Message::Text(text) = message {
//!             _ = cx.send_text(text);
//!         }
//!     }
//! }
//!
//! let server = TestServer::new(accept_with(|_, _| Decision::accept(Echo)));
//! let client = server.connect("/");
//! client.send_text("hello");
//! client.expect_text("hello");
//! client.close(1000, "");
//! client.expect_close(1000);
//! assert_eq!(server.connections(), 0);
//! ```

mod client;
mod transcript;
mod wire;

use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ws_proto::Config;

use self::{
    client::End,
    transcript::{Transcript, What},
    wire::{Attention, Dice, Link, Wire},
};
pub use self::{
    client::{Received, TestClient},
    wire::Faults,
};
use crate::{
    accept::{Application, Peer},
    buffers::Marks,
    config::{Capacity, Report, Shutdown},
    handle::{Errand, Handle, LoopSide, Shared, Wake},
    reactor::{
        engine::{Engine, Settings},
        inbox::Inbox,
        slab::Key,
    },
    session::Now,
};

/// An application on event loops without sockets.
pub struct TestServer<A: Application> {
    world: Rc<RefCell<World<A>>>,
}

/// What a [`TestServer`] is going to be.
#[must_use]
#[derive(Clone, Debug)]
pub struct Setup {
    config: Config,
    capacity: Capacity,
    marks: Marks,
    loops: u16,
    seed: u64,
    faults: Faults,
    room: usize,
}

impl Setup {
    /// One loop, all defaults and no faults.
    pub fn new() -> Self {
        Self {
            config: Config::new(),
            capacity: Capacity::of_descriptors(1088),
            marks: Marks::new(),
            loops: 1,
            seed: 0,
            faults: Faults::none(),
            room: 64 << 10,
        }
    }

    /// With these limits and timeouts for each connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// With these bounds of how many connections there may be. Default: those of a process that may
    /// open 1088 descriptors.
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = capacity;
        self
    }

    /// With these marks for what waits for slow peers.
    pub fn marks(mut self, marks: Marks) -> Self {
        self.marks = marks;
        self
    }

    /// With this many loops. Clients connect to each in turn.
    pub fn loops(mut self, loops: u16) -> Self {
        self.loops = loops.max(1);
        self
    }

    /// With this seed, by which faults are decided, and who is next. With 0, the default, all come
    /// in turn.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With wires on which these go wrong.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// With wires that have room for so many bytes in each direction; default 64 KiB.
    pub fn room(mut self, bytes: usize) -> Self {
        self.room = bytes.max(1);
        self
    }

    /// The server.
    pub fn serve<A: Application>(self, app: A) -> TestServer<A> {
        TestServer {
            world: Rc::new(RefCell::new(World::new(self, app))),
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Application> TestServer<A> {
    /// A server with one loop, all defaults and no faults.
    pub fn new(app: A) -> Self {
        Setup::new().serve(app)
    }

    /// A client that has asked for this path, and was answered if nothing is in the way. It comes
    /// from an address of 192.0.2.0/24.
    pub fn connect(&self, path: &str) -> TestClient {
        let client = self.dial();
        self.world.borrow_mut().end(client.index).open(path);
        self.run();
        client
    }

    /// As [`connect`](Self::connect), from elsewhere.
    pub fn connect_from(&self, peer: Peer, path: &str) -> TestClient {
        let client = self.dial_from(peer);
        self.world.borrow_mut().end(client.index).open(path);
        self.run();
        client
    }

    /// A client that says nothing and answers nothing by itself.
    pub fn dial(&self) -> TestClient {
        let port = self.world.borrow().dialled as u16;
        let address = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), port);
        self.dial_from(Peer::Internet(address))
    }

    /// As [`dial`](Self::dial), from elsewhere.
    pub fn dial_from(&self, peer: Peer) -> TestClient {
        let index = self.world.borrow_mut().dial(peer);
        TestClient {
            world: Rc::clone(&self.world) as Rc<RefCell<dyn Drive>>,
            index,
        }
    }

    /// From now on clients connect over wires on which these go wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.world.borrow_mut().faults = faults;
    }

    /// Runs until nothing more happens without time passing.
    ///
    /// # Panics
    ///
    /// When that is not after a million rounds: something keeps the loop busy.
    pub fn run(&self) {
        self.world.borrow_mut().run();
    }

    /// Runs each client and each loop once at most. Whether anything happened.
    pub fn step(&self) -> bool {
        self.world.borrow_mut().step()
    }

    /// Lets time pass, from one deadline to the next, and all happen that is due.
    pub fn advance(&self, ms: u64) {
        self.world.borrow_mut().advance(ms);
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        self.world.borrow().now
    }

    /// The server from outside.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.world.borrow().shared))
    }

    /// Shuts down as the plan says, and lets as much time pass as that takes.
    ///
    /// # Panics
    ///
    /// When it is not done by the deadline.
    pub fn shutdown(&self, plan: Shutdown) -> Report {
        self.handle().shutdown(plan);
        self.run();
        let end_ms = self.now().monotonic_ms.saturating_add(plan.deadline_ms);
        loop {
            if let Some(report) = self.report() {
                return report;
            }
            let now_ms = self.now().monotonic_ms;
            assert!(now_ms < end_ms, "not done in time\n{}", self.transcript());
            self.advance((end_ms - now_ms).min(100));
        }
    }

    /// The report, when a shutdown that was asked for by the [handle](Self::handle) is done.
    pub fn report(&self) -> Option<Report> {
        let world = self.world.borrow();
        let reports = world.loops.iter().map(|side| side.report);
        reports.reduce(|one, other| Some(one?.and(other?)))?
    }

    /// How many connections there are, handshakes and goodbyes included.
    pub fn connections(&self) -> usize {
        self.run();
        self.handle().connections()
    }

    /// How often loops have run.
    pub fn turns(&self) -> u64 {
        self.world.borrow().turns
    }

    /// The last lines of what happened, and a digest of all of them.
    pub fn transcript(&self) -> String {
        self.world.borrow().transcript()
    }

    /// Compares what the engine counts and keeps with what is there.
    ///
    /// # Panics
    ///
    /// When they differ: that is a bug of this crate.
    pub fn check(&self) {
        self.world.borrow().check();
    }
}

/// A world, for clients, which do not care of which application.
trait Drive {
    fn run(&mut self);
    fn end(&mut self, index: usize) -> &mut End;
    fn transcript(&self) -> String;
}

struct World<A: Application> {
    now: Now,
    loops: Vec<Side<A>>,
    shared: Arc<Shared>,
    /// By number; those that have ended are forgotten when nobody asks for them any more.
    ends: HashMap<usize, End>,
    dialled: usize,
    attention: Attention,
    transcript: Rc<RefCell<Transcript>>,
    dice: Dice,
    seed: u64,
    faults: Faults,
    room: usize,
    turns: u64,
}

/// One loop.
struct Side<A: Application> {
    engine: Engine<Wire, A>,
    woken: Arc<AtomicBool>,
    /// The clients about whose connections the poll has something to tell.
    edgy: Attention,
    errands: Vec<(Key, Errand)>,
    shutdowns: usize,
    report: Option<Report>,
}

/// What may wait in the inbox of a loop.
const INBOX: usize = 64 << 10;
/// Any time will do, but 0 hides what was never set.
const START: Now = Now {
    monotonic_ms: 1_000_050,
    unix_s: 1_700_000_000,
};

impl<A: Application> World<A> {
    fn new(setup: Setup, app: A) -> Self {
        let app = Arc::new(app);
        let flags: Vec<_> = (0..setup.loops)
            .map(|_| Arc::new(AtomicBool::new(false)))
            .collect();
        let sides = flags.iter().map(|woken| {
            let wake = || -> Wake {
                let woken = Arc::clone(woken);
                Box::new(move || woken.store(true, Ordering::Release))
            };
            LoopSide {
                inbox: Inbox::new(INBOX, wake()),
                wake: wake(),
            }
        });
        let shared = Arc::new(Shared::new(sides.collect()));
        let settings = Settings {
            config: Arc::new(setup.config),
            capacity: setup.capacity,
            marks: setup.marks,
        };
        let loops = (0..).zip(flags).map(|(loop_index, woken)| {
            let mut random = Dice::new(setup.seed ^ u64::from(loop_index));
            Side {
                engine: Engine::new(
                    Arc::clone(&app),
                    Arc::clone(&shared),
                    loop_index,
                    &settings,
                    START,
                    Box::new(move || random.roll()),
                ),
                woken,
                edgy: Attention::default(),
                errands: Vec::new(),
                shutdowns: 0,
                report: None,
            }
        });
        Self {
            now: START,
            loops: loops.collect(),
            shared,
            ends: HashMap::new(),
            dialled: 0,
            attention: Attention::default(),
            transcript: Rc::new(RefCell::new(Transcript::new(START.monotonic_ms))),
            dice: Dice::new(setup.seed),
            seed: setup.seed,
            faults: setup.faults,
            room: setup.room,
            turns: 0,
        }
    }

    fn dial(&mut self, peer: Peer) -> usize {
        let index = self.dialled;
        self.dialled += 1;
        let loop_index = index % self.loops.len();
        let side = &mut self.loops[loop_index];
        let seed = if self.seed == 0 { 0 } else { self.dice.roll() };
        let link = Rc::new(RefCell::new(Link::new(
            index,
            self.room,
            self.faults,
            seed,
            (Rc::clone(&side.edgy), Rc::clone(&self.attention)),
            Rc::clone(&self.transcript),
        )));
        let mut transcript = self.transcript.borrow_mut();
        transcript.note(index, What::Dialled(loop_index));
        drop(transcript);
        self.ends.insert(index, End::new(Rc::clone(&link), seed));
        let wire = Wire(link);
        // Where the loop has ended, nobody listens.
        if side.report.is_none() {
            side.engine.set_now(self.now);
            side.engine.admit(wire, peer, |wire, token| {
                wire.register(token);
                Ok(())
            });
        }
        index
    }

    fn step(&mut self) -> bool {
        let mut is_busy = false;
        let mut clients = mem::take(&mut *self.attention.borrow_mut());
        if self.seed != 0 {
            self.dice.shuffle(&mut clients);
        }
        for index in clients {
            let Some(end) = self.ends.get_mut(&index) else {
                continue;
            };
            end.link.borrow_mut().attended();
            let is_late = self.seed != 0 && self.dice.percent(25);
            if is_late || end.step() {
                end.link.borrow_mut().call_client();
                is_busy = true;
            } else if end.is_over() {
                self.ends.remove(&index);
            }
        }
        let mut order: Vec<_> = (0..self.loops.len()).collect();
        if self.seed != 0 {
            self.dice.shuffle(&mut order);
        }
        for loop_index in order {
            if self.is_due(loop_index) {
                self.turn(loop_index);
                is_busy = true;
            }
        }
        is_busy
    }

    fn is_due(&self, loop_index: usize) -> bool {
        let side = &self.loops[loop_index];
        let next = side.engine.next_timeout();
        let is_due = next.is_some_and(|next| next <= self.now.monotonic_ms);
        let has_mail = side.woken.load(Ordering::Acquire);
        side.report.is_none() && (is_due || has_mail || !side.edgy.borrow().is_empty())
    }

    /// What an event loop does each time it wakes.
    fn turn(&mut self, loop_index: usize) {
        self.turns += 1;
        let side = &mut self.loops[loop_index];
        let inside = &self.shared.loops[loop_index];
        side.engine.set_now(self.now);
        let mut edgy = mem::take(&mut *side.edgy.borrow_mut());
        if self.seed != 0 {
            self.dice.shuffle(&mut edgy);
        }
        for index in edgy {
            let Some(end) = self.ends.get(&index) else {
                continue;
            };
            let mut link = end.link.borrow_mut();
            let ready = link.take_ready();
            let key = link.key;
            drop(link);
            if let Some(key) = key {
                side.engine.ready(key, ready);
            }
        }
        if side.woken.swap(false, Ordering::AcqRel) {
            inside.inbox.drain(&mut side.errands);
            for (key, errand) in side.errands.drain(..) {
                side.engine.perform(key, errand);
            }
            let wanted = self.shared.wanted.load(Ordering::Acquire);
            if wanted != side.shutdowns {
                side.shutdowns = wanted;
                let plan = self.shared.shutdown.lock();
                if let Some(plan) = *plan.unwrap_or_else(PoisonError::into_inner) {
                    side.engine.shut_down(plan);
                }
            }
        }
        side.engine.run();
        side.report = side.engine.report();
        if side.report.is_some() {
            inside.inbox.close();
        }
    }

    fn advance(&mut self, ms: u64) {
        let end_ms = self.now.monotonic_ms + ms;
        loop {
            self.run();
            let live = self.loops.iter().filter(|side| side.report.is_none());
            let next = live.filter_map(|side| side.engine.next_timeout()).min();
            match next {
                Some(next) if next <= end_ms => self.set_now(next),
                _ => break,
            }
        }
        self.set_now(end_ms);
        self.run();
    }

    fn set_now(&mut self, monotonic_ms: u64) {
        let since_ms = monotonic_ms - START.monotonic_ms;
        self.now = Now {
            monotonic_ms,
            unix_s: START.unix_s + since_ms / 1000,
        };
        self.transcript.borrow_mut().now_ms = monotonic_ms;
    }

    fn check(&self) {
        let mut count = 0;
        let mut counted = 0;
        for side in &self.loops {
            let (here, by_address) = side.engine.check();
            count += here;
            counted += by_address;
        }
        assert_eq!(self.shared.connections.load(Ordering::Relaxed), count);
        assert_eq!(self.shared.census.total(), counted, "by address");
    }
}

impl<A: Application> Drive for World<A> {
    fn run(&mut self) {
        const MANY: usize = 1_000_000;
        for _ in 0..MANY {
            if !self.step() {
                return;
            }
        }
        panic!("the server does not come to rest\n{}", self.transcript());
    }

    fn end(&mut self, index: usize) -> &mut End {
        let end = self.ends.get_mut(&index);
        end.expect("a client that is asked for is kept")
    }

    fn transcript(&self) -> String {
        self.transcript.borrow().to_string()
    }
}
