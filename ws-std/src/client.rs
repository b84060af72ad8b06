//! [`connect`] and [`Client`]: the connecting end.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use ws_proto::{
    ClientHandshake, Config, Limit, Output, WsUri,
    handshake::{ClientRequest, EMPTY_HEADER, HandshakeError, Outcome, Response},
};

use crate::{
    buffer::{Inbox, is_timeout},
    error::{Error, Rejection, Stage},
    keys::random,
    log,
    opening::{Headers, MAX_HEADERS, Opening, SHORTEST, left, read_until, write_all},
    transport::{Stream, Transport},
    websocket::{RECEIVE_BUFFER, WebSocket, automatic},
};

/// Opens a connection to a `ws:` URI, with the defaults of [`Client`].
///
/// ```no_run
/// let mut socket = ws_std::connect("ws://127.0.0.1:8765/chat")?;
/// socket.send_text("Hello")?;
/// println!("{:?}", socket.recv()?);
/// # Ok::<(), ws_std::Error>(())
/// ```
///
/// # Errors
///
/// As [`Client::connect`].
pub fn connect(uri: &str) -> Result<WebSocket<Stream>, Error> {
    Client::new().connect(uri)
}

/// What to ask a server for, and how long to wait.
///
/// ```no_run
/// use std::time::Duration;
/// use ws_std::Client;
///
/// let socket = Client::new()
///     .header("Authorization", "Bearer 7aa1")
///     .subprotocol("chat.v2")
///     .connect_timeout(Duration::from_secs(3))
///     .connect("ws://127.0.0.1:8765/chat")?;
/// assert_eq!(socket.subprotocol(), Some("chat.v2"));
/// # Ok::<(), ws_std::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Client {
    headers: Headers,
    subprotocols: Vec<String>,
    origin: Option<String>,
    connect_timeout: Duration,
    send_timeout: Option<Duration>,
    config: Config,
    receive_buffer: usize,
    on_head: Option<fn(&str)>,
}

impl Client {
    /// The defaults named at each method.
    pub fn new() -> Self {
        Self {
            headers: Headers::default(),
            subprotocols: Vec::new(),
            origin: None,
            connect_timeout: Duration::from_secs(10),
            send_timeout: Some(Duration::from_secs(30)),
            config: Config::new(),
            receive_buffer: RECEIVE_BUFFER,
            on_head: None,
        }
    }

