//! Who is let in: [`Application`] decides about each request, before the handshake is answered.

use std::{marker::PhantomData, net::SocketAddr, sync::Arc};

use ws_proto::{
    Config,
    handshake::{Request, Subprotocol},
};

use crate::session::Session;

/// What a server serves: it makes a [`Session`] of each request it accepts. One application serves
/// all loops.
///
/// [`accept_with`] makes one of a function.
pub trait Application: Send + Sync + 'static {
    /// What connections are.
    type Session: Session + 'static;

    /// Decides about a request, which is known to be one for a WebSocket. It is called on the loop
    /// that the connection belongs to; while it thinks, nothing else is served there.
    fn accept(&self, request: &Request<'_, '_>, peer: &Peer) -> Decision<Self::Session>;
}

/// An application whose decision is this function.
pub fn accept_with<S, F>(decide: F) -> impl Application<Session = S>
where
    S: Session + 'static,
    F: Fn(&Request<'_, '_>, &Peer) -> Decision<S> + Send + Sync + 'static,
{
    With {
        decide,
        session: PhantomData,
    }
}

struct With<S, F> {
    decide: F,
    session: PhantomData<fn() -> S>,
}

impl<S, F> Application for With<S, F>
where
    S: Session + 'static,
    F: Fn(&Request<'_, '_>, &Peer) -> Decision<S> + Send + Sync + 'static,
{
    type Session = S;

    fn accept(&self, request: &Request<'_, '_>, peer: &Peer) -> Decision<S> {
        (self.decide)(request, peer)
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// From this address, which may be a proxy's.
    Internet(SocketAddr),
    /// Over a Unix socket.
    Unix,
}

/// What becomes of a request.
pub struct Decision<S>(pub(crate) Verdict<S>);

pub(crate) enum Verdict<S> {
    Accept(Accepted<S>),
    Reject(Rejected),
}

pub(crate) struct Accepted<S> {
    pub(crate) session: S,
    pub(crate) subprotocol: Option<Subprotocol<'static>>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) config: Option<Arc<Config>>,
}

pub(crate) struct Rejected {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl<S> Decision<S> {
    /// The handshake is answered with 101, and this is the connection's session.
    pub fn accept(session: S) -> Self {
        Self(Verdict::Accept(Accepted {
            session,
            subprotocol: None,
            headers: Vec::new(),
            config: None,
        }))
    }

    /// The handshake is answered with this status, of 300 to 599, and a text for people. A status
    /// that may not be answered becomes 500.
    pub fn reject(status: u16, body: impl Into<String>) -> Self {
        Self(Verdict::Reject(Rejected {
            status,
            headers: Vec::new(),
            body: body.into(),
        }))
    }

    /// With a further header. Its name must be a token and its value have no control characters, or
    /// the answer becomes 500; those of the handshake itself are not for the application.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let headers = match &mut self.0 {
            Verdict::Accept(accepted) => &mut accepted.headers,
            Verdict::Reject(rejected) => &mut rejected.headers,
        };
        headers.push((name, value.into()));
        self
    }

    /// With the subprotocol that [`Request::choose`] found, if it found one. A rejection has none.
    #[must_use]
    pub fn subprotocol(mut self, subprotocol: Option<Subprotocol<'static>>) -> Self {
        if let Verdict::Accept(accepted) = &mut self.0 {
            accepted.subprotocol = subprotocol;
        }
        self
    }

    /// With limits and timeouts of its own, in place of the server's.
    #[must_use]
    pub fn config(mut self, config: Arc<Config>) -> Self {
        if let Verdict::Accept(accepted) = &mut self.0 {
            accepted.config = Some(config);
        }
        self
    }
}
