"""Pages are made in processes with limits of time and memory: whatever is in a notebook, it costs its own page at most."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

from . import feedback_page
from .workers import end_with

if sys.platform != "win32":
    import resource

SECONDS = 300.0  # that one student's page may take on a clock; of the processor it gets less, see feedback_page.py
MEMORY = 1_500_000_000  # bytes of address space of a worker
_WAITING = 4  # jobs for each worker that wait in memory; a class's notebooks have no room there


@dataclass
class Printed:
    """What a notebook becomes."""

    page: str
    notebook: str  # for formgrader
    why: str = ""  # key of messages.py: why the page has no notebook, if it has none


class Press:
    """Makes pages side by side, in processes that are started when the first page is asked for."""

    def __init__(self, lab: Callable[[], feedback_page.Lab], count: int) -> None:
        self.lab = lab
        self.threads = ThreadPoolExecutor(count)
        self.room = threading.Semaphore(count * (1 + _WAITING))
        self.local = threading.local()
        self.started: list[_Worker] = []
        self.jobs: list[Future[None]] = []
        self.closed = False

    def add(self, about: feedback_page.About, note: str, then: Callable[[Printed], None]) -> None:
        """Make a page soon, and give it to `then`, in another thread. Waits while too many others wait.

        Raises: what an earlier `then` raised.
        """
        lab = self.lab()
        for job in [job for job in self.jobs if job.done()]:
            self.jobs.remove(job)
            job.result()
        self.room.acquire()
        self.jobs.append(self.threads.submit(self._make, lab, about, note, then))

    def wait(self) -> None:
        """Until all pages are made. Raises what a `then` raised."""
        while self.jobs:
            self.jobs.pop().result()

    def close(self) -> None:
        """Pages that are not made yet will not be."""
        self.closed = True
        for job in self.jobs:
            job.cancel()
        for worker in list(self.started):
            worker.kill()
        self.threads.shutdown(wait=True)
        for worker in self.started:
            worker.close()

    def _make(self, lab: feedback_page.Lab, about: feedback_page.About, note: str, then: Callable[[Printed], None]) -> None:
        try:
            if not hasattr(self.local, "worker"):
                self.local.worker = _Worker(lab)
                self.started.append(self.local.worker)
            printed = self.local.worker.print(about, note)
            if not self.closed:  # else it tells of our own end
                then(printed)
        finally:
            self.room.release()


class _Worker:
    """One process; another one takes its place when it dies or is killed."""

    def __init__(self, lab: feedback_page.Lab) -> None:
        self.lab = lab
        self.process: multiprocessing.process.BaseProcess | None = None
        self.stopped = False

    def print(self, about: feedback_page.About, note: str) -> Printed:
        why = ""
        for _ in range(2):  # once may be the machine's trouble
            if self.process is None:
                self._start()
            try:
                self.line.send((about, note))
                if self.line.poll(SECONDS):
                    return self.line.recv()  # type: ignore[no-any-return]
                why = "took too long"
            except (EOFError, OSError):
                why = "memory"  # a process that dies without a word was killed for it
            self.close()
            if why == "took too long" or self.stopped:
                break
        return plainly(about, self.lab, note, why)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.lab, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        self.process = process
        if self.stopped:
            process.kill()

    def kill(self) -> None:
        """From another thread, while it may be at work: it will not begin again."""
        self.stopped = True
        if process := self.process:
            process.kill()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.line.close()
            self.process = None


def plainly(about: feedback_page.About, lab: feedback_page.Lab, note: str, why: str) -> Printed:
    """A page with the reason in place of the notebook."""
    return Printed(
        feedback_page.without_notebook(about, lab, why),
        feedback_page.formgrader_without(about.notebook, note, about.key),
        why,
    )


def made(about: feedback_page.About, lab: feedback_page.Lab, note: str) -> Printed:
    """The page of one student; with the reason in place of the notebook where that cannot be shown."""
    try:
        return Printed(feedback_page.page(about, lab), feedback_page.for_formgrader(about.notebook, lab, note, about.key))
    except MemoryError:
        return plainly(about, lab, note, "memory")
    except Exception:  # hostile input may make a library raise anything
        return plainly(about, lab, note, "form")


def _serve(line: Connection, lab: feedback_page.Lab, parent: int) -> None:
    """A worker's life."""
    end_with(parent)
    with contextlib.suppress(ValueError, OSError):  # a system may have a lower limit already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(EOFError, OSError):  # the grader is gone, and so is this worker's work
        while True:
            about, note = line.recv()
            line.send(made(about, lab, note))
