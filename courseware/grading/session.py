"""Run a notebook in a box and bring back what it printed, which cells failed, and plain data.

Everything that arrives from the kernel is a stranger's: messages may be forged, endless, huge or malformed. Nothing here
believes them; they are at most what the student shows, or the student's answer to a hidden test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os
import queue
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from nbformat import NotebookNode
from zmq.constants import Event, SocketOption

from . import in_kernel, wire
from .box import Limits, core, remove
from .markdown import picture

_STARTUP = 120  # seconds
_GRACE = 2  # seconds that an interrupted cell has to say where it was
_REST = 5  # seconds that the last messages of a cell may take
_QUIET = 2  # seconds without a message after which one that should have come will not
_SETTLE = 0.5  # seconds; an event loop that was told to stop does so after a tenth
_REMEMBER = 20  # seconds that the asker may take to look at the names
_STARVED = 20  # times its limit that a cell may wait for a busy machine
_MESSAGE = 16_000_000  # bytes; ZeroMQ drops a peer that sends more at once
_TEXT = 20_000  # characters of a cell's text that are kept for the feedback page

_INSTALL = """\
(lambda tools, asker: (
    exec({plain!r}, tools), exec({asker!r}, asker), asker["install"](get_ipython(), tools)
) and None)(*(
    {{"__name__": name, "__builtins__": dict(vars(__import__("builtins")))}} for name in ("course_plain", "course_asker")
))
"""


class Client(BlockingKernelClient):  # type: ignore[misc]
    """A kernel's client that takes no message larger than it must, and does not queue thousands."""

    def _create_connected_socket(self, channel: str, identity: bytes | None = None) -> Any:
        # options of the context are those of its next sockets; ZeroMQ reads these when a socket connects
        self.context.setsockopt(SocketOption.MAXMSGSIZE, _MESSAGE)
        self.context.setsockopt(SocketOption.RCVHWM, 50)
        return super()._create_connected_socket(channel, identity)


@dataclasses.dataclass
class CellRun:
    """One cell's run: what it showed, and the error it ended with, if any."""

    outputs: list[NotebookNode] = dataclasses.field(default_factory=list)
    error: str = ""  # "NameError: name 'x' is not defined"
    stopped: str = ""  # why the grader stopped it
    printed: int = 0  # bytes
    reply: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return bool(self.error or self.stopped)


class NotStarted(Exception):
    """No kernel came up; that is the machine's trouble."""


class Dead(Exception):
    """The kernel is gone, or not to be used again; the message says why, for the student."""

    def __init__(self, why: str, run: CellRun, *, ours: bool = True, began: bool = True) -> None:
        super().__init__(why)
        self.outputs, self.printed = run.outputs, run.printed
        self.ours = ours  # the grader ended it, for what it did; else something else did, and that may be the machine
        self.began = began  # the kernel had taken up the request; else the one before is to blame
        self.flooded = self.slow = False  # it printed too much, it took too long


def _slow(run: CellRun, seconds: float, began: bool) -> Dead:
    run.stopped = f"ran longer than {seconds:.0f} s"
    dead = Dead(run.stopped, run, began=began)
    dead.slow = True
    return dead


