//! A session that does what it is told, and a log of all calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Once},
};

use ws_mio::{
    Application, Chunk, CloseCode, Closed, ConnectionId, Context, Decision, Delivery, Encoded,
    Message, Note, Overflow, Sent, Session, accept_with,
};

/// A call of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Text(String),
    Binary(usize),
    Chunk(usize),
    Ping(usize),
    Pong(usize),
    Drained,
    Timer(u64),
    Post(String),
    Closing(u16),
    Close { code: u16, clean: bool },
    Panic(&'static str),
    Dropped,
}

/// All calls of all sessions, each with the number of its session.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    calls: Vec<(usize, Call)>,
    ids: HashMap<usize, ConnectionId>,
    sent: Vec<Sent>,
    sessions: usize,
    /// How deep in calls of sessions we are.
    depth: usize,
}

/// A note that goes to and fro so often.
pub(crate) struct Ball(pub(crate) u32, pub(crate) ConnectionId);

impl Log {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("nothing panics under it")
    }

    /// The calls of one session.
    pub(crate) fn of(&self, session: usize) -> Vec<Call> {
        let inside = self.lock();
        let own = inside.calls.iter().filter(|(who, _)| *who == session);
        own.map(|(_, call)| call.clone()).collect()
    }

    pub(crate) fn all(&self) -> Vec<(usize, Call)> {
        self.lock().calls.clone()
    }

    pub(crate) fn id(&self, session: usize) -> Option<ConnectionId> {
        self.lock().ids.get(&session).copied()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.lock().sessions
    }

    /// What became of what was sent, since it was asked last.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().sent)
    }

    /// How many calls there were like this one.
    pub(crate) fn count(&self, call: &Call) -> usize {
        let inside = self.lock();
        inside.calls.iter().filter(|(_, is)| is == call).count()
    }

    /// The guarantees, of sessions that have ended.
    #[track_caller]
    pub(crate) fn check(&self) {
        for session in 0..self.sessions() {
            let mut calls = self.of(session);
            assert_eq!(
                calls.pop(),
                Some(Call::Dropped),
                "session {session}: {calls:?}"
            );
            if calls.iter().all(|call| matches!(call, Call::Panic(_))) {
                // It was never open: the answer could not be written.
                continue;
            }
            let is_close = |call: &&Call| matches!(call, Call::Close { .. });
            let is_open = |call: &&Call| matches!(call, Call::Open);
            assert_eq!(calls[0], Call::Open, "session {session}: {calls:?}");
            assert_eq!(calls.iter().filter(is_open).count(), 1, "{calls:?}");
            assert_eq!(
                calls.iter().filter(is_close).count(),
                1,
                "session {session}: {calls:?}"
            );
            let at = calls.iter().position(|call| is_close(&call));
            let behind = &calls[at.expect("there is one") + 1..];
            let may_follow = |call: &Call| matches!(call, Call::Panic("close" | "drop"));
            assert!(
                behind.iter().all(may_follow),
                "session {session}: {calls:?}"
            );
            if let Some(at) = calls.iter().position(|call| matches!(call, Call::Panic(_))) {
                let next = calls.get(at + 1);
                assert!(
                    next.is_none_or(|call| is_close(&call)),
                    "session {session}: {calls:?}"
                );
            }
        }
    }
}

/// Sessions that do what they are told. The path says where one panics: `/panic/open`.
pub(crate) fn app(log: &Log) -> impl Application<Session = Probe> + use<> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
                hook(info);
            }
        }));
    });
    let log = log.clone();
    accept_with(move |request, _peer| {
        let target = request.target();
        if target == "/teapot" {
            return Decision::reject(418, "short and stout");
        }
        let panics_at = target.strip_prefix("/panic/").unwrap_or_default();
        if panics_at == "accept" {
            panic!("{ON_PURPOSE}");
        }
        let mut inside = log.lock();
        let session = inside.sessions;
        inside.sessions += 1;
        drop(inside);
        let probe = Probe {
            session,
            log: log.clone(),
            panics_at: panics_at.to_owned(),
            delivery: match target.starts_with("/chunks") {
                true => Delivery::Chunks,
                false => Delivery::Messages,
            },
        };
        match target {
            "/bad-answer" => Decision::accept(probe).header("Sec-WebSocket-Accept", "mine"),
            "/panic/drop/unopened" => Decision::accept(probe).header("a b", ""),
            _ => Decision::accept(probe),
        }
    })
}

const ON_PURPOSE: &str = "on purpose";

pub(crate) struct Probe {
    session: usize,
    log: Log,
    panics_at: String,
    delivery: Delivery,
}

impl Probe {
    fn call(&self, call: Call, place: &'static str, then: impl FnOnce()) {
        let mut inside = self.log.lock();
        assert_eq!(inside.depth, 0, "a session is called within another's call");
        inside.calls.push((self.session, call));
        if self.panics_at.starts_with(place) {
            inside.calls.push((self.session, Call::Panic(place)));
            drop(inside);
            panic!("{ON_PURPOSE}");
        }
        inside.depth += 1;
        drop(inside);
        then();
        self.log.lock().depth -= 1;
    }

