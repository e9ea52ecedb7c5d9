"""Run a notebook in a box and bring back what it printed, which cells failed, and plain data.

Everything that arrives from the kernel is a stranger's: messages may be forged, endless, huge or malformed. Nothing here
believes them; they are at most what the student shows, or the student's answer to a hidden test.
"""

from __future__ import annotations

import base64
import dataclasses
import inspect
import io
import json
import os
import queue
import shutil
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

from .. import plain
from .box import Limits

ANSWER_TYPE = "application/vnd.course.answer+json"
_STARTUP = 120  # seconds
_GRACE = 2  # seconds that an interrupted cell has to say where it was
_MESSAGE = 16_000_000  # bytes; ZeroMQ drops a peer that sends more at once
_TEXT = 20_000  # characters of a cell's text that are kept for the feedback page
_IMAGE = 2_000_000  # bytes of an image that is kept
_PIXELS = 8_000_000

_ASK = """
def _course_ask(source, function):
    import json
    from IPython.display import publish_display_data
    tools = {"__name__": "course_plain"}
    exec(PLAIN, tools)
    names = dict(get_ipython().user_ns)
    exec(source, names)
    answer = json.dumps(tools["encode"](tools["plain"](names[function]())))
    publish_display_data({TYPE: answer})
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
    answer: str | None = None

    @property
    def failed(self) -> bool:
        return bool(self.error or self.stopped)


class Dead(Exception):
    """The kernel is gone, or not to be used again; the message says why, for the student."""

    def __init__(self, why: str, run: CellRun | None = None) -> None:
        super().__init__(why)
        self.outputs = run.outputs if run else []


class Session:
    """One kernel in one box. Use as a context manager."""

    def __init__(self, limits: Limits, deadline: float, unsafe: bool = False, modules: Sequence[str] = ()) -> None:
        self.limits, self.deadline, self.unsafe, self.modules = limits, deadline, unsafe, modules
        self.printed = 0

    def __enter__(self) -> Session:
        # a short path: a socket has room for 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix=f"box-{os.getpid()}-", dir="/tmp"))
        settings = {
            "limits": dataclasses.asdict(self.limits),
            "shared": str(self.folder),
            "unsafe": self.unsafe,
            "modules": list(self.modules),
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
            self.client.wait_for_ready(timeout=min(_STARTUP, max(1.0, self.deadline - time.monotonic())))
        except RuntimeError as error:
            self.close()
            raise Dead(self._why("the kernel did not start")) from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "client"):
            self.client.iopub_channel.socket.disable_monitor()
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, source: str) -> CellRun:
        """Run one cell.

        Raises:
            Dead: the kernel died, or had to be killed.
        """
        run = CellRun()
        request = self.client.execute(source, allow_stdin=False, stop_on_error=False)
        end = min(self.deadline, time.monotonic() + self.limits.cell)
        idle = replied = False
        interrupted = False
        while not (idle and replied):
            message = self._next()
            now = time.monotonic()
            if message is None and not self.manager.provisioner.process_alive():
                raise Dead(self._why("the kernel died"))
            if message is not None:
                kind, content, parent, size = message
                if kind == "execute_reply":
                    if parent == request:
                        replied = True
                        if content.get("status") != "ok" and not run.error:
                            run.error = _said(content)
                        end = min(end, now + 5)  # what is left to come is on its way
                elif kind == "status" and content.get("execution_state") == "idle":
                    idle = idle or parent == request
                else:
                    self._keep(run if parent == request else CellRun(), kind, content, size)
            # what is queued already would drown the next cells; and whoever sent too much at once was cut off
            if self.printed > self.limits.output or self.hung_up.poll(0):
                raise Dead(f"printed more than {self.limits.output / 1e6:.0f} MB")
            if now >= end:
                if replied:  # what it printed is still queued somewhere, and would drown the next cells
                    raise Dead(f"printed more than {self.limits.output / 1e6:.0f} MB", run)
                if interrupted:
                    raise Dead(f"ran longer than {self.limits.cell} s", run)
                self.manager.interrupt_kernel()  # for the traceback, which tells the student where it was
                interrupted, end = True, now + _GRACE
        if interrupted:  # what else it left behind, such as gigabytes still to print, is not worth finding out
            raise Dead(f"ran longer than {self.limits.cell} s", run)
        if self.manager.provisioner.crowded():  # else the next cell would fail for want of memory, and be blamed
            raise Dead(f"left no memory to the cells after it, of {self.limits.memory / 1e9:.1f} GB", run)
        return run

    def ask(self, source: str, function: str) -> Any:
        """Call a function of `source` beside the student's names and bring back what it returns, as plain data.

        Raises:
            Dead: as `run`.
            ValueError: it failed, or what came is not plain data; the message is safe to show.
        """
        code = f"PLAIN = {inspect.getsource(plain)!r}\nTYPE = {ANSWER_TYPE!r}\n{_ASK}\n_course_ask({source!r}, {function!r})"
        run = self.run(code)
        if run.answer is None:
            raise ValueError(run.error or "no answer came")
        try:
            return plain.decode(json.loads(run.answer))
        except (ValueError, RecursionError, TypeError) as error:
            raise ValueError("the answer is not plain data") from error

    def _why(self, otherwise: str) -> str:
        return getattr(self.manager.provisioner, "ended", "") or otherwise

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
            except queue.Empty:
                continue
            except Exception:  # whatever a forged message makes jupyter_client raise: it counts as printed, and is dropped
                self.printed += 100_000
                return "malformed", {}, "", 0
        return None

    def _keep(self, run: CellRun, kind: str, content: dict[str, Any], size: int) -> None:
        if kind == "display_data" and ANSWER_TYPE in (content.get("data") or {}):
            answer = content["data"][ANSWER_TYPE]
            if isinstance(answer, str) and len(answer) <= self.limits.answer:
                run.answer = answer
            return
        if kind in ("stream", "display_data", "execute_result", "error", "update_display_data"):
            self.printed += size
            if kind == "error" and not run.error:
                run.error = _said(content)
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


def _said(content: dict[str, Any]) -> str:
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
        trace = [str(line)[:2000] for line in list(content.get("traceback") or [])[-20:]]
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
            elif mime in ("image/png", "image/jpeg") and _is_image(value):
                data[mime] = value
        if data:
            outputs.append(nbformat.v4.new_output("display_data", data=data))


def _is_image(value: Any) -> bool:
    """Is it really a picture, of a size that a browser can show? Only its header is read."""
    from PIL import Image

    if not isinstance(value, str) or len(value) > _IMAGE:
        return False
    try:
        width, height = Image.open(io.BytesIO(base64.b64decode(value)), formats=("PNG", "JPEG")).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return bool(width * height <= _PIXELS)