    /// Sends this header, too. Those of the handshake itself, such as `Host`, are refused when
    /// connecting.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Offers this subprotocol, behind those offered before.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocols.push(name.to_owned());
        self
    }

    /// Sends this `Origin`. Only browsers have to.
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// One bound on all that [`connect`](Self::connect) does: DNS, TCP, HTTP. Default 10 s;
    /// [`Duration::MAX`] is for ever.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a write may find no room because the peer does not read. Default 30 s; `None` is
    /// for ever, and the least is 1 ms.
    pub fn send_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.send_timeout = timeout.map(|timeout| timeout.max(SHORTEST));
        self
    }

    /// The longest message that is received, in bytes; a longer one is answered with a Close with
    /// 1009. Default 1 MiB.
    pub fn max_message(mut self, limit: Limit) -> Self {
        self.config.limits.max_message = limit;
        self
    }

    /// All bounds and timers of the protocol. It replaces [`max_message`](Self::max_message).
    ///
    /// Pings and Closes are answered by the connection, whatever `pong` and `close` say: there is
    /// nobody else here to see them.
    pub fn config(mut self, config: Config) -> Self {
        self.config = automatic(config);
        self
    }

    /// The size of the receive buffer in bytes. Default [`RECEIVE_BUFFER`]; not smaller than
    /// [`Limits::max_head`](ws_proto::Limits::max_head), and from 256 bytes to 64 MiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Calls a function with each line of request (`> `) and response (`< `), secrets redacted and
    /// control characters escaped: for people who want to see the handshake.
    pub fn on_head_line(mut self, show: fn(&str)) -> Self {
        self.on_head = Some(show);
        self
    }

    /// Opens a connection: tries all addresses of the host, sends the request, and judges the
    /// response.
    ///
    /// A user name and password in the URI are sent as `Authorization: Basic`.
    ///
    /// # Errors
    ///
    /// [`Error::Uri`]; [`Error::Tls`] for `wss:`, which this version does not speak; [`Error::Resolve`];
    /// [`Error::Connect`]; [`Error::Timeout`]; [`Error::Rejected`] with status, headers and body;
    /// [`Error::Request`]; [`Error::Response`]; [`Error::NoResponse`]; [`Error::Io`].
    pub fn connect(&self, uri: &str) -> Result<WebSocket<Stream>, Error> {
        let parsed = parse(uri)?;
        let deadline = self.deadline();
        let addresses = resolve(parsed.host(), parsed.port(), deadline)?;
        let tcp = connect_any(&addresses, deadline)?;
        tcp.set_nodelay(true).map_err(Error::Io)?;
        self.open(Stream::new(tcp), &parsed, deadline)
    }

    /// Opens a connection on a stream that leads to the server already.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_on<S: Transport>(&self, stream: S, uri: &str) -> Result<WebSocket<S>, Error> {
        self.open(stream, &parse(uri)?, self.deadline())
    }

    /// When all has to be done; a time that no clock will show is never.
    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.connect_timeout)
    }

    fn open<S: Transport>(
        &self,
        mut stream: S,
        uri: &WsUri<'_>,
        deadline: Option<Instant>,
    ) -> Result<WebSocket<S>, Error> {
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let headers = self.headers.views();
        let mut request = ClientRequest::new(*uri)
            .subprotocols(&subprotocols)
            .headers(&headers);
        if let Some(origin) = &self.origin {
            request = request.origin(origin);
        }
        let mut buffer = vec![0; self.request_room(uri)];
        let mut output = Output::new(&mut buffer);
        let handshake = ClientHandshake::start(&request, random(), &mut output).map_err(refusal)?;
        self.show('>', output.written());
        stream
            .set_write_timeout(left(deadline)?)
            .map_err(Error::Io)?;
        write_all(&mut stream, output.written())?;
        let exchange = Exchange {
            client: self,
            handshake,
            inbox: Inbox::new(self.receive_buffer.max(self.config.limits.max_head)),
            stream,
            deadline,
        };
        let [path, query] = uri.resource_name();
        exchange.finish(format!("{path}{query}"))
    }

    /// How long the request may become: what is asked for, and 1 KiB for the rest.
    fn request_room(&self, uri: &WsUri<'_>) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        let subprotocols: usize = self.subprotocols.iter().map(|name| name.len() + 2).sum();
        let origin = self.origin.as_ref().map_or(0, String::len);
        let user_info = uri.user_info().map_or(0, str::len);
        let uri: usize = uri.resource_name().map(str::len).iter().sum::<usize>() + uri.host().len();
        1024 + headers + subprotocols + origin + uri + 2 * user_info
    }

    fn show(&self, direction: char, head: &[u8]) {
        if self.on_head.is_none()
            && !tracing::enabled!(target: "ws::handshake", tracing::Level::DEBUG)
        {
            return;
        }
        for line in log::head_lines(head) {
            tracing::debug!(target: "ws::handshake", "{direction} {line}");
            if let Some(show) = self.on_head {
                show(&format!("{direction} {line}"));
            }
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// A request on its way.
struct Exchange<'c, S> {
    client: &'c Client,
    handshake: ClientHandshake<'c>,
    inbox: Inbox,
    stream: S,
    deadline: Option<Instant>,
}

/// What a response led to, once it does not borrow the input any more.
enum Answer {
    Accepted(ws_proto::Connection<Arc<Config>>, Opening),
    Rejected(Rejection, BodyLength),
}

/// How long the body of a response is (RFC 9112 §6.3).
#[derive(Clone, Copy)]
enum BodyLength {
    Known(u64),
    /// To the end of the stream.
    ToTheEnd,
}

impl<S: Transport> Exchange<'_, S> {
    fn finish(mut self, target: String) -> Result<WebSocket<S>, Error> {
        let answer = loop {
            if let Some(answer) = self.receive(&target)? {
                break answer;
            }
            if self.read()? == 0 {
                return Err(Error::NoResponse);
            }
        };
        let unread = self.inbox.unread().len() - self.handshake.head_len();
        match answer {
            Answer::Rejected(mut rejection, length) => {
                self.inbox.keep(unread);
                rejection.body = self.body(length);
                Err(Error::Rejected(Box::new(rejection)))
            }
            Answer::Accepted(connection, opening) => {
                self.inbox.keep(unread);
                self.stream
                    .set_write_timeout(self.client.send_timeout)
                    .map_err(Error::Io)?;
                Ok(WebSocket::established(self.stream, connection, self.inbox).opened(opening))
            }
        }
    }

    fn receive(&mut self, target: &str) -> Result<Option<Answer>, Error> {
        let config = &self.client.config;
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let input = self.inbox.unread();
        let outcome = self
            .handshake
            .receive(input, &mut headers, &config.limits)
            .map_err(Error::Response)?;
        let head = input.get(..self.handshake.head_len()).unwrap_or_default();
        Ok(match outcome {
            None => None,
            Some(Outcome::Rejected(response)) => {
                self.client.show('<', head);
                Some(Answer::Rejected(
                    rejection(&response),
                    body_length(&response),
                ))
            }
            Some(Outcome::Accepted { agreed, response }) => {
                self.client.show('<', head);
                let opening = Opening {
                    target: target.to_owned(),
                    headers: response.headers().into(),
                    subprotocol: agreed.subprotocol().map(str::to_owned),
                };
                Some(Answer::Accepted(agreed.finish(Arc::new(*config)), opening))
            }
        })
    }

    fn read(&mut self) -> Result<usize, Error> {
        read_until(&mut self.stream, &mut self.inbox, self.deadline)
    }

    /// The body of a rejection, as far as it comes in time.
    fn body(&mut self, length: BodyLength) -> Vec<u8> {
        let wanted = match length {
            BodyLength::Known(n) => usize::try_from(n).map_or(MAX_BODY, |n| n.min(MAX_BODY)),
            BodyLength::ToTheEnd => MAX_BODY,
        };
        let mut body = Vec::new();
        loop {
            body.extend_from_slice(self.inbox.unread());
            self.inbox.keep(0);
            if body.len() >= wanted || !self.read().is_ok_and(|n| n > 0) {
                body.truncate(wanted);
                return body;
            }
        }
    }
}

