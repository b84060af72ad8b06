"""Runs of the Autobahn test suite: select the cases, split them, merge and sum up.

usage: wstest.py server URL OUTDIR [CASES...]             test the server at URL
       wstest.py client OUTDIR [CASES...] -- COMMAND...   test the client COMMAND
       wstest.py cases [CASES...]                         list case ids

CASES are ids or patterns such as 1.* 12.1.* 9.3.4; a leading '-' leaves out. None: all.
The client is told where to connect by AUTOBAHN_URL, and asks there for /getCaseCount,
/runCase?case=I&agent=NAME and /updateReports?agent=NAME. It must end with status 0.

The last line is `passed N, failed M, non-strict K, informational I, unimplemented U of T`:
N includes K and I; T = N + M + U; `, missing X` follows where cases did not run. Failed
is what the suite's own report shows red. Status 0: nothing failed, nothing missing.

AUTOBAHN_JOBS splits the cases into parts that run at once (default 1), AUTOBAHN_TIMEOUT
bounds the whole run in seconds (default 3600).
"""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import suite

def case_set(fuzzing):
    return fuzzing.CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases,
                           fuzzing.CaseCategories, fuzzing.CaseSubCategories)


def order(case):
    return [int(x) for x in case.split(".")]


def select(fuzzing, patterns):
    """Case ids, in the suite's order, that the patterns name."""
    known = sorted(case_set(fuzzing).CasesIndices, key=order)

    def named(pattern):
        regex = re.compile(re.escape(pattern).replace(r"\*", ".*"))
        ids = [c for c in known if regex.fullmatch(c)]
        if not ids:
            sys.exit("wstest.py: no case matches %r" % pattern)
        return ids

    include = {c for p in patterns if not p.startswith("-") for c in named(p)}
    exclude = {c for p in patterns if p.startswith("-") for c in named(p[1:])}
    return [c for c in known if c in (include or set(known)) - exclude]


def deal(fuzzing, cases, jobs):
    """Split cases into parts that take about equally long."""
    by_id = case_set(fuzzing).CasesById

    def weight(case):
        # nearly all time goes into compressing and decompressing in 12.* and 13.*,
        # where the data sets marked binary take about four times as long
        data = getattr(by_id[case], "TESTDATA", None)
        return 20000 + (by_id[case].LEN * (4 if data["binary"] else 1) if data else 0)

    parts = [[0, []] for _ in range(min(jobs, len(cases)))]
    for case in sorted(cases, key=weight, reverse=True):
        part = min(parts, key=lambda p: p[0])
        part[0] += weight(case)
        part[1].append(case)
    return [sorted(part[1], key=order) for part in parts]


