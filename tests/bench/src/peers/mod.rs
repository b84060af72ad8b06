//! The peers, each driven in the way closest to bytes in, messages out.
//!
//! Those with a decoder over a buffer (sockudo-ws, nexus-web, embedded-websocket, edge-ws, yawc's
//! codec) are driven through it. The others read from a [`Memory`] that is always ready; their
//! futures never wait, so that one poll runs them through.

mod edge_ws;
mod embedded_websocket;
mod encoding;
mod fastwebsockets;
mod feeding;
mod greeting;
mod nexus_web;
mod sockudo_ws;
mod tokio_websockets;
mod tungstenite;
mod websocketz;
mod yawc;

use std::{
    convert::Infallible,
    hint::black_box,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::{
    edge_ws::EdgeWs,
    embedded_websocket::EmbeddedWebsocket,
    encoding::encoders,
    fastwebsockets::Fastwebsockets,
    feeding::bytewise,
    greeting::handshakes,
    nexus_web::NexusWeb,
    sockudo_ws::SockudoWs,
    tokio_websockets::TokioWebsockets,
    tungstenite::Tungstenite,
    websocketz::Websocketz,
    yawc::{Yawc, YawcCodec},
};

/// A transport that delivers the same bytes again and again, and keeps what it is given until it is
/// forgotten.
///
/// A read ends where the bytes end, so that a decoder which has taken all frames of one round has
/// nothing left over.
#[derive(Debug, Default)]
pub struct Memory {
    bytes: Vec<u8>,
    at: usize,
    /// What was written.
    pub written: Vec<u8>,
    /// Whether to forget at once what is written: a socket would not keep it in our memory either.
    pub forgetful: bool,
}

impl Memory {
    /// Holds these bytes.
    #[must_use]
    pub fn holding(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            ..Self::default()
        }
    }

    fn next(&mut self, most: usize) -> &[u8] {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let from = self.at;
        self.at = self.bytes.len().min(from + most);
        &self.bytes[from..self.at]
    }

    fn deliver(&mut self, to: &mut [u8]) -> usize {
        let from = self.next(to.len());
        to[..from.len()].copy_from_slice(from);
        from.len()
    }

    fn keep(&mut self, from: &[u8]) -> usize {
        if !self.forgetful {
            self.written.extend_from_slice(from);
        }
        black_box(from).len()
    }
}

impl io::Read for Memory {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Ok(self.deliver(to))
    }
}

impl io::Write for Memory {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(self.keep(from))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = to.remaining();
        to.put_slice(self.next(most));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.keep(from)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl embedded_io_async::ErrorType for Memory {
    type Error = Infallible;
}

impl embedded_io_async::Read for Memory {
    async fn read(&mut self, to: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.deliver(to))
    }
}

impl embedded_io_async::Write for Memory {
    async fn write(&mut self, from: &[u8]) -> Result<usize, Infallible> {
        Ok(self.keep(from))
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Runs a future that never has to wait.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory is always ready"),
    }
}
