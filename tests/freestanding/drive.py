"""Speaks to the freestanding binaries: `drive.py echo IMAGE`, `drive.py steps|heads IMAGE...`.

Standard input of an image is a SOCK_SEQPACKET socket: each packet is exactly one read, so that the
cuts of the stream are the ones named here. Every byte that comes back is compared.
"""

import random
import socket
import struct
import subprocess
import sys
import threading

SERVER_CLOSE = b"\x88\x02"
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
# RFC 6455 §1.3: the key above has this answer.
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def frame(first, payload, key=None):
    """A frame; masked if there is a key."""
    mask = 0 if key is None else 0x80
    if len(payload) < 126:
        head = struct.pack(">BB", first, mask | len(payload))
    else:
        head = struct.pack(">BBH", first, mask | 126, len(payload))
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def client(first, payload=b""):
    return frame(first, payload, b"\x37\xfa\x21\x3d")


def code(number):
    return struct.pack(">H", number)


def conversations():
    """(name, what the client sends, what the server answers, the exit code)."""
    big = bytes(i * 7 % 251 for i in range(4096))
    bye, clean = client(CLOSE, code(1000)), SERVER_CLOSE + code(1000)

    def opened(name, sent, answer, end=0):
        return name, REQUEST + sent, RESPONSE + answer, end

    def failed(name, sent, number):
        return opened(name, sent, SERVER_CLOSE + code(number), 1)

    yield opened("text", client(TEXT, b"Hello") + bye, frame(TEXT, b"Hello") + clean)
    yield opened("binary of every header", b"".join(
        client(BINARY, big[:n]) for n in (0, 125, 126, 1000, 4096)) + bye, b"".join(
        frame(BINARY, big[:n]) for n in (0, 125, 126, 1000, 4096)) + clean)
    yield opened("fragments, a ping between them",
                 client(0x01, "Grüß".encode()[:3]) + client(PING, b"?")
                 + client(0x00) + client(0x80, "Grüß".encode()[3:]) + bye,
                 frame(PONG, b"?") + frame(TEXT, "Grüß".encode()) + clean)
    yield opened("longest ping, unasked pong", client(PING, big[:125]) + client(PONG) + bye,
                 frame(PONG, big[:125]) + clean)
    yield opened("close without a code", client(CLOSE), frame(CLOSE, b""))
    yield opened("close with a reason", client(CLOSE, code(4321) + b"bye"),
                 SERVER_CLOSE + code(4321))
    yield opened("end without a close", client(TEXT, b"a"), frame(TEXT, b"a"), 1)
    yield failed("frame without a mask", frame(TEXT, b"Hello"), 1002)
    yield failed("reserved bit", client(0xC1, b"Hello"), 1002)
    yield failed("reserved opcode", client(0x83), 1002)
    yield failed("fragmented ping", client(0x09), 1002)
    yield failed("continuation of nothing", client(0x80), 1002)
    yield failed("length in a longer form", b"\x82\xfe\x00\x05", 1002)
    yield failed("text that is not UTF-8", client(TEXT, b"\xff"), 1007)
    yield failed("message too big", client(BINARY, big + b"!"), 1009)
    yield failed("close with a reserved code", client(CLOSE, code(1005)), 1002)
    yield ("old version", REQUEST.replace(b"Version: 13", b"Version: 8"),
           b"HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n"
           b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 1)
    yield "not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n", 1


