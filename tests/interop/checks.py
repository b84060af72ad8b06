"""Interoperability of `ws` and `wsd` with other people's WebSockets, both ways round.

usage: checks.py WS WSD PEER...      WS, WSD: the programs; PEER: how to start one of the peers beside this file

One line for each check, a summary last; status 1 if any failed. Every wait is bounded.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import threading

PATIENCE = 20  # seconds, for anything that should happen at once, on a busy machine
LIMIT = 1 << 20  # what both take when they are not told otherwise


# ---- checks

passed, failed = 0, 0


def check(name, got, expected):
    global passed, failed
    if expected(got) if callable(expected) else got == expected:
        passed += 1
        print("ok  ", name, flush=True)
    else:
        failed += 1
        print("FAIL", name, flush=True)
        print("     got     ", repr(got)[:400], flush=True)
        if not callable(expected):
            print("     expected", repr(expected)[:400], flush=True)


# ---- programs


class Program:
    """A program that runs in the background; its lines, with a bound on waiting for them."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self):
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            return None

    def stop(self):
        """The exit status after SIGTERM, or None if that does not end it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


@contextlib.contextmanager
def echo(server, *options):
    """The command on a free port; gives its URL."""
    program = Program([*server, "--listen", "127.0.0.1:0", *options])
    try:
        yield program.line().removeprefix("listening on ")
    finally:
        status = program.stop()
    check("%s ends on SIGTERM" % title(server), status, lambda status: status is not None)


def title(command):
    return " ".join([os.path.basename(command[0]), *command[1:]])


def send(ws, *arguments):
    """`ws send`: exit status, stdout, stderr."""
    try:
        done = subprocess.run([ws, "send", *arguments], capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None, "", "did not end"
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def client(peer, url, *steps, **request):
    """The peer's client: its result."""
    request = json.dumps(dict(request, url=url, steps=steps))
    try:
        done = subprocess.run([*peer, "client"], input=request, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        return {"error": str(error)}


class RawServer(threading.Thread):
    """Accepts one connection, upgrades it, sends the given bytes, collects what comes back."""

    def __init__(self, frames):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "ws://127.0.0.1:%d/" % self.listener.getsockname()[1]
        self.frames, self.received = frames, b""
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        with connection, connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1]
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + self.frames)
            with contextlib.suppress(OSError):
                self.received = stream.read()

    def close_codes(self):
        """The codes of the Close frames the client sent."""
        self.join(PATIENCE)
        data, codes = self.received, []
        while data:
            opcode, size, mask, rest = data[0] & 15, data[1] & 127, data[2:6], data[6:]
            payload = bytes(byte ^ key for byte, key in zip(rest[:size], itertools.cycle(mask)))
            codes += struct.unpack("!H", payload[:2]) if opcode == 8 else ()
            data = rest[size:]
        return codes


# ---- their client, our servers


def text(data):
    return {"text": data}


def binary(data):
    return {"hex": data.hex()}


