"""Grade a class: submissions in parallel, each result kept as it arrives, a cut run taken up where it stopped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
from sqlalchemy.exc import OperationalError
from tqdm.auto import tqdm

from course_utils.errors import CourseError

from ..chapters import Chapter, chapter
from ..files import allowed, output
from . import archive, box, intake, one, verdict
from .book import Book
from .sought import Sought

_WRITES = ("results", "prepared", "feedback", "autograded", "source", "gradebook.db", "nbgrader_config.py", "grades.csv")
_TRIES = 3  # processes that may die on one submission before it is given up


@dataclass
class Options:
    """How to grade; the defaults are what a class wants."""

    workers: int = 0  # 0: one for each CPU core
    dask: str = ""  # address of a scheduler
    unsafe: bool = False
    limits: dict[str, str | int] | None = None
    skip_experiments: bool = True
    warm: bool = True  # import once for all submissions of a worker
    students: Path | None = None  # a list of the class
    pattern: str = ""  # tells the student from a file's name
    certain: bool = False  # go on where the layout leaves open who is a student


def grade_class(lab: str | Chapter, submitted: Path, out: Path, options: Options | None = None) -> list[dict[str, object]]:
    """Grade every submission that is new or changed; returns the table of the whole class.

    Raises:
        CourseError: nothing can be graded; the message says why. What was finished before is kept.
    """
    options = options or Options()
    source = chapter(lab) if isinstance(lab, str) else lab
    limits = box.Limits.read(options.limits)
    allowed(out)
    if out.resolve() == submitted.resolve():
        raise CourseError(f"--out {out} is the folder that was handed in. Name another.")
    handed_in = intake.find(
        submitted, Sought.of(source), limits.submission, out=out,
        students=options.students, pattern=options.pattern, certain=options.certain,
    )  # fmt: skip
    print(handed_in.report())
    output(out, "grade", () if (out / "gradebook.db").exists() else _WRITES)
    if not options.unsafe and not options.dask:
        box.check()
    _sweep()
    prepared = verdict.prepare(source, out / "prepared")
    with Book(out, prepared) as book, _disk(out):
        work = {submission.student: submission for submission in handed_in}
        keys = {student: _job(submission, prepared, limits, options).key for student, submission in work.items()}
        book.follow_renamed(keys)
        jobs = []
        for student, submission in work.items():
            before = book.known(student)
            if before and before.key and before.key == keys[student]:
                book.follow(before, submission.about())
            else:
                jobs.append(submission)
        if len(jobs) < len(work):
            print(f"{len(work) - len(jobs)} of {len(work)} are graded already and have not changed")
        with contextlib.closing(_results(jobs, prepared, limits, options)) as results:
            for result in tqdm(results, total=len(jobs), desc="grading", unit="lab", disable=not jobs):
                book.commit(result, work[result.student].about())
        table = book.table(handed_in)
        book.write_csv(table)
        return table


def _job(submission: intake.Submission, lab: verdict.Lab, limits: box.Limits, options: Options) -> one.Job:
    """The submission as it is on disk now, with the key of these very bytes; no key if the machine cannot read it."""
    job = one.Job(
        submission.student, submission.file, submission.timestamp, b"", submission.problem, "", asdict(limits),
        options.unsafe, options.skip_experiments, options.warm,
    )  # fmt: skip
    again = submission.again
    if not submission.problem:
        try:
            job.data = submission.read()
        except OSError as error:
            job.problem, again = f"the file cannot be read now ({error.strerror or type(error).__name__})", True
        except archive.Damaged as error:
            job.problem = str(error)
    if not again:
        digest = hashlib.sha256(f"{lab.key}{limits}{options.unsafe}{job.problem}".encode())
        digest.update(job.data)
        job.key = digest.hexdigest()
    return job


def _results(
    jobs: list[intake.Submission], lab: verdict.Lab, limits: box.Limits, options: Options
) -> Generator[one.Result, None, None]:
    text = lab.dumps()

    def job(submission: intake.Submission) -> one.Job:
        return _job(submission, lab, limits, options)

    if options.dask:
        yield from _on_dask(jobs, job, text, lab, options)
        return
    local = threading.local()
    count = options.workers or os.cpu_count() or 1
    workers: list[_Worker] = []

    def work(submission: intake.Submission) -> one.Result:
        if not hasattr(local, "worker"):
            local.worker = _Worker()
            workers.append(local.worker)
        return local.worker.grade(job(submission), text, lab)  # type: ignore[no-any-return]

    threads = ThreadPoolExecutor(count)
    try:
        for future in as_completed([threads.submit(work, submission) for submission in jobs]):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """One process. When it dies, another takes its place and its submission."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def grade(self, job: one.Job, text: str, lab: verdict.Lab) -> one.Result:
        said = ""
        for _ in range(_TRIES):
            if self.pool is None:
                self.pool = ProcessPoolExecutor(
                    1, get_context("spawn"), initializer=_end_with_parent, initargs=(os.getpid(),)
                )
            try:
                return self.pool.submit(one.grade, job, text).result()
            except BrokenProcessPool:
                self.close()
                said = "the grader's process died"
            except box.BoxError:
                raise
            except Exception as error:  # a fault of the grader's own: it must not cost the class its grades
                said = f"{type(error).__name__}: {error}"
        return given_up(job, lab, said)

    def close(self) -> None:
        if self.pool is not None:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


def given_up(job: one.Job, lab: verdict.Lab, said: str) -> one.Result:
    """The result of a submission that the grader could not grade. Its key is empty: the next run tries again."""
    result = one.nothing_yet(job, lab)
    result.key = ""
    result.note = f"could not be graded, please look at it: {said}"
    result.notebook = lab.release
    return result


def _end_with_parent(parent: int) -> None:
    """A worker whose run was killed ends itself, and its box with it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_dask(jobs, job, text, lab, options) -> Iterator[one.Result]:  # type: ignore[no-untyped-def]
    """The same on a Dask cluster. Two submissions are in flight for each thread of it: files are read as they are due."""
    try:
        from distributed import Client
        from distributed import as_completed as dask_completed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise CourseError("--dask needs Dask: pip install distributed") from None
    try:
        client = Client(options.dask, timeout=20)
    except OSError as error:
        raise CourseError(f"No Dask scheduler answers at {options.dask}: {error}") from None
    with client:
        shared = client.scatter(text, broadcast=True, hash=True)
        waiting = iter(jobs)
        running: dict[object, one.Job] = {}
        done = dask_completed()

        def send() -> None:
            entry = next(waiting, None)
            if entry is not None:
                ready = job(entry)
                future = client.submit(one.grade, ready, shared, pure=False)
                running[future] = ready
                done.add(future)

        for _ in range(2 * max(1, sum(client.nthreads().values()))):
            send()
        while running:
            future = next(done)
            ready = running.pop(future)
            try:
                yield future.result()
            except box.BoxError:
                raise
            except KilledWorker:
                yield given_up(ready, lab, "the grader's process died on every worker that tried")
            except Exception as error:
                yield given_up(ready, lab, f"{type(error).__name__}: {error}")
            send()


@contextlib.contextmanager
def _disk(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, OperationalError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "full" in str(error)
        if not full:
            raise
        raise CourseError(
            f"The disk of {out} is full. Every grade that was finished is kept there. "
            "Make room, then run the same command again."
        ) from None


def _sweep() -> None:
    """Folders of boxes whose grader was killed."""
    for folder in Path("/tmp").glob("box-*"):
        match = re.match(r"box-(\d+)-", folder.name)
        if match and not psutil.pid_exists(int(match[1])) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