def run(image, packets):
    """What the image writes when it reads these packets, and its exit code."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([image], stdin=theirs, stdout=subprocess.PIPE)
    theirs.close()

    def send():
        try:
            for packet in packets:
                ours.send(packet)
            ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has answered and gone; what it wrote tells why.

    sender = threading.Thread(target=send)
    sender.start()
    written = process.stdout.read()
    exit_code = process.wait(timeout=60)
    ours.close()
    sender.join()
    return written, exit_code


def cut(stream, length):
    return [stream[at : at + length] for at in range(0, len(stream), length)]


def echo(image):
    runs = 0
    for name, sent, answer, exit_code in conversations():
        # Up to 128: half a control frame and a whole one always fit into the image's input.
        for length in (1, 2, 3, 7, 64, 128):
            written, ended = run(image, cut(sent, length))
            # A refusal goes on with headers and a text for people.
            exact = answer.startswith(RESPONSE)
            right = written == answer if exact else written.startswith(answer)
            if not right or ended != exit_code:
                sys.exit(f"{name}, cut at {length}: exit {ended}, wrote {written!r}")
            runs += 1
    print(f"  {runs} conversations, every byte compared")


def program(rng):
    """Steps for `panic_free`: most of them with operands that mean something, some with rubbish."""

    def sized(payload):
        return struct.pack(">H", len(payload)) + payload

    def some(most=300):
        lengths = (0, 1, 3, 4, 5, 15, 16, 31, 32, 33, 125, rng.randrange(most))
        return rng.randbytes(rng.choice(lengths))

    def text():
        return "".join(rng.choice("aé€😀") for _ in range(rng.randrange(60))).encode()

    def frames(masked):
        stream = b""
        for _ in range(rng.randrange(1, 4)):
            kinds = (0x01, 0x02, 0x00, 0x80, TEXT, BINARY, PING, PONG, CLOSE, 0xC1, 0x83)
            first = rng.choice(kinds + (TEXT, BINARY))
            payload = {TEXT: text, CLOSE: lambda: code(rng.randrange(999, 1016))}.get(first, some)()
            payload = payload[:125] if first & 8 else payload
            stream += frame(first, payload, rng.randbytes(4) if masked else None)
        if rng.random() < 0.3:
            stream = stream[: rng.randrange(len(stream) + 1)]
        return sized(stream if rng.random() < 0.9 else some())

    steps = b""
    for _ in range(rng.randrange(5, 60)):
        bits = rng.randrange(8)
        masked = not bits >> 1 & 1
        room = struct.pack(">H", rng.choice((0, 100, 131, 200, 300, 4000)))
        steps += bytes([0, 0, bits]) + room
        for _ in range(rng.randrange(12)):
            step, resumed = rng.randrange(19), rng.choice((0, 0, 7, 255))
            operands = {
                1: lambda: frames(masked),
                2: lambda: frames(masked),
                4: lambda: rng.randbytes(1),
                5: lambda: rng.choice((b"\0", b"\1" + struct.pack(">Q", rng.randrange(100_000)))),
                6: lambda: rng.choice((b"\0" + sized(text()), b"\1" + sized(some()))),
                7: lambda: rng.choice(
                    (b"\0\0", b"\0\1", b"\1" + sized(some()), b"\2" + sized(text()))),
                8: lambda: rng.randbytes(1) + sized(some()),
                9: lambda: code(rng.randrange(999, 1016)) + sized(text()),
                10: lambda: rng.choice((b"\0" + sized(text()), b"\1" + sized(some()))),
                11: lambda: rng.randbytes(1) + rng.randrange(1 << rng.randrange(1, 64)).to_bytes(8, "big"),
                12: lambda: frames(masked),
                13: lambda: frames(masked),
                14: lambda: sized(some()),
                15: lambda: sized(some()),
                16: lambda: (lambda a: rng.randbytes(5) + sized(a) + sized(a))(some()),
                17: lambda: b"\2" + sized(text()) + sized(some()),
                18: lambda: sized(code(rng.randrange(5000)) + text()) + rng.randbytes(2),
            }.get(step, lambda: b"")
            steps += bytes([step, resumed]) + operands()
    return steps[:60_000]


def heads(rng):
    """Input of `handshakes`: requests, responses, offers and keys, whole or with a wrong byte."""
    accepted = RESPONSE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
    uri = rng.choice((b"ws://u%41:p@host:81/a?b", b"wss://[::1]?q", b"ws://h", b"http://h"))
    sound = rng.choice((
        b"S" + REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, chat\r\n"
                               b"Origin: http://server.example.com\r\n"
                               b"Sec-WebSocket-Extensions: x; y=\"1\"\r\nX-Many: 1\r\n\r\n"),
        b"S" + REQUEST.replace(b"Version: 13", b"Version: 8"),
        b"SGET /?a=b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\n\r\n",
        b"SPOST http://h:1/x?y HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nabc",
        b"C" + uri + b"\n" + accepted + b"\x81\x00",
        b"C" + uri + b"\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\nbody",
        b"C" + uri + b"\nHTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n",
        b"Epermessage-deflate; client_max_window_bits=\"1\\0\", x",
        b"KdGhlIHNhbXBsZSBub25jZQ==",
    ))
    wrong = bytearray(sound)
    if rng.random() < 0.7:
        wrong[rng.randrange(1, len(wrong))] = rng.choice(b"\0\r\n :;,/?@[]#\xff019azAZ")
    return bytes(wrong)


def agree(inputs, may_fail, *images):
    """All images write the same for the same input, and exit in the same way."""
    rng = random.Random(6455)
    seen = set()
    for number in range(300):
        packets = cut(inputs(rng), 1024)
        results = [run(image, packets) for image in images]
        written, exit_code = results[0]
        expected = (0, 1) if may_fail else (0,)
        if exit_code not in expected or any(it != results[0] for it in results):
            sys.exit(f"input {number}: {[(len(w), w[-8:].hex(), e) for w, e in results]}")
        seen.add(written)
    print(f"  {len(seen)} different answers from {len(images)} images each")


if __name__ == "__main__":
    COMMANDS = {
        "echo": echo,
        "steps": lambda *images: agree(program, False, *images),
        "heads": lambda *images: agree(heads, True, *images),
    }
    COMMANDS[sys.argv[1]](*sys.argv[2:])
