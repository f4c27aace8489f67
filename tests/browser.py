"""Chromium with a page open, driven by its DevTools protocol over a pipe: real mouse events, no driver to install."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess

CHROMIUM = shutil.which("chromium")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"


class Page:
    """A page that has loaded; `problems` are its errors and console messages."""

    def __init__(self, commands, answers, address):
        self.commands, self.answers, self.number, self.session = commands, answers, 0, None
        self.problems = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def call(self, method, **params):
        """One command; its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.number:
                assert "result" in answer, answer
                return answer["result"]

    def value(self, script):
        """What a line of JavaScript gives."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def drag(self, selector, x, y):
        """Takes the middle of an element with the mouse and moves it by x, y pixels."""
        found = f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
        middle = "const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]"
        left, top = self.value(f"(() => {{ {found} {middle} }})()")
        places = [("mousePressed", 0), *(("mouseMoved", step / 4) for step in range(1, 5)), ("mouseReleased", 1)]
        for kind, part in places:
            at = {"x": left + part * x, "y": top + part * y}
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **at)

    def _message(self):
        text = b""
        while not text.endswith(b"\0"):
            piece = self.answers.read(1)
            assert piece, "the browser has ended"
            text += piece
        message = json.loads(text[:-1])
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.problems.append(message["params"])
        return message


@contextlib.contextmanager
def page(file, profile):
    """The page of a file, in a browser of its own."""
    from_us, to_browser = os.pipe()
    from_browser, to_us = os.pipe()

    def connect():  # the browser reads descriptor 3 and writes descriptor 4
        ends = os.dup(from_us), os.dup(to_us)
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    browser = subprocess.Popen(command, preexec_fn=connect, close_fds=False, stderr=subprocess.DEVNULL)
    os.close(from_us)
    os.close(to_us)
    with open(to_browser, "wb", buffering=0) as commands, open(from_browser, "rb") as answers:
        try:
            yield Page(commands, answers, file.as_uri())
        finally:
            browser.kill()
            browser.wait()