    fn note(&self, sent: Sent) {
        self.log.lock().sent.push(sent);
    }

    fn obey(&self, text: &str, cx: &mut Context<'_>) {
        let words: Vec<_> = text.split(' ').collect();
        let number = |word: usize| words[word].parse::<u64>().expect("a number");
        let id = |word: usize| self.log.id(number(word) as usize);
        match words[0] {
            "panic" => {
                let mut inside = self.log.lock();
                inside.calls.push((self.session, Call::Panic("message")));
                inside.depth -= 1;
                drop(inside);
                panic!("{ON_PURPOSE}")
            }
            "close" => self.note(cx.close(CloseCode::new(number(1) as u16), "as told")),
            "wake" => cx.wake_at(cx.now().monotonic_ms + number(1)),
            "never" => cx.never_wake(),
            "pause" => cx.pause(),
            "drop-oldest" => cx.set_overflow(Overflow::DropOldest),
            "reject" => cx.set_overflow(Overflow::Reject),
            "flood" => {
                for n in 0..number(1) {
                    let mut bytes = vec![0; number(2) as usize];
                    bytes[..8].copy_from_slice(&n.to_be_bytes());
                    self.note(cx.send_binary(&bytes));
                }
            }
            "latest" => {
                for n in 0..number(2) {
                    let text = format!("{n} {}", "x".repeat(number(3) as usize));
                    self.note(cx.send_latest_text(number(1), &text));
                }
            }
            "post" => {
                if let Some(id) = id(1) {
                    cx.post(id, Box::new(words[2].to_owned()));
                }
            }
            "tell" => {
                if let Some(id) = id(1) {
                    cx.send_to(id, &Encoded::text(words[2]));
                }
            }
            "kick" => {
                if let Some(id) = id(1) {
                    cx.close_other(id, CloseCode::new(number(2) as u16), "kicked");
                }
            }
            "ball" => {
                if let Some(id) = id(1) {
                    cx.post(id, Box::new(Ball(number(2) as u32, cx.id())));
                }
            }
            _ => self.note(cx.send_text(text)),
        }
    }
}

impl Session for Probe {
    fn delivery(&self) -> Delivery {
        if self.panics_at == "delivery" {
            let mut inside = self.log.lock();
            inside.calls.push((self.session, Call::Panic("delivery")));
            drop(inside);
            panic!("{ON_PURPOSE}");
        }
        self.delivery
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        self.log.lock().ids.insert(self.session, cx.id());
        self.call(Call::Open, "open", || ());
    }

    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        match message {
            Message::Text(text) => {
                self.call(Call::Text(text.into()), "message", || self.obey(text, cx));
            }
            Message::Binary(bytes) => {
                let call = Call::Binary(bytes.len());
                self.call(call, "message", || self.note(cx.send_binary(bytes)));
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, cx: &mut Context<'_>) {
        let call = Call::Chunk(chunk.bytes.len());
        self.call(call, "chunk", || self.note(cx.send_chunk(chunk)));
    }

    fn ping(&mut self, payload: &[u8], _cx: &mut Context<'_>) {
        self.call(Call::Ping(payload.len()), "ping", || ());
    }

    fn pong(&mut self, payload: &[u8], _cx: &mut Context<'_>) {
        self.call(Call::Pong(payload.len()), "pong", || ());
    }

    fn drained(&mut self, _cx: &mut Context<'_>) {
        self.call(Call::Drained, "drained", || ());
    }

    fn timer(&mut self, cx: &mut Context<'_>) {
        self.call(Call::Timer(cx.now().monotonic_ms), "timer", || ());
    }

    fn post(&mut self, note: Note, cx: &mut Context<'_>) {
        let note = match note.downcast::<Ball>() {
            Ok(ball) => {
                let text = format!("ball {}", ball.0);
                self.call(Call::Post(text), "post", || {
                    if ball.0 > 0 {
                        cx.post(ball.1, Box::new(Ball(ball.0 - 1, cx.id())));
                    }
                });
                return;
            }
            Err(note) => note,
        };
        let text = note.downcast::<String>().expect("a text");
        self.call(Call::Post(*text.clone()), "post", || match text.as_str() {
            "resume" => cx.resume(),
            "panic" => self.obey("panic", cx),
            text => _ = text.strip_prefix("do ").map(|text| self.obey(text, cx)),
        });
    }

    fn closing(&mut self, code: CloseCode, _reason: &str, _cx: &mut Context<'_>) {
        self.call(Call::Closing(code.get()), "closing", || ());
    }

    fn close(&mut self, why: &Closed, _cx: &mut Context<'_>) {
        let (code, clean) = (why.code.get(), why.clean);
        self.call(Call::Close { code, clean }, "close", || ());
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut inside = self.log.lock();
        let panics = self.panics_at.starts_with("drop") && !std::thread::panicking();
        if panics {
            inside.calls.push((self.session, Call::Panic("drop")));
        }
        inside.calls.push((self.session, Call::Dropped));
        drop(inside);
        assert!(!panics, "{ON_PURPOSE}");
    }
}