class Runner:
    def __init__(self, outdir):
        self.outdir = outdir
        self.started = []
        self.deadline = time.monotonic() + float(os.environ.get("AUTOBAHN_TIMEOUT") or 3600)

    def start(self, command, log=None, env=None):
        out = open(log, "wb") if log else None
        try:
            process = subprocess.Popen(command, stdout=out, stderr=out and subprocess.STDOUT,
                                       env=dict(os.environ, **(env or {})), start_new_session=True)
        except OSError as error:
            sys.exit("wstest.py: %s" % error)
        self.started.append(process)
        return process

    def fuzzer(self, mode, index, spec):
        shard = os.path.join(self.outdir, "shards", str(index))
        os.makedirs(shard)
        spec = dict(spec, outdir=shard, **{"exclude-cases": [], "exclude-agent-cases": {}})
        path = shard + ".json"
        with open(path, "w") as f:
            json.dump(spec, f)
        return self.start([sys.executable, "-u", suite.__file__, mode, path], shard + ".log")

    def wait(self, process):
        try:
            return process.wait(max(0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            print("TIMEOUT (AUTOBAHN_TIMEOUT)", flush=True)
            self.stop(process)
            return None

    def stop(self, process):
        """End a program of ours that still runs, and what it started."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def stop_all(self):
        for process in self.started:
            self.stop(process)

    def merge(self, fuzzing):
        """The reports of all shards as one, written by the suite's own code."""
        factory = fuzzing.FuzzingFactory(self.outdir)
        factory.CaseSet = case_set(fuzzing)
        for index in glob.glob(os.path.join(self.outdir, "shards", "*", "index.json")):
            shard = os.path.dirname(index)
            with open(index) as f:
                agents = json.load(f)
            for agent, cases in agents.items():
                for case, entry in cases.items():
                    with open(os.path.join(shard, entry["reportfile"])) as f:
                        factory.agents.setdefault(agent, {})[case] = json.load(f)
            for path in glob.glob(os.path.join(shard, "*_case_*")):
                shutil.move(path, os.path.join(self.outdir, os.path.basename(path)))
        factory.createMasterReportHTML(self.outdir)
        factory.createMasterReportJSON(self.outdir)


def prepare(outdir, patterns):
    fuzzing = suite.load()
    cases = select(fuzzing, patterns)
    shutil.rmtree(outdir, ignore_errors=True)
    os.makedirs(outdir)
    return fuzzing, cases, Runner(outdir)


def shards(fuzzing, cases):
    return deal(fuzzing, cases, int(os.environ.get("AUTOBAHN_JOBS") or 1))


def test_server(url, outdir, patterns):
    fuzzing, cases, runner = prepare(outdir, patterns)
    server = {"url": url, "agent": "server"}
    failed = []
    try:
        fuzzers = [runner.fuzzer("fuzzingclient", i, {"servers": [server], "cases": part})
                   for i, part in enumerate(shards(fuzzing, cases))]
        for i, fuzzer in enumerate(fuzzers):
            if runner.wait(fuzzer) != 0:
                failed.append("fuzzing client %d did not end well" % i)
    finally:
        runner.stop_all()
    runner.merge(fuzzing)
    return summary(outdir, cases, failed)


def test_client(outdir, patterns, command):
    fuzzing, cases, runner = prepare(outdir, patterns)
    failed = []
    try:
        fuzzers, ports = [], []
        for i, part in enumerate(shards(fuzzing, cases)):
            ports.append(free_port())
            spec = {"url": "ws://127.0.0.1:%d" % ports[i], "cases": part}
            fuzzers.append(runner.fuzzer("fuzzingserver", i, spec))
        for port, fuzzer in zip(ports, fuzzers):
            while not listening(port):
                if fuzzer.poll() is not None or time.monotonic() > runner.deadline:
                    sys.exit("wstest.py: the fuzzing server does not start, see %s" % outdir)
                time.sleep(0.05)
        clients = [runner.start(command, env={"AUTOBAHN_URL": "ws://127.0.0.1:%d" % port}) for port in ports]
        for client in clients:
            status = runner.wait(client)
            if status != 0:
                failed.append("client under test: exit status %s" % status)
    finally:
        runner.stop_all()
    runner.merge(fuzzing)
    return summary(outdir, cases, failed)


def free_port():
    # the suite cannot report a port it was given by the system, so ask for one beforehand
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def listening(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
# red in the suite's own report; WRONG CODE and FAILED BY CLIENT are not
CLOSE_FAILED = ("FAILED", "UNCLEAN")


def kind(result):
    if result is None:
        return "missing"
    if result["behavior"] == "UNIMPLEMENTED":
        return "unimplemented"
    if result["behavior"] not in PASSED or result["behaviorClose"] in CLOSE_FAILED:
        return "failed"
    if result["behavior"] == "OK" and result["behaviorClose"] not in ("OK", "INFORMATIONAL"):
        return "NON-STRICT"
    return result["behavior"]


def summary(outdir, cases, failed):
    """Print the verdict from index.json; the exit status."""
    for line in failed:
        print(line)
    for log in glob.glob(os.path.join(outdir, "shards", "*.log")):
        with open(log, errors="replace") as f:
            if "INTERNAL ERROR" in f.read():
                print("internal errors of the suite, see %s" % log)
    with open(os.path.join(outdir, "index.json")) as f:
        agents = json.load(f)
    if len(agents) > 1:
        sys.exit("wstest.py: the client calls itself by several names: %s" % ", ".join(agents))
    results = next(iter(agents.values()), {})
    by = {}
    for case in cases:
        by.setdefault(kind(results.get(case)), []).append(case)
    for name, title in (("NON-STRICT", "non-strict"), ("INFORMATIONAL", "informational"), ("failed", "FAILED")):
        for case in by.get(name, ()):
            result = results[case]
            print("%s %s behavior %s close %s (%s)" % (title, case, result["behavior"],
                  result["behaviorClose"], result["remoteCloseCode"]))
    if "missing" in by:
        print("MISSING", *by["missing"])
    count = {name: len(ids) for name, ids in by.items()}
    print("passed %d, failed %d, non-strict %d, informational %d, unimplemented %d of %d" % (
        sum(count.get(name, 0) for name in PASSED), count.get("failed", 0), count.get("NON-STRICT", 0),
        count.get("INFORMATIONAL", 0), count.get("unimplemented", 0), len(cases))
        + (", missing %d" % count["missing"] if "missing" in by else ""))
    return 1 if failed or "failed" in by or "missing" in by else 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    argv, command = sys.argv[1:], []
    if "--" in argv:
        argv, command = argv[:argv.index("--")], argv[argv.index("--") + 1:]
    if argv[:1] == ["server"] and len(argv) >= 3 and not command:
        return test_server(argv[1], argv[2], argv[3:])
    if argv[:1] == ["client"] and len(argv) >= 2 and command:
        return test_client(argv[1], argv[2:], command)
    if argv[:1] == ["cases"]:
        print("\n".join(select(suite.load(), argv[1:])))
        return 0
    sys.exit(__doc__.split("\n\n")[1])


if __name__ == "__main__":
    sys.exit(main())
