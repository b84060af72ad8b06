"""The suite's fuzzing client and fuzzing server, on Python 3.

usage: suite.py fuzzingclient|fuzzingserver SPEC      (a JSON file; wstest.py writes it)

The modules of the suite were written for Python 2, where text and bytes are one type.
convert.py made them load on Python 3; load() below gives them what they expect at run
time: in the suite, a payload is a str with one character (0..255) per byte, and it is
turned into bytes, and back, where it goes to and comes from the WebSocket library.
"""

import builtins
import io
import json
import os
import signal
import sys
import types
import warnings

def to_bytes(data):
    return data.encode("latin-1") if isinstance(data, str) else data


def to_text(data):
    """What Python 2 does with a byte string in a report: UTF-8 where it is."""
    return bytes(data).decode("utf-8", "replace")


def fallback_accelerators():
    """Where wsaccel has no wheel: as fast as plain Python allows, same results."""
    import codecs

    from autobahn.websocket import protocol, utf8validator, xormasker

    if utf8validator.Utf8Validator.__module__.startswith("wsaccel"):
        return

    class Masker:
        def __init__(self, mask, length=None):
            self.mask, self.ptr = bytes(mask), 0

        def pointer(self):
            return self.ptr

        def reset(self):
            self.ptr = 0

        def process(self, data):
            size, shift = len(data), self.ptr & 3
            mask = (self.mask[shift:] + self.mask[:shift]) * (size // 4 + 1)
            self.ptr += size
            value = int.from_bytes(data, "little") ^ int.from_bytes(mask[:size], "little")
            return value.to_bytes(size, "little")

    exact = utf8validator.Utf8Validator

    class Validator(exact):
        """Whole valid chunks by codec, everything else by the exact validator."""

        def validate(self, data):
            if self.state == 0:
                try:
                    codecs.utf_8_decode(data, "strict", True)
                except UnicodeDecodeError:
                    pass
                else:
                    self.i += len(data)
                    return True, True, len(data), self.i
            return exact.validate(self, data)

    xormasker.createXorMasker = protocol.createXorMasker = Masker
    utf8validator.Utf8Validator = protocol.Utf8Validator = Validator


def load():
    """Import the converted suite and return its module `fuzzing`."""
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    import binascii

    import autobahn.twisted.websocket as abws
    import autobahntestsuite
    import twisted.internet
    import twisted.web.server
    import twisted.web.static

    fallback_accelerators()

    class Bytes:
        """Between the suite's text and the library's bytes."""

        def sendFrame(self, opcode, payload=b"", **kwargs):
            super().sendFrame(opcode, to_bytes(payload), **kwargs)

        def sendMessage(self, payload, *args, **kwargs):
            super().sendMessage(to_bytes(payload), *args, **kwargs)

        def sendMessageFrameData(self, payload, *args, **kwargs):
            return super().sendMessageFrameData(to_bytes(payload), *args, **kwargs)

        def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
            super().sendCloseFrame(code, to_bytes(reasonUtf8), isReply)

        def received(self, payload):
            # cases 12.* and 13.* hash and decode what they get, the others compare it
            # with their literals; a command for the fuzzing server is JSON in UTF-8
            if self.runCase and not hasattr(self.runCase, "TESTDATA"):
                return payload.decode("latin-1")
            return payload

        def _onMessage(self, payload, isBinary):
            self.onMessage(self.received(payload), isBinary)

        def _onPong(self, payload):
            self.onPong(self.received(payload))

    class ServerProtocol(Bytes, abws.WebSocketServerProtocol):
        pass

    class ClientProtocol(Bytes, abws.WebSocketClientProtocol):
        pass

    def hexlify(data):
        return binascii.hexlify(to_bytes(data)).decode("ascii")

    def resource_filename(package, name):
        return os.path.join(os.path.dirname(sys.modules[package].__file__), name)

    def dumps(obj, **kwargs):
        return json.dumps(obj, default=to_text, **kwargs)

    stand_ins = {
        "binascii": types.SimpleNamespace(b2a_hex=hexlify, hexlify=hexlify),
        "pkg_resources": types.SimpleNamespace(resource_filename=resource_filename),
        "json": types.SimpleNamespace(dumps=dumps, loads=json.loads),
        # no TLS here; wss: is not supported
        "twisted.internet.ssl": types.SimpleNamespace(ClientContextFactory=lambda: None),
    }
    saved = {name: sys.modules.get(name) for name in stand_ins}
    saved_protocols = abws.WebSocketServerProtocol, abws.WebSocketClientProtocol
    sys.modules.update(stand_ins)
    twisted.internet.ssl = stand_ins["twisted.internet.ssl"]
    abws.WebSocketServerProtocol, abws.WebSocketClientProtocol = ServerProtocol, ClientProtocol
    try:
        from autobahntestsuite import fuzzing
    finally:
        abws.WebSocketServerProtocol, abws.WebSocketClientProtocol = saved_protocols
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module

    # The original compares pickles, which agree exactly for equal values (of str, bool
    # and None in tuples in lists) but for which of them are the same object.
    fuzzing.Case.compare = lambda self, obj1, obj2: obj1 == obj2

    # -- reports: text where the original writes bytes

    def binLogData(data, maxlen=64):
        data, tail = to_bytes(data), ""
        if len(data) > maxlen - 4:
            data, tail = data[:maxlen], " ..."
        return binascii.hexlify(data).decode("ascii") + tail

    def asciiLogData(data, maxlen=64, replace=False):
        data = to_bytes(data)
        text = data[:maxlen] + b" ..." if len(data) > maxlen - 4 else data
        try:
            return text.decode("utf8", "replace" if replace else "strict")
        except UnicodeDecodeError:
            return "0x" + binLogData(data, maxlen)

    class Report(io.TextIOWrapper):
        def write(self, text):
            if isinstance(text, bytes):
                text = text.decode("utf-8")
            super().write(text)

    def report(path, mode):
        return Report(builtins.open(path, mode + "b"), encoding="utf-8", errors="replace")

    original = fuzzing.FuzzingProtocol.connectionLost

    def connectionLost(self, reason):
        for name in ("http_request_data", "http_response_data"):
            if isinstance(getattr(self, name, None), (bytes, bytearray)):
                setattr(self, name, to_text(getattr(self, name)))
        original(self, reason)

    fuzzing.binLogData = binLogData
    fuzzing.asciiLogData = asciiLogData
    fuzzing.open = report
    fuzzing.FuzzingProtocol.connectionLost = connectionLost
    for case in fuzzing.Cases:
        for name in ("DESCRIPTION", "EXPECTATION"):
            setattr(case, name, to_text(to_bytes(getattr(case, name))))
    return fuzzing


def log_errors():
    """Print exceptions that Twisted catches, so that none in the suite goes unseen."""
    from twisted.python import log

    def observer(event):
        if event.get("isError"):
            print("INTERNAL ERROR", log.textFromEventDict(event), flush=True)

    log.startLoggingWithObserver(observer, setStdout=False)


def run_fuzzer(mode, spec_path):
    """One fuzzing client or fuzzing server, until it is done or gets SIGTERM."""
    fuzzing = load()
    from twisted.internet import reactor

    log_errors()
    with open(spec_path) as f:
        spec = json.load(f)
    if mode == "fuzzingclient":
        factory = fuzzing.FuzzingClientFactory(spec)
    else:
        factory = fuzzing.FuzzingServerFactory(spec)
        reactor.listenTCP(factory.port, factory, interface=factory.host)
        # whether or not the client asks for reports, leave them behind
        reactor.addSystemEventTrigger("before", "shutdown", factory.createReports)
    if mode == "fuzzingclient":
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop, factory, reactor))
    sys.stdout.flush()
    reactor.run(installSignalHandlers=(mode == "fuzzingserver"))


def stop(factory, reactor):
    factory.createReports()
    factory.clientConnectionLost = lambda *_: None
    reactor.stop()


if __name__ == "__main__":
    run_fuzzer(sys.argv[1], sys.argv[2])
