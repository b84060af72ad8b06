"""Python's `websockets` as a client or server that does what checks.py asks.

usage: python_websockets.py client      (one JSON request on stdin, one JSON result on stdout)
       python_websockets.py server      (a JSON line when ready, and one for every connection that ended)

npm_ws.js is the same with npm's ws. A message is {"text": ...} or {"hex": ...}.
"""

import json
import sys
from urllib.parse import unquote, urlsplit

import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import serve


def pack(message):
    return message["text"] if "text" in message else bytes.fromhex(message["hex"])


def unpack(data):
    return {"text": data} if isinstance(data, str) else {"hex": data.hex()}


def report(**result):
    print(json.dumps(result), flush=True)


def damaging(damage):
    """A client whose request lacks or misstates headers."""

    class Damaged(websockets.sync.client.ClientProtocol):
        def connect(self):
            request = super().connect()
            for name, value in damage.items():
                del request.headers[name]
                if value is not None:
                    request.headers[name] = value
            return request

    return Damaged


def client(request):
    websockets.sync.client.ClientProtocol = damaging(request.get("damage", {}))
    try:
        with websockets.sync.client.connect(
                request["url"], subprotocols=request.get("subprotocols"), max_size=None) as connection:
            replies, pongs = converse(connection, request["steps"])
    except InvalidStatus as rejected:
        response = rejected.response
        return report(status=response.status_code, body=bytes(response.body).decode(),
                      headers={name.lower(): value for name, value in response.headers.raw_items()})
    report(subprotocol=connection.subprotocol, replies=replies, pongs=pongs,
           close=[connection.close_code, connection.close_reason])


def converse(connection, steps):
    """Take the steps, until the last or until the server closes."""
    replies, pongs = [], []

    def receive():
        replies.append(unpack(connection.recv(timeout=20)))

    try:
        for step, *arguments in steps:
            if step == "send":
                connection.send(pack(*arguments))
                receive()
            elif step == "fragments":
                connection.send(map(pack, *arguments))
                receive()
            elif step == "burst":
                for message in arguments[0]:
                    connection.send(pack(message))
                for _ in arguments[0]:
                    receive()
            elif step == "ping":
                if connection.ping(*arguments).wait(20):
                    pongs += arguments
            elif step == "close":
                connection.close(*arguments)
    except ConnectionClosed:
        pass
    return replies, pongs


def reject(connection, request):
    if request.path.startswith("/reject"):
        return connection.respond(403, "members only\n")


def choose(_connection, offered):
    return "chat.v2" if "chat.v2" in offered else None


def session(connection):
    """Do what the path says; /echo and anything else: echo."""
    _, what, *arguments = map(unquote, urlsplit(connection.request.path).path.split("/"))
    try:
        for data in connection:
            if what == "type":
                connection.send("text" if isinstance(data, str) else "binary")
            elif what == "header":
                connection.send(connection.request.headers[arguments[0]])
            elif what == "subprotocol":
                connection.send(connection.subprotocol or "none")
            elif what == "size":
                connection.send("x" * int(arguments[0]))
            elif what == "fragments":
                connection.send(iter(["one ", "two ", "", "three"]))
            elif what == "ping":
                if connection.ping("payload").wait(20):
                    connection.send("pong payload")
            elif what == "close":
                connection.close(int(arguments[0]), arguments[1])
            elif what != "silent":
                connection.send(data)
    except ConnectionClosed:
        pass
    report(target=connection.request.path, close=[connection.close_code, connection.close_reason])


def main():
    if sys.argv[1] == "client":
        return client(json.load(sys.stdin))
    with serve(session, "127.0.0.1", 0, process_request=reject, select_subprotocol=choose) as server:
        report(port=server.socket.getsockname()[1])
        server.serve_forever()


main()