def check_echo(server, name, peer):
    to = "%s -> %s" % (name, title(server))

    def run(what, steps, expected, **request):
        """Compare those entries of the result that are named."""
        result = client(peer, url, *steps, **request)
        check("%s: %s" % (to, what), {key: result[key] for key in [*expected, "error"] if key in result}, expected)

    def echoed(what, *messages):
        run(what, [["send", message] for message in messages], {"replies": list(messages), "close": [1000, ""]})

    with echo(server) as url:
        echoed("text", text("hello"), text("gr\u00fc\u00df \u4f60\u597d \U0001f980"))
        echoed("binary", binary(bytes(range(256))))
        echoed("empty messages", text(""), binary(b""))
        echoed("lengths around 126 and 65536", *(binary(b"x" * n) for n in (125, 126, 127, 65535, 65536, 65537)))
        echoed("1 MiB of text", text("t" * LIMIT))
        echoed("1 MiB of binary", binary(os.urandom(LIMIT)))
        run("fragmented text", [["fragments", [text("one "), text("\u00e4wei "), text("three")]]],
            {"replies": [text("one \u00e4wei three")]})
        run("fragmented binary, 1 MiB", [["fragments", [binary(b"f" * (LIMIT // 16))] * 16]],
            {"replies": [binary(b"f" * LIMIT)]})
        run("a burst of 1000 messages", [["burst", [text(str(n)) for n in range(1000)]]],
            {"replies": [text(str(n)) for n in range(1000)]})
        for what, step in (("text", ["send", text("t" * (LIMIT + 1))]),
                           ("binary", ["send", binary(b"b" * (LIMIT + 1))]),
                           ("fragments", ["fragments", [text("f" * LIMIT), text("f")]])):
            result = client(peer, url, step)
            check("%s: 1 MiB and one byte more of %s closes 1009" % (to, what),
                  [result.get("replies"), (result.get("close") or [None])[0]], [[], 1009])
        for code, reason in ((1000, "bye"), (3000, "three thousand"), (4999, "the-last \u00e4")):
            result = client(peer, url, ["send", text("x")], ["close", code, reason])
            check("%s: close %d is answered with %d" % (to, code, code),
                  (result.get("close") or [None])[0], code)
        run("ping is answered with its payload", [["ping", "payload"], ["send", text("x")], ["ping", ""]],
            {"pongs": ["payload", ""], "replies": [text("x")]})
        result = client(peer, url, damage={"Sec-WebSocket-Version": "8"})
        check("%s: version 8 is rejected with 426, and told 13" % to,
              [result.get("status"), result.get("headers", {}).get("sec-websocket-version")], [426, "13"])
        run("a missing key is rejected with 400", [], {"status": 400}, damage={"Sec-WebSocket-Key": None})
        run("a short key is rejected with 400", [], {"status": 400}, damage={"Sec-WebSocket-Key": "c2hvcnQ="})

    with echo(server, "--subprotocol", "chat.v2", "--max-message", "2000000") as url:
        run("subprotocol agreed", [], {"subprotocol": "chat.v2"}, subprotocols=["chat.v1", "chat.v2"])
        result = client(peer, url, ["send", text("x")], subprotocols=["other"])
        check("%s: subprotocol not agreed" % to,
              # npm's ws closes then, Python's websockets goes on
              [result.get("subprotocol"), result.get("error") or result["replies"]],
              lambda got: got in ([None, "Server sent no subprotocol"], [None, [text("x")]]))
        run("subprotocol not asked for", [], {"subprotocol": None, "close": [1000, ""]})
        echoed("more than 1 MiB with --max-message", text("t" * 1500000))


# ---- our client, their server


def check_send(ws, name, peer):
    server = Program([*peer, "server"])
    base = "ws://127.0.0.1:%d" % json.loads(server.line())["port"]
    numbers = itertools.count()

    def close_code(target):
        """The code with which the connection to this target ended, as the server saw it."""
        while line := server.line():
            event = json.loads(line)
            if event["target"] == target:
                return event["close"][0]

    def run(what, path, arguments, status, stdout, close=None, stderr=()):
        target = "%s?%d" % (path, next(numbers))
        options, messages = arguments
        got_status, got_stdout, got_stderr = send(ws, *options, base + target, *messages)
        missing = [part for part in stderr if not re.search(part, got_stderr)]
        check("ws send -> %s: %s" % (name, what),
              {"status": got_status, "stdout": got_stdout, "close": close and close_code(target),
               "stderr": got_stderr if missing or got_status != status else []},
              {"status": status, "stdout": stdout, "close": close, "stderr": []})

    try:
        run("text", "/echo", ([], ["hello"]), 0, "hello\n", 1000)
        run("several messages, in order", "/echo", ([], ["one", "gr\u00fc\u00df \u4f60\u597d", "three"]), 0,
            "one\ngr\u00fc\u00df \u4f60\u597d\nthree\n", 1000)
        run("empty message", "/echo", ([], [""]), 0, "\n", 1000)
        run("100 000 bytes", "/echo", ([], ["y" * 100000]), 0, "y" * 100000 + "\n", 1000)
        run("text is text", "/type", ([], ["hello"]), 0, "text\n", 1000)
        run("-b is binary", "/type", (["-b"], ["hello"]), 0, "binary\n", 1000)
        run("binary comes back, shown in hexadecimal", "/echo", (["-b"], ["hello", ""]), 0, "68656c6c6f\n\n", 1000)
        run("fragmented reply", "/fragments", ([], ["x"]), 0, "one two three\n", 1000)
        run("1 MiB reply", "/size/%d" % LIMIT, ([], ["x"]), 0, "x" * LIMIT + "\n", 1000)
        target = "/size/%d" % (LIMIT + 1)
        status, stdout, _ = send(ws, "--max-message", str(LIMIT), base + target, "x")
        check("ws send -> %s: 1 byte more than --max-message closes 1009" % name,
              [status != 0, stdout, close_code(target)], [True, "", 1009])
        run("ping is answered with its payload", "/ping", ([], ["x"]), 0, "pong payload\n", 1000)
        run("extra headers arrive", "/header/x-test", (["-H", "X-Other: no", "-H", "X-Test: a b"], ["x"]), 0, "a b\n")
        run("Authorization arrives", "/header/authorization", (["-H", "Authorization: Bearer t"], ["x"]), 0,
            "Bearer t\n")
        run("subprotocol agreed", "/subprotocol", (["-s", "chat.v1", "-s", "chat.v2"], ["x"]), 0, "chat.v2\n")
        run("subprotocol not agreed", "/subprotocol", (["-s", "other"], ["x"]), 0, "none\n")
        for code, reason, status in ((1000, "bye", 0), (1001, "leaving", 0), (3000, "", 1), (4999, "the-last", 1)):
            run("their close %d ends it with %d" % (code, status), "/close/%d/%s" % (code, reason),
                (["-v"], ["x"]), status, "", code, ['close %d "%s"' % (code, reason)])
        run("-v shows the handshake", "/echo", (["-v"], ["x"]), 0, "x\n", 1000,
            [r"(?m)^< HTTP/1\.1 101 ", r"(?mi)^< sec-websocket-accept: ", "close 1000"])
        run("rejected: status and body are shown, exit 5", "/reject", ([], ["x"]), 5, "", None, ["403", "members only"])
        run("no reply: exit 6", "/silent", (["--timeout", "1"], ["x"]), 6, "")
    finally:
        server.stop()


def check_exit_codes(ws):
    """Those that no well-behaved peer causes."""
    check("ws send: no URL is a usage error, exit 2", send(ws)[0], 2)
    check("ws send: an unknown option is a usage error, exit 2", send(ws, "--nonsense", "ws://127.0.0.1:9/", "x")[0], 2)
    check("ws send: an http URL is a usage error, exit 2", send(ws, "http://127.0.0.1:9/", "x")[0], 2)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and does not listen
        url = "ws://127.0.0.1:%d/" % reserved.getsockname()[1]
        check("ws send: connection refused, exit 3", send(ws, url, "x")[0], 3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = "ws://127.0.0.1:%d/" % mute.getsockname()[1]
        check("ws send: no handshake, exit 6", send(ws, "--timeout", "1", url, "x")[0], 6)
    for what, frame, code in (("a masked frame", b"\x81\x81\0\0\0\0x", 1002), ("a reserved opcode", b"\x83\0", 1002),
                              ("a reserved bit", b"\xc1\1x", 1002), ("invalid UTF-8", b"\x81\1\xff", 1007)):
        server = RawServer(frame)
        status, _, _ = send(ws, server.url, "x")
        check("ws send: %s from the server, exit 7, close %d" % (what, code),
              [status, server.close_codes()[-1:]], [7, [code]])


def main():
    ws, wsd, *peers = sys.argv[1:]
    servers = [ws, "echo"], [wsd, "echo"], [wsd, "echo", "--stream", "--loops", "2"]
    for command in peers:
        peer = command.split()
        name = os.path.basename(peer[-1]).partition(".")[0]
        for server in servers:
            check_echo(server, name, peer)
        check_send(ws, name, peer)
    check_exit_codes(ws)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


sys.exit(main())
