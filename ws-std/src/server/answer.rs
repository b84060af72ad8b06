//! What a server may answer to a request: [`Accept`], [`Reject`].

use crate::opening::Headers;

/// What becomes of a request for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It becomes one.
    Accept(Accept),
    /// It is refused.
    Reject(Reject),
}

/// With what a request is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Accept {
    pub(super) subprotocol: Option<String>,
    pub(super) headers: Headers,
}

/// With what a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reject {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

impl Accept {
    /// Nothing but what the server does by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Agrees on this subprotocol, in place of the first that the server prefers. It has to be one
    /// that the client offers; else the peer is told 500, for the program is wrong.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocol = Some(name.to_owned());
        self
    }

    /// Sends this header, too. Those of the handshake itself are refused with 500.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }
}

impl Reject {
    /// A status of 300 to 599.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// Sends this header, too. A 401 should have `WWW-Authenticate`, a redirect `Location`, a 429 or
    /// 503 `Retry-After`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sends this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<Accept> for Decision {
    fn from(accept: Accept) -> Self {
        Self::Accept(accept)
    }
}

impl From<Reject> for Decision {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

/// The answer where there is not even a thread to make one.
pub(super) const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Content-Length: 0\r\nRetry-After: 1\r\n\r\n";