class Session:
    """One kernel in one box: `start` it, or use it as a context manager."""

    def __init__(self, limits: Limits, unsafe: bool = False, modules: Sequence[str] = ()) -> None:
        self.limits, self.unsafe, self.modules = limits, unsafe, modules
        self.printed = 0
        self.held = contextlib.ExitStack()
        self.spent = 0.0  # seconds of all requests, without those that the machine kept them waiting

    def __enter__(self) -> Session:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Session:
        """Make the box, and have a kernel in it.

        Raises:
            NotStarted
        """
        # a short path: a socket has room for 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix=f"box-{os.getpid()}-", dir="/tmp"))
        settings = {
            "limits": dataclasses.asdict(self.limits),
            "shared": str(self.folder),
            "unsafe": self.unsafe,
            "modules": list(self.modules),
            "core": self.held.enter_context(core()),
        }
        self.manager = KernelManager(
            kernel_spec_manager=_Specs(settings),
            kernel_name="course-box",
            transport="ipc",
            ip=str(self.folder / "k"),
            connection_file=str(self.folder / "kernel.json"),
            client_class="courseware.grading.session.Client",
        )
        try:
            self.manager.start_kernel()
            self.client = self.manager.client()
            self.client.start_channels(stdin=False, hb=False)
            self.hung_up = self.client.iopub_channel.socket.get_monitor_socket(Event.DISCONNECTED)
            self.client.wait_for_ready(timeout=_STARTUP)
            sources = {"plain": inspect.getsource(wire), "asker": inspect.getsource(in_kernel)}
            installed = self._execute(_INSTALL.format(**sources), _STARTUP, silent=True)
            if installed.failed:
                raise RuntimeError(f"the kernel does not take questions: {installed.error}")
        except (RuntimeError, Dead) as error:
            self.close()
            raise NotStarted(self._why(str(error))) from error
        except BaseException:
            self.close()
            raise
        self.spent = 0.0
        return self

    def close(self) -> None:
        if hasattr(self, "client"):
            self.client.iopub_channel.socket.disable_monitor()
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        remove(self.folder)
        self.held.close()

    def run(self, source: str, seconds: float = 0, patient: bool = False) -> CellRun:
        """Run one cell, for so many seconds, or as long as any cell may.

        With `patient` a cell that ran too long, but stopped when it was told to, does not cost the kernel.

        Raises:
            Dead: the kernel died, or had to be killed.
        """
        return self._execute(source, seconds or self.limits.cell, patient=patient)

    def busy(self) -> int:
        """How many threads run in the box, of all its processes."""
        return int(self.manager.provisioner.busy())

    def settle(self) -> None:
        """Wait for what the last cell may have set going.

        Raises:
            Dead: as `run`.
        """
        time.sleep(_SETTLE)
        self.after("")

    def after(self, kind: str, exercise: str = "", names: Sequence[str] = ()) -> None:
        """Have the asker look at the names that a cell has left (see in_kernel.py).

        Raises:
            Dead: as `run`.
        """
        self._remember("after", kind, exercise, list(names))

    def tidy(self, exercise: str) -> bool:
        """Put back the names that the student's own cells have covered; was there anything?

        Raises:
            Dead: as `run`.
        """
        return self._remember("tidy", exercise).reply.get("answer") is True

    def untidy(self) -> None:
        """Give the student's names back: with the lab's it is no better.

        Raises:
            Dead: as `run`.
        """
        self._remember("untidy")

    def _remember(self, what: str, *arguments: Any) -> CellRun:
        """Have the asker do something about the cell that has just run; where that does not end, it is this cell's doing."""
        try:
            return self._request(in_kernel.REQUEST, {"what": what, "arguments": arguments}, _REMEMBER)
        except Dead as death:
            death.began = True
            if death.slow:
                death.args = (f"kept the kernel busy for {_REMEMBER} s after its end",)
            raise

    def ask(self, exercise: str, source: str, function: str, seconds: float = 0) -> Any:
        """Call a function of `source` beside the student's names and bring back what it returns, as plain data.

        Raises:
            Dead: as `run`.
            ValueError: it failed, or what came is not plain data; the message is safe to show.
        """
        content = {"what": "ask", "arguments": [exercise, source, function]}
        answer = self._request(in_kernel.REQUEST, content, seconds or self.limits.cell).reply
        text = answer.get("answer")
        if not isinstance(text, str):
            raise ValueError(str(answer.get("error", "no answer came"))[:1000])
        if len(text) > self.limits.answer:
            raise ValueError(f"the answer is larger than {self.limits.answer / 1e6:.0f} MB")
        try:
            return wire.decode(json.loads(text))
        except (ValueError, RecursionError, TypeError) as error:
            raise ValueError("the answer is not plain data") from error

    def _execute(self, source: str, seconds: float, silent: bool = False, patient: bool = False) -> CellRun:
        content = {
            "code": source, "silent": silent, "store_history": not silent, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": False,
        }  # fmt: skip
        run = self._request("execute_request", content, seconds, patient)
        if run.reply.get("status") != "ok" and not run.error:
            run.error = _error_text(run.reply)
        if over := self.manager.provisioner.over():  # else the watch would see it in the next cell, and that be blamed
            raise Dead(over, run)
        if self.manager.provisioner.crowded:
            raise Dead(f"left no memory to the cells after it, of {self.limits.memory / 1e9:.1f} GB", run)
        return run

    def _request(self, kind: str, content: dict[str, Any], seconds: float, patient: bool = False) -> CellRun:
        """Send a request, and take down all that comes until it is done."""
        run, started = CellRun(), time.monotonic()
        message = self.client.session.msg(kind, content)
        request, answer = message["header"]["msg_id"], kind.replace("_request", "_reply")
        self.client.shell_channel.send(message)
        heard, end = started, started + seconds
        busy = idle = replied = interrupted = began = False
        waited, meter = 0.0, self.manager.provisioner.meter()
        try:
            while True:
                arrived, now = self._next(), time.monotonic()
                if arrived is None:
                    self._must_live(run, busy)
                else:
                    heard = now
                    kind, content, parent, size = arrived
                    if kind == "status":
                        busy = busy or parent == request
                        idle = idle or (parent == request and content.get("execution_state") == "idle")
                    elif kind == answer and parent == request:
                        replied, run.reply = True, content
                        end = now + _REST  # what is left to come is on its way
                    else:
                        self._keep(run if parent == request else CellRun(), kind, content, size)
                if (idle and replied) or ((idle or replied) and now - heard > _QUIET):
                    break
                over = now >= end and (arrived is None or now >= end + _REST)  # what has come is read first
                if self.printed > self.limits.output or (replied and over):
                    raise self._flood(run)  # what is queued already would drown the next cells
                if over and interrupted:
                    raise _slow(run, seconds, began)
                if over:
                    late = min(meter.late(), _STARVED * seconds) - waited
                    if late > 0.1:
                        waited, end = waited + late, now + late
                        continue
                    self.manager.interrupt_kernel()  # for the traceback, which tells the student where it was
                    interrupted, began, end = True, busy, now + _GRACE
        finally:
            self.spent += time.monotonic() - started - meter.late()
        if interrupted:
            dead = _slow(run, seconds, began)
            if not (patient and began):  # what else it left behind, such as gigabytes to print, is not worth finding out
                raise dead
        return run

    def _must_live(self, run: CellRun, began: bool) -> None:
        """Nothing has come: because there is nobody left who could send?"""
        if not self.hung_up.poll(0) and self.manager.provisioner.process_alive():
            return
        end = time.monotonic() + _GRACE
        while self.manager.provisioner.process_alive():
            if time.monotonic() > end:  # whoever sent too much at once was cut off
                raise self._flood(run)
            time.sleep(0.02)
        ended = self._why("")  # then here: when the request before was done, it kept to its limits
        raise Dead(ended or "the kernel died", run, ours=bool(ended), began=began or bool(ended))

    def _flood(self, run: CellRun) -> Dead:
        dead = Dead(f"printed more than {self.limits.output / 1e6:.0f} MB", run)
        dead.flooded = True
        return dead

    def _why(self, otherwise: str) -> str:
        provisioner = self.manager.provisioner
        return (provisioner.why() if provisioner else "") or otherwise

    def _next(self) -> tuple[str, dict[str, Any], str, int] | None:
        """The next message of either channel: type, content, the request it claims to answer, its size."""
        for wait, channel in ((0.0, self.client.shell_channel), (0.05, self.client.iopub_channel)):
            if not channel.socket.poll(int(wait * 1000)):
                continue
            try:
                message = channel.get_msg(timeout=0)
                # half a character (a lone surrogate) is no text: no file, database or page would take it
                text = json.dumps(message["content"], ensure_ascii=False).encode("utf-8", "replace")
                content = dict(json.loads(text))
                return str(message["msg_type"]), content, str(message["parent_header"].get("msg_id", "")), len(text)
            except queue.Empty:  # nothing in this channel: the next one
                continue
            except Exception:  # whatever a forged message makes jupyter_client raise: it counts as printed, and is dropped
                self.printed += 100_000
                return "malformed", {}, "", 0
        return None

    def _keep(self, run: CellRun, kind: str, content: dict[str, Any], size: int) -> None:
        if kind in ("stream", "display_data", "execute_result", "error", "update_display_data"):
            self.printed += size
            run.printed += size
            if kind == "error" and not run.error:
                run.error = _error_text(content)
            add_output(run.outputs, kind, content)


