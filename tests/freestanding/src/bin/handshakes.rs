//! Every public entry of the opening handshakes, URIs and extension offers, for a look into the
//! image: which panicking paths are left in it, and whose they are. Whatever an entry returns is
//! written to standard output, so that nothing is optimised away.
//!
//! The first byte of the input says what the rest is.

#![no_std]
#![no_main]

use rt::{Memory, write_all};
use ws_proto::{
    ClientHandshake, Config, Output, ServerHandshake, WsUri,
    extension::Offers,
    handshake::{
        Acceptance, Body, ClientRequest, EMPTY_HEADER, Header, Headers, HttpVersion, Outcome,
        Persistence, Request, Response, Upgrade, accept::Key,
    },
};

static INPUT: Memory<8192> = Memory::new();
static OUTPUT: Memory<1024> = Memory::new();
static CONFIG: Config = Config::new();
static SUBPROTOCOLS: [&str; 2] = ["superchat", "chat"];
static HEADERS: [Header<'_>; 1] = [Header {
    name: "X-Test",
    value: b"yes",
}];

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    rt::exit(101)
}

rt::entry!(main);

fn main() -> Option<()> {
    let input = INPUT.lend();
    let mut len = 0;
    while let n @ 1.. = rt::read(input.get_mut(len..)?)? {
        len += n;
    }
    let (kind, input) = input.get(..len)?.split_first()?;
    let mut output = Output::new(OUTPUT.lend());
    match kind {
        b'S' => serve(input, &mut output)?,
        b'C' => connect(input, &mut output)?,
        b'E' => show_offers(Offers::parse(input))?,
        _ => write_all(Key::parse(input)?.as_bytes())?,
    }
    write_all(output.written())
}

fn number(number: impl Into<u64>) -> Option<()> {
    write_all(&number.into().to_be_bytes())
}

fn serve(input: &[u8], output: &mut Output<'_>) -> Option<()> {
    let mut handshake = ServerHandshake::default();
    number(handshake.next_timeout()?)?;
    for now in [1, 99_999] {
        if let Some(error) = handshake.handle_timeout(now, &CONFIG.timeouts) {
            number(error.status())?;
        }
    }
    let mut headers = [EMPTY_HEADER; 16];
    let request = match handshake.receive(input, &mut headers, &CONFIG.limits) {
        Ok(request) => request?,
        Err(error) => return handshake.reject_error(error, output).ok(),
    };
    show_request(&request)?;
    number(handshake.head_len() as u64)?;
    match request.upgrade() {
        Upgrade::WebSocket => {
            let subprotocol = request.choose(&SUBPROTOCOLS);
            write_all(subprotocol.map_or("", |it| it.as_str()).as_bytes())?;
            let acceptance = Acceptance::new().subprotocol(subprotocol).headers(&HEADERS);
            let connection = handshake.accept(&acceptance, &CONFIG, output).ok()?;
            number(connection.role() as u8)
        }
        Upgrade::Refused(error) => handshake.reject_error(error, output).ok(),
        Upgrade::None if request.path() == "/" => {
            let keep = Persistence::KeepAlive;
            handshake.respond(200, &HEADERS, b"here", keep, output).ok()
        }
        Upgrade::None => handshake.reject(404, &HEADERS, b"no", output).ok(),
    }
}

fn show_request(request: &Request<'_, '_>) -> Option<()> {
    for text in [
        request.method(),
        request.target(),
        request.path(),
        request.query().unwrap_or("none"),
        request.host(),
    ] {
        write_all(text.as_bytes())?;
    }
    number(u8::from(request.version() == HttpVersion::Http11))?;
    number(match request.body() {
        Body::None => 0,
        Body::Length(len) => len,
        Body::Encoded => u64::MAX,
    })?;
    write_all(request.origin().unwrap_or(b"none"))?;
    number(u8::from(request.is_same_origin("http")))?;
    for subprotocol in request.subprotocols() {
        write_all(subprotocol.as_bytes())?;
    }
    for offer in request.extensions() {
        write_all(offer.name().as_bytes())?;
    }
    show_headers(request.headers())
}

fn show_headers(headers: Headers<'_, '_>) -> Option<()> {
    number(headers.len() as u64 * 2 + u64::from(headers.is_empty()))?;
    write_all(headers.get("Host").unwrap_or_default())?;
    write_all(headers.get_str("User-Agent").unwrap_or_default().as_bytes())?;
    for value in headers.get_all("X-Many") {
        write_all(value)?;
    }
    for header in headers.iter().chain(headers) {
        write_all(header.name.as_bytes())?;
        write_all(header.value)?;
    }
    Some(())
}

/// The input is a URI, a line feed, and a response.
fn connect(input: &[u8], output: &mut Output<'_>) -> Option<()> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (line, input) = input.split_at_checked(end + 1)?;
    let uri = WsUri::parse(core::str::from_utf8(line).ok()?.trim_end()).ok()?;
    show_uri(&uri)?;
    let request = ClientRequest::new(uri)
        .origin("http://example.com")
        .subprotocols(&SUBPROTOCOLS)
        .headers(&HEADERS);
    let mut handshake = ClientHandshake::start(&request, *b"the sample nonce", output).ok()?;
    number(handshake.next_timeout()?)?;
    number(u8::from(
        handshake.handle_timeout(1, &CONFIG.timeouts).is_some(),
    ))?;
    let mut headers = [EMPTY_HEADER; 16];
    match handshake
        .receive(input, &mut headers, &CONFIG.limits)
        .ok()??
    {
        Outcome::Accepted { agreed, response } => {
            write_all(agreed.subprotocol().unwrap_or("none").as_bytes())?;
            number(u8::from(agreed.extensions().claims(0x40)))?;
            show_response(&response)?;
            number(agreed.finish(&CONFIG).role() as u8)?;
        }
        Outcome::Rejected(response) => show_response(&response)?,
    }
    number(handshake.head_len() as u64)
}

fn show_uri(uri: &WsUri<'_>) -> Option<()> {
    let [path, query] = uri.resource_name();
    for text in [
        uri.host(),
        uri.host_with_brackets(),
        uri.path(),
        uri.query().unwrap_or("none"),
        uri.user_info().unwrap_or("none"),
        path,
        query,
    ] {
        write_all(text.as_bytes())?;
    }
    number(uri.port())?;
    number(u8::from(uri.is_secure()) * 2 + u8::from(uri.is_default_port()))
}

fn show_response(response: &Response<'_, '_>) -> Option<()> {
    number(response.status())?;
    write_all(response.reason().as_bytes())?;
    write_all(response.body())?;
    write_all(response.redirect().unwrap_or(b"none"))?;
    for challenge in response.challenges() {
        write_all(challenge)?;
    }
    show_headers(response.headers())
}

fn show_offers(offers: Offers<'_>) -> Option<()> {
    for offer in offers {
        let offer = offer.ok()?;
        write_all(offer.name().as_bytes())?;
        for param in offer.params() {
            write_all(param.name().as_bytes())?;
            let value = param.value()?;
            number(value.as_number().unwrap_or(u32::MAX))?;
            for byte in value.bytes() {
                write_all(&[byte])?;
            }
        }
    }
    Some(())
}
