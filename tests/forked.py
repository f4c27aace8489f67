"""Programs run by a process that has imported torch and forks for each: they need not import it again.

Where there is no fork, each is a Python of its own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = "from torchbce.cli import main; main()"
SERVER = """
import json, os, sys
import torch
requests, answers = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w")
for request in requests:
    request = json.loads(request)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
else:
    os._exit(0)
for number, (name, mode) in enumerate(((request["input"], "rb"), (request["output"], "wb"), (request["errors"], "wb"))):
    with open(name, mode) as file:
        os.dup2(file.fileno(), number)
os.environ.clear()
os.environ.update(request["environment"])
os.chdir(request["folder"])
sys.argv = ["-c", *request["arguments"]]
if request["strict"]:
    import warnings
    warnings.simplefilter("error")
requests.close()
answers.close()
exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
"""


def run(
    code: str,
    *arguments: object,
    environment: dict[str, str] | None = None,
    folder: str | Path = ".",
    given: bytes = b"",
    strict: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Return how `python -c code arguments` ended and what it printed, for `given` on standard input.

    `environment` is added to this process's; with `strict`, warnings are errors.
    """  # fmt: skip
    variables = {**os.environ, **(environment or {})}
    argv = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as place:
        files = {name: str(Path(place, name)) for name in ("input", "output", "errors")}
        Path(files["input"]).write_bytes(given)
        if sys.platform == "linux":
            status = _forked(
                code=code, arguments=argv, environment=variables, folder=os.path.abspath(folder), strict=strict, **files
            )
        else:
            command = [sys.executable, *(["-W", "error"] if strict else []), "-c", code, *argv]
            with open(files["input"]) as stdin, open(files["output"], "w") as out, open(files["errors"], "w") as errors:
                status = subprocess.run(
                    command, stdin=stdin, stdout=out, stderr=errors, cwd=folder, env=variables
                ).returncode
        output, errors = (Path(files[name]).read_text() for name in ("output", "errors"))
    return subprocess.CompletedProcess([code, *argv], status, output, errors)


def program(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Return how the program in a file ended."""
    ended = run(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended


def _forked(**request: object) -> int:
    requests, answers = _server()
    print(json.dumps(request), file=requests, flush=True)
    return int(answers.readline())


@functools.cache
def _server():
    """Return the pipes to and from a process of our own, which ends with this one."""
    theirs, requests = os.pipe()
    answers, given = os.pipe()
    command = [sys.executable, "-c", SERVER, str(theirs), str(given)]
    process = subprocess.Popen(command, pass_fds=(theirs, given), stdin=subprocess.DEVNULL)
    os.close(theirs)
    os.close(given)
    pipes = os.fdopen(requests, "w"), os.fdopen(answers)

    @atexit.register
    def end():
        process.terminate()  # another child of this process may hold the pipe open
        process.wait()
        for pipe in pipes:
            pipe.close()

    return pipes