class _Specs(KernelSpecManager):  # type: ignore[misc]
    """Knows one kernel: Python with ipykernel, started by the box's provisioner."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python in a box",
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "course-box", "config": self.settings}},
        )


def _error_text(content: dict[str, Any]) -> str:
    name, value = str(content.get("ename", "error"))[:80], str(content.get("evalue", ""))[:500]
    return f"{name}: {value}" if value else name


def add_output(outputs: list[NotebookNode], kind: str, content: dict[str, Any]) -> None:
    """Keep what is safe to show and not too long: text, and images that are images."""
    kept = sum(len(o.get("text", "")) + len(o.get("data", {}).get("text/plain", "")) for o in outputs)
    room = _TEXT - kept
    if kind == "stream":
        text = str(content.get("text", ""))[: max(room, 0)]
        name = "stderr" if content.get("name") == "stderr" else "stdout"
        if outputs and outputs[-1].output_type == "stream" and outputs[-1].name == name:
            outputs[-1].text += text
        elif text:
            outputs.append(nbformat.v4.new_output("stream", name=name, text=text))
    elif kind == "error":
        trace = content.get("traceback")
        trace = [str(line)[:2000] for line in (trace if isinstance(trace, list) else [])[-20:]]
        outputs.append(
            nbformat.v4.new_output(
                "error", ename=str(content.get("ename"))[:80], evalue=str(content.get("evalue"))[:2000], traceback=trace
            )
        )
    elif len(outputs) < 50:
        given = content.get("data")
        data = {}
        for mime, value in given.items() if isinstance(given, dict) else ():
            if mime == "text/plain" and room > 0:
                data[mime] = str(value)[:room]
            elif mime in ("image/png", "image/jpeg") and isinstance(value, str) and picture(mime, value):
                data[mime] = value
        if data:
            outputs.append(nbformat.v4.new_output("display_data", data=data))
