"""Opens page.html in headless Chromium and prints what it reports about an echo server.

usage: drive.py CHROMIUM COMMAND...      COMMAND: the server, with options of `ws echo`

Nothing but this machine's loopback is used: a server of a few lines hands out the page
and receives its report.
"""

import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse

PATIENCE = 60  # seconds; a browser starts slowly on a busy machine
PAGE = (pathlib.Path(__file__).parent / "page.html").read_bytes()
reports = queue.Queue()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path.startswith("/?") else 404, PAGE if self.path.startswith("/?") else b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")
        reports.put(json.loads(body))

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def browse(chromium, url, profile):
    return subprocess.Popen(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--user-data-dir=" + profile, url],
        stdout=subprocess.DEVNULL, stderr=open(pathlib.Path(profile, "stderr"), "w"))


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main():
    chromium, *command = sys.argv[1:]
    name = " ".join([pathlib.Path(command[0]).name, *command[1:]])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    echo = subprocess.Popen([*command, "--listen", "127.0.0.1:0", "--subprotocol", "chat.v2"],
                            stdout=subprocess.PIPE, text=True)
    profile = tempfile.mkdtemp(prefix="ws-browser-")
    browser = None
    try:
        url = echo.stdout.readline().strip().removeprefix("listening on ")
        page = "http://127.0.0.1:%d/?%s" % (server.server_port, urllib.parse.urlencode({"url": url}))
        browser = browse(chromium, page, profile)
        results = reports.get(timeout=PATIENCE)
    except queue.Empty:
        stderr = pathlib.Path(profile, "stderr").read_text(errors="replace")
        sys.exit("no report from the browser within %d s:\n%s" % (PATIENCE, stderr[-2000:]))
    finally:
        for process in filter(None, (browser, echo)):
            stop(process)
        shutil.rmtree(profile, ignore_errors=True)
    for result in results:
        print("ok  " if result["ok"] else "FAIL", "chromium -> %s: %s (%s)" % (name, result["name"], result["close"]))
        if not result["ok"]:
            print("     got     ", str(result["got"])[:300])
            print("     expected", str(result["expected"])[:300])
    failed = sum(not result["ok"] for result in results)
    print("%d passed, %d failed" % (len(results) - failed, failed))
    return 1 if failed or not results else 0


sys.exit(main())