/// How much of the body of a rejection is kept.
const MAX_BODY: usize = 64 << 10;

fn parse(uri: &str) -> Result<WsUri<'_>, Error> {
    let parsed = WsUri::parse(uri).map_err(Error::Uri)?;
    if parsed.is_secure() {
        return Err(Error::Tls);
    }
    Ok(parsed)
}

/// The addresses of a host. The system's resolver cannot be told a deadline, so it is asked on
/// another thread, which is left to itself when the time is up.
fn resolve(host: &str, port: u16, deadline: Option<Instant>) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let host = host.to_owned();
    thread::Builder::new()
        .name("ws resolver".to_owned())
        .spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            let _ = sender.send(addresses.map(Iterator::collect::<Vec<_>>));
        })
        .map_err(Error::Resolve)?;
    let received = match left(deadline)? {
        Some(left) => receiver.recv_timeout(left).ok(),
        None => receiver.recv().ok(),
    };
    match received {
        None => Err(Error::Timeout(Stage::Connect)),
        Some(Err(error)) => Err(Error::Resolve(error)),
        Some(Ok(addresses)) if addresses.is_empty() => {
            Err(Error::Resolve(ErrorKind::NotFound.into()))
        }
        Some(Ok(addresses)) => Ok(addresses),
    }
}

/// Connects to the first address that takes it; each gets its share of the time that is left.
fn connect_any(addresses: &[SocketAddr], deadline: Option<Instant>) -> Result<TcpStream, Error> {
    let mut failure = Error::Timeout(Stage::Connect);
    for (tried, address) in addresses.iter().enumerate() {
        let Ok(left) = left(deadline) else {
            break;
        };
        let to_try = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let connected = match left {
            Some(left) => TcpStream::connect_timeout(address, (left / to_try).max(SHORTEST)),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => failure = Error::Timeout(Stage::Connect),
            Err(error) => failure = Error::Connect(error),
        }
    }
    Err(failure)
}

fn refusal(error: HandshakeError) -> Error {
    match error {
        HandshakeError::Misuse(misuse) => Error::Request(misuse),
        // The buffer was made for this request.
        HandshakeError::Full => Error::Io(ErrorKind::OutOfMemory.into()),
    }
}

fn rejection(response: &Response<'_, '_>) -> Rejection {
    Rejection {
        status: response.status(),
        reason: response.reason().to_owned(),
        headers: response.headers().into(),
        body: Vec::new(),
    }
}

fn body_length(response: &Response<'_, '_>) -> BodyLength {
    match (
        response.status(),
        response.headers().get_str("Content-Length"),
    ) {
        (204 | 304, _) => BodyLength::Known(0),
        (_, Some(length)) => length
            .trim()
            .parse()
            .map_or(BodyLength::ToTheEnd, BodyLength::Known),
        _ => BodyLength::ToTheEnd,
    }
}
