//! Opening handshakes: what peers send, right and wrong, with the first bytes behind the head.
//!
//! Requests and responses have names of their own; those of browsers and libraries are written
//! after what these send, their key replaced by the one of RFC 6455 §1.3.

/// The nonce whose key is `dGhlIHNhbXBsZSBub25jZQ==`, the one that all of these have.
pub const NONCE: [u8; 16] = *b"the sample nonce";

/// The subprotocols that the client offers.
pub const OFFERED: &[&str] = &["chat", "superchat"];

/// A name, and the bytes.
pub type Named = (&'static str, &'static [u8]);

/// What servers receive.
pub const REQUESTS: &[Named] = &[
    (
        "rfc",
        b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "frames_behind",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\
        \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x80\0\0\0\0",
    ),
    (
        "browser",
        b"GET /socket?room=1&x=%20 HTTP/1.1\r\nHost: localhost:8765\r\nConnection: Upgrade\r\n\
        Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\
        Upgrade: websocket\r\nOrigin: http://localhost:8765\r\nSec-WebSocket-Version: 13\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en,de;q=0.9\r\n\
        Cookie: a=b; c=\"d\"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    ),
    (
        "many_offers",
        b"GET /x HTTP/1.1\r\nhost: [::1]:80\r\nUPGRADE: WebSocket, h2c\r\n\
        connection: keep-alive, Upgrade\r\nsec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==  \r\n\
        Sec-WebSocket-Version: 8, 13\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"10\", x; y=\"z\"\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a\r\n\
        Sec-WebSocket-Protocol: , superchat ,b\r\n\r\n",
    ),
    (
        "whole_uri_as_target",
        b"GET ws://example.com:80/a?b HTTP/1.1\r\nHost: example.com:80\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "plain_get",
        b"GET /index.html HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
    ),
    ("plain_head", b"HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    (
        "plain_post",
        b"POST /channels/news HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody",
    ),
    (
        "plain_chunked",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "two_lengths",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
    ),
    ("http_1_0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
    (
        "upgrade_of_http_1_0",
        b"GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "old_version",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
    ),
    (
        "bad_key",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "upgrade_by_post",
        b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "upgrade_with_a_body",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Content-Length: 9\r\n\r\n\x81\x80\0\0\0\0\x81\x80\0",
    ),
    (
        "no_host",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ),
    ("bare_line_feeds", b"GET / HTTP/1.1\nHost: a\n\n"),
    (
        "folded_header",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: one\r\n two\r\n\r\n",
    ),
    (
        "control_character",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: one\0two\r\n\r\n",
    ),
    (
        "target_not_ascii",
        b"GET /\xe4\xb8\x96 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "too_many_headers",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\n\
        H: 8\r\nI: 9\r\nJ: 10\r\nK: 11\r\nL: 12\r\nM: 13\r\nN: 14\r\nO: 15\r\nP: 16\r\n\r\n",
    ),
    ("http_2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (
        "tls",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03abcdefghijklmnopqrstuvwxyz012345",
    ),
    ("unfinished", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: webs"),
];

/// What a client receives that offered [`OFFERED`].
pub const RESPONSES: &[Named] = &[
    (
        "rfc",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    ),
    (
        "frames_behind",
        b"HTTP/1.1 101 \r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05Hello\x88\x00",
    ),
    (
        "interim_responses",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n\
        HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "not_found",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nno such",
    ),
    (
        "redirect",
        b"HTTP/1.1 302 Found\r\nLocation: wss://example.com/there\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "challenge",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
        WWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "upgrade_required",
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8\r\n\r\n",
    ),
    (
        "http_1_0_rejection",
        b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 3\r\n\r\nbusy",
    ),
    (
        "http_1_0_acceptance",
        b"HTTP/1.0 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "wrong_accept",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "repeated_accept",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "wrong_upgrade",
        b"HTTP/1.1 101 X\r\nUpgrade: websockets\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "no_connection",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ),
    (
        "unoffered_subprotocol",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: Chat\r\n\r\n",
    ),
    (
        "unoffered_extension",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    ),
    ("bare_line_feeds", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("not_http", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("unfinished", b"HTTP/1.1 101 Switching Protocols\r\nUpgr"),
];
