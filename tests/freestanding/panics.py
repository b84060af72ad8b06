"""Lists whose code in an image may panic: `panics.py IMAGE NAME=PATH...`.

A call of something that panics is charged to the innermost source line that is not the standard
library's, inlined or not. Functions that are the library's through and through are charged to their
callers in turn. Prints the lines, by the NAMEs whose PATH is part of theirs, and exits with 1 if
there is one of the first NAME.
"""

import collections
import re
import subprocess
import sys

PANICS = re.compile(r"^(core::panicking::|core::.*_fail(ed|_rt)?$|__rustc::rust_begin_unwind)")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
CALL = re.compile(r"^ *([0-9a-f]+):\s+(?:call|j\w+)\s+[0-9a-f]+ <([^+]*)>$")


def calls(image):
    """(caller, address, callee) of every direct call or jump between functions."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", image]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    caller = None
    for line in listing.splitlines():
        if function := FUNCTION.match(line):
            caller = function[1]
        elif (call := CALL.match(line)) and call[2] != caller:
            yield caller, call[1], call[2]


def sources(image, addresses):
    """For each address its source lines, innermost first."""
    command = ["addr2line", "-a", "-i", "-e", image, *addresses]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    frames = {}
    for line in listing.splitlines():
        if line.startswith("0x"):
            current = frames.setdefault(int(line, 16), [])
        else:
            current.append(line.split(" ")[0])
    return frames


def is_library(source):
    return source.startswith(("/rustc/", "??")) or "/rustlib/src/" in source


def main(image, *names):
    owners = [name.split("=", 1) for name in names]
    sites = list(calls(image))
    frames = sources(image, sorted({address for _, address, _ in sites}))
    panics = {callee for _, _, callee in sites if PANICS.match(callee)}
    charged = collections.Counter()
    while True:
        charged.clear()
        passed_on = set()
        for caller, address, callee in sites:
            if callee not in panics or caller in panics:
                continue
            lines = [line for line in frames[int(address, 16)] if not is_library(line)]
            if lines:
                charged[lines[0]] += 1
            else:
                passed_on.add(caller)
        if not passed_on:
            break
        panics |= passed_on
    found = collections.defaultdict(list)
    for line in sorted(charged):
        owner = next((name for name, path in owners if path in line), "others")
        found[owner].append(line)
    for owner, lines in found.items():
        short = sorted({"/".join(line.split("/")[-2:]) for line in lines})
        print(f"  {owner}: {len(lines)}: {', '.join(short)}")
    sys.exit(1 if found[owners[0][0]] else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
