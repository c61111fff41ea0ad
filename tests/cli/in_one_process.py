"""Runs commands one after the other in one process: importing everything anew for each would take minutes.

Reads ``{page: [[folder, line], ...]}`` as JSON and writes ``{page: [line, exit code, standard error]}`` of the lines that
fail; what follows them on their page is not run.
"""

import contextlib
import importlib
import io
import json
import os
import shlex
import sys
import tomllib


def run(scripts, folder, line):
    """Run a line, whose commands may be joined by pipes and whose output may go into a file; return exit code and errors."""
    commands, _, output = line.partition(" > ")
    os.chdir(folder)
    read = b""
    for command in commands.split(" | "):
        code, read, errors = call(scripts, command, read)
        if code:
            return code, errors
    if output:
        with open(output, "wb") as file:
            file.write(read)
    return 0, errors


def call(scripts, command, read):
    """Run a command that reads some bytes; return its exit code, what it wrote, and its errors."""
    name, *arguments = shlex.split(command)
    module, attribute = scripts[name].split(":")
    # Commands read and write bytes, too.
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    standard, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(read))
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            getattr(importlib.import_module(module), attribute)(arguments, prog_name=name)
        except SystemExit as stop:
            code = stop.code
    sys.stdin = standard
    return code, out.buffer.getvalue(), err.buffer.getvalue().decode()


def main():
    with open(sys.argv[1], "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    failed = {}
    for page, lines in json.load(sys.stdin).items():
        for folder, line in lines:
            code, said = run(scripts, folder, line)
            if code:
                failed[page] = [line, code, said]
                break
    json.dump(failed, sys.stdout)


if __name__ == "__main__":
    main()
