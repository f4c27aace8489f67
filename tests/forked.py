"""Programs run by a process that has imported torch and forks for each: they need not import it again.

Where there is no fork, each is a Python of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

COMMAND = "from torchbce.cli import main; main()"
LIBRARIES = "sklearn.linear_model scipy.stats matplotlib.figure pydantic typer rich.console jinja2 safetensors"
SERVER = """
import importlib, io, json, os, signal, socket, sys
import torch

def serve(requests):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            os._exit(0)
        request = json.loads(message)
        if os.fork() == 0:
            requests.close()
            answers = socket.socket(fileno=descriptors.pop(0))
            if "libraries" in request:
                for name in request["libraries"]:
                    importlib.import_module(name)
                requests = answers
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            child = os.fork()
            if child == 0:
                answers.close()
                return request, descriptors
            for descriptor in descriptors:
                os.close(descriptor)
            answers.send(str(child).encode())
            answers.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)

request, descriptors = serve(socket.socket(fileno=int(sys.argv[1])))
for number, descriptor in enumerate(descriptors):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.environ.clear()
os.environ.update(request["environment"])
os.chdir(request["folder"])
sys.argv = ["-c", *request["arguments"]]
sys.stdin = sys.__stdin__ = open(0, closefd=False)
at_once = os.isatty(1) or "PYTHONUNBUFFERED" in os.environ
sys.stdout = sys.__stdout__ = open(1, "w", buffering=1 if at_once else -1, closefd=False)
sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
if request["strict"]:
    import warnings
    warnings.simplefilter("error")
exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
"""


class Process:
    """A program that runs, with the part of `subprocess.Popen` that tests need."""

    def __init__(self, answers: socket.socket, stdout, stderr) -> None:
        self.stdout, self.stderr, self.returncode = stdout, stderr, None
        self._answers, self.pid = answers, int(answers.recv(20))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = int(self._answers.recv(20))
            except TimeoutError as error:
                raise subprocess.TimeoutExpired("the program", timeout) from error
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(1e-6)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """Return what is left on standard output and on standard error."""
        read: dict[str, str] = {}
        pipes = {name: pipe for name in ("stdout", "stderr") if (pipe := getattr(self, name)) and not pipe.closed}
        threads = [
            threading.Thread(target=lambda name, pipe: read.update({name: pipe.read()}), args=pair, daemon=True)
            for pair in pipes.items()
        ]
        for thread in threads:
            thread.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for thread in threads:
            thread.join()
        for pipe in pipes.values():
            pipe.close()
        return read.get("stdout"), read.get("stderr")


def start(
    code: str,
    *arguments: object,
    environment: dict[str, str] | None = None,
    folder: str | Path = ".",
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    strict: bool = False,
) -> Process | subprocess.Popen[str]:
    """Return `python -c code arguments`, which runs; `stdin`, `stdout` and `stderr` as for `subprocess.Popen`.

    `environment` is added to this process's; with `strict`, warnings are errors.
    """  # fmt: skip
    variables = {**os.environ, **(environment or {})}
    argv = [str(argument) for argument in arguments]
    if sys.platform != "linux":
        command = [sys.executable, *(["-W", "error"] if strict else []), "-c", code, *argv]
        return subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=folder, env=variables, text=True
        )
    request = {"code": code, "arguments": argv, "environment": variables, "folder": os.path.abspath(folder)}
    with contextlib.ExitStack() as theirs:
        descriptors, ours = [], []
        for given in (stdin, stdout, stderr):
            if given == subprocess.PIPE:
                read, write = os.pipe()
                ours.append(os.fdopen(read))
                theirs.callback(os.close, write)
                descriptors.append(write)
            elif given == subprocess.DEVNULL:
                descriptors.append(theirs.enter_context(open(os.devnull, "r+")).fileno())
            else:
                descriptors.append(given if isinstance(given, int) else given.fileno())
                ours.append(None)
        answers, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.enter_context(far)
        message = json.dumps({**request, "strict": strict}).encode()
        socket.send_fds(_server(code == COMMAND), [message], [far.fileno(), *descriptors])
    return Process(answers, *ours[-2:])


def run(code: str, *arguments: object, given: bytes = b"", **options) -> subprocess.CompletedProcess[str]:
    """Return how `start(code, arguments, ...)` ended and what it printed, for `given` on standard input."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        process = start(code, *arguments, stdin=stdin, **options)
        output, errors = process.communicate()
    return subprocess.CompletedProcess([code, *arguments], process.returncode, output, errors)


def program(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Return how the program in a file ended."""
    ended = run(_program(path), *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended


def ranks(count: int, code: str, *arguments: object, **options) -> list[subprocess.CompletedProcess[str]]:
    """Return how `count` processes ended that found each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    begun = [
        start(code, *arguments, environment={**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **options)
        for rank in range(count)
    ]
    said = [process.communicate(timeout=120) for process in begun]
    return [
        subprocess.CompletedProcess([code, *arguments], process.returncode, *texts)
        for process, texts in zip(begun, said, strict=True)
    ]


def _program(path: Path) -> str:
    return f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"


@functools.cache
def _server(with_libraries: bool) -> socket.socket:
    """Return the way to a process of our own that forks; it ends when that is closed, at the latest by our end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        if with_libraries:  # those of the command; polars is not among them, as it starts threads
            message = json.dumps({"libraries": LIBRARIES.split()}).encode()
            socket.send_fds(_server(False), [message], [theirs.fileno()])
        else:
            command = [sys.executable, "-c", SERVER, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            process.returncode = 0  # nobody waits for it
    atexit.register(ours.close)
    return ours
