//! The floor under blocking echo servers: a thread per connection that makes one read and one write
//! per turn, and between them as little as still echoes Binary frames. It checks nothing, and holds
//! whole frames only: not for any other use.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ws_bench::floors;

/// As much as a generous read takes.
const BUFFER: usize = 128 * 1024;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on ws://{}/", listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || {
            // Every error ends the connection, and nobody asks why.
            let _ = upgrade(&stream).and_then(|()| echo(&stream));
        });
    }
    Ok(())
}

fn upgrade(mut stream: &TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (_, rest) = head
        .split_once("Sec-WebSocket-Key: ")
        .ok_or(io::ErrorKind::InvalidData)?;
    let key = rest.lines().next().unwrap_or_default();
    let digest = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = STANDARD.encode(digest.digest().bytes());
    stream.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    )
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut input = vec![0; BUFFER];
    let mut output = Vec::with_capacity(BUFFER);
    let mut filled = 0;
    loop {
        filled += match stream.read(&mut input[filled..])? {
            0 => return Ok(()),
            read => read,
        };
        let mut at = 0;
        while let Some(taken) = echo_frame(&mut input[at..filled], &mut output) {
            at += taken;
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        stream.write_all(&output)?;
        output.clear();
    }
}

/// Answers the first frame of the input, and says how long it is; `None` if it is not whole.
fn echo_frame(input: &mut [u8], output: &mut Vec<u8>) -> Option<usize> {
    let len7 = usize::from(*input.get(1)? & 0x7f);
    let (len, len_end) = match len7 {
        126 => (
            usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => return None,
        len => (len, 2),
    };
    let end = len_end + 4 + len;
    let (header, payload) = input.get_mut(..end)?.split_at_mut(len_end + 4);
    floors::unmask(payload, *header.last_chunk()?);
    output.extend_from_slice(&[header[0], len7 as u8]);
    output.extend_from_slice(&header[2..len_end]);
    output.extend_from_slice(payload);
    Some(end)
}
