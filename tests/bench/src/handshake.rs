//! The server's half of the opening handshake: a browser's request in, `101 Switching Protocols`
//! out.

use std::{hint::black_box, mem::MaybeUninit};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::harness::{Contender, timed};

/// What a browser sends, 500 bytes of it.
pub const REQUEST: &str = "GET /chat/room-7?token=9f3c1 HTTP/1.1\r\n\
    Host: chat.example.com:8443\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/138.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://chat.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    \r\n";

const _: () = assert!(REQUEST.len() > 480 && REQUEST.len() < 520);

/// RFC 6455 §1.3: the answer to the key above.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Handshakes per look at the clock.
const PER_PASS: usize = 32;

/// Name of the floor which the target is measured by.
pub const FLOOR: &str = "floor: httparse + sha1_smol";

/// Work that answers one request; the answer is appended to the buffer, unless there is none.
pub fn contender<'a>(
    name: &str,
    note: &'static str,
    mut work: impl FnMut(&[u8], &mut Vec<u8>) + 'a,
) -> Contender<'a> {
    let mut output = Vec::with_capacity(4096);
    work(REQUEST.as_bytes(), &mut output);
    let answer = String::from_utf8_lossy(&output);
    assert!(
        output.is_empty() || answer.contains(ACCEPT),
        "{name}: {answer}"
    );
    let pass = move || {
        timed(|| {
            for _ in 0..PER_PASS {
                output.clear();
                work(black_box(REQUEST.as_bytes()), black_box(&mut output));
            }
        })
    };
    Contender {
        name: name.to_owned(),
        note,
        units: PER_PASS,
        pass: Box::new(pass),
    }
}

/// The two floors: what the target says, and the same with the answer written.
#[must_use]
pub fn floors<'a>() -> Vec<Contender<'a>> {
    vec![
        contender(FLOOR, "parse, find the key, hash it", |request, _| {
            black_box(digest(request));
        }),
        contender(
            "floor with answer",
            "the same, base64 and a fixed head",
            |request, output| {
                let digest = digest(request);
                let mut accept = [0; 28];
                STANDARD
                    .encode_slice(digest, &mut accept)
                    .expect("20 bytes give 28");
                output.extend_from_slice(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n",
                );
                output.extend_from_slice(b"Upgrade: websocket\r\nSec-WebSocket-Accept: ");
                output.extend_from_slice(&accept);
                output.extend_from_slice(b"\r\n\r\n");
            },
        ),
    ]
}

fn digest(request: &[u8]) -> [u8; 20] {
    let mut headers = [MaybeUninit::uninit(); 32];
    let mut parsed = httparse::Request::new(&mut []);
    let parsing = parsed.parse_with_uninit_headers(request, &mut headers);
    assert!(parsing.expect("valid").is_complete(), "a whole request");
    let is_key =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("Sec-WebSocket-Key");
    let key = parsed.headers.iter().find(is_key).expect("a key").value;
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    sha1.digest().bytes()
}
