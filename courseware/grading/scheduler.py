"""Grade a class: submissions in parallel, each result kept as it arrives, a cut run taken up where it stopped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.exc import SQLAlchemyError
from tqdm.auto import tqdm

from course_utils.errors import CourseError

from ..chapters import Chapter, chapter
from ..files import allowed, output
from . import archive, autograde, box, canary, gradebook, intake, lms_sheet, verdict
from .execution import Trouble
from .lab_match import Sought
from .workers import begin

_WRITES = (
    "results", "prepared", "feedback", "autograded", "source", "gradebook.db", "nbgrader_config.py", "grades.csv",
    "grades-nbgrader.csv", "overview.html",
)  # fmt: skip
_CONNECT = 20  # seconds that Dask's scheduler may take to answer
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
    lang: str = "en"  # of the feedback pages
    into: Path | None = None  # a platform's sheet, to write grades into a copy of it
    column: str = ""  # of that sheet
    canary: bool = True  # grade the solution first


def grade_class(lab: str | Chapter, submitted: Path, out: Path, options: Options | None = None) -> list[dict[str, object]]:
    """Grade every submission that is new or changed; returns the table of the whole class.

    Raises:
        CourseError: nothing can be graded; the message says why. What was finished before is kept.
    """
    options = options or Options()
    source = chapter(lab) if isinstance(lab, str) else lab
    limits = box.Limits.read(options.limits)
    if options.into:
        lms_sheet.readable(options.into)
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
    with _one_message(out), contextlib.ExitStack() as stack:
        stack.enter_context(gradebook.alone(out))
        prepared = verdict.prepare(source, out / "prepared")
        ours = stack.enter_context(gradebook.Book(out, prepared, options.lang, options.workers))
        work = {submission.student: submission for submission in handed_in}
        now = {student: _key(submission, prepared, limits, options) for student, submission in work.items()}
        ours.follow_renamed({student: key for student, (key, _) in now.items()})
        todo: list[intake.Submission] = []
        for student, submission in work.items():
            before, (key, trouble) = ours.known(student), now[student]
            if before and before.key and trouble:
                print(f"{student}: {trouble}, so the grade of before stands")
            if before and before.key and (trouble or before.key == key):
                ours.follow(before, submission.about())
            else:
                todo.append(submission)
        if len(todo) < len(work):
            print(f"{len(work) - len(todo)} of {len(work)} are graded already and have not changed")
        first = canary.job(source, limits, options.unsafe, options.warm) if options.canary and todo else None
        for last in (False, True):  # what the machine did not let be graded is tried once more, after all others
            results = _results(todo, prepared, limits, options, None if last else first)
            with contextlib.closing(results):
                if first and not last:
                    canary.judge(next(results), prepared)
                todo = _round(todo, last, ours, results)
        if todo:
            names = ", ".join(submission.student for submission in todo[:5]) + (" …" if len(todo) > 5 else "")
            print(f"{len(todo)} could not be graded, through no fault of theirs ({names}): see why, and run the same again")
        table = ours.table(handed_in)
        ours.write_tables(table, handed_in)
        if options.into:
            filled = lms_sheet.fill(options.into, ours.graded, source.name, ours.pages.title, out, options.column)
            print("\n".join(filled.report))
        return table


def _round(
    todo: list[intake.Submission], last: bool, ours: gradebook.Book, results: Iterator[autograde.Result]
) -> list[intake.Submission]:
    """Keep what comes of these; returns those that have no grade."""
    failed = []
    by_name = {submission.student: submission for submission in todo}
    for result in tqdm(results, total=len(todo), desc="grading", unit="lab", disable=not todo):
        if not result.key:
            failed.append(by_name[result.student])
        if result.key or last:
            ours.commit(result, by_name[result.student].about())
    return failed


def _key(submission: intake.Submission, lab: verdict.Lab, limits: box.Limits, options: Options) -> tuple[str, str]:
    """The key of a submission as it is now, and why it cannot be read."""
    job = _job(submission, lab, limits, options)
    return job.key, job.trouble


def _job(submission: intake.Submission, lab: verdict.Lab, limits: box.Limits, options: Options) -> autograde.Job:
    """Read a submission. The key is of the very bytes that will be graded; none when they cannot be read just now."""
    data, problem, trouble = b"", submission.problem, ""
    if submission.again:
        problem, trouble = "", problem
    elif not problem:
        try:
            data = submission.read()
        except archive.Damaged as error:
            problem = str(error)
        except (OSError, MemoryError) as error:
            trouble = f"the file cannot be read just now ({type(error).__name__})"
    about = f"{lab.key}{limits}{options.unsafe}{options.skip_experiments}{problem}"
    key = hashlib.sha256(about.encode("utf-8", "replace") + data).hexdigest()
    return autograde.Job(
        submission.student, submission.file, submission.timestamp, data, problem, "" if trouble else key, asdict(limits),
        options.unsafe, options.skip_experiments, options.warm, trouble,
    )  # fmt: skip


def _results(
    todo: list[intake.Submission], lab: verdict.Lab, limits: box.Limits, options: Options, first: autograde.Job | None = None
) -> Generator[autograde.Result, None, None]:
    """Grade all at once, and `first` before any of them."""
    text = lab.dumps()

    def job(submission: intake.Submission) -> autograde.Job:
        return _job(submission, lab, limits, options)

    if options.dask:
        yield from _on_dask(todo, job, text, lab, options, first)
        return
    local = threading.local()
    count = options.workers or os.cpu_count() or 1
    workers: list[_Worker] = []

    def work(ready: Callable[[], autograde.Job]) -> autograde.Result:
        if not hasattr(local, "worker"):
            local.worker = _Worker()
            workers.append(local.worker)
        return local.worker.grade(ready(), text, lab)  # type: ignore[no-any-return]

    threads = ThreadPoolExecutor(count)
    try:
        if first:
            yield threads.submit(work, lambda: first).result()
        for future in as_completed([threads.submit(work, partial(job, submission)) for submission in todo]):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """One process. When it dies, another takes its place and its submission."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def grade(self, job: autograde.Job, text: str, lab: verdict.Lab) -> autograde.Result:
        reason = ""
        for _ in range(_TRIES):
            if self.pool is None:
                self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=begin, initargs=(os.getpid(),))
            try:
                return self.pool.submit(autograde.grade, job, text).result()
            except BrokenProcessPool:
                self.close()
                reason = "the grader's process died"
            except Trouble as trouble:
                reason = str(trouble)
                break
            except Exception as error:  # a fault of the grader's own: it must not cost the class its grades
                reason = f"{type(error).__name__}: {error}"
        return given_up(job, lab, reason)

    def close(self) -> None:
        if self.pool is not None:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


def given_up(job: autograde.Job, lab: verdict.Lab, reason: str) -> autograde.Result:
    """The result of a submission that the grader could not grade. Its key is empty: the next run tries again."""
    result = autograde.nothing_yet(job, lab)
    result.key = ""
    result.note = f"could not be graded, please look at it: {reason.strip().partition(chr(10))[0]}"
    result.notebook = lab.release
    return result


def _on_dask(todo, job, text, lab, options, first) -> Iterator[autograde.Result]:  # type: ignore[no-untyped-def]
    """The same on a Dask cluster. Two submissions are in flight for each thread of it: files are read as they are due."""
    try:
        from distributed import Client
        from distributed import as_completed as dask_completed
    except ImportError:
        raise CourseError("--dask needs Dask: pip install distributed") from None
    try:
        client = Client(options.dask, timeout=_CONNECT)
    except OSError as error:
        raise CourseError(f"No Dask scheduler answers at {options.dask}: {error}") from None
    with client:
        # The lab goes with each submission (a megabyte at most): scattered, it would be lost with the workers that have it,
        # and Dask would wait for ever.
        if first:
            yield _of_dask(client.submit(autograde.grade, first, text, pure=False), first, lab)
        waiting = iter(todo)
        running: dict[object, autograde.Job] = {}
        done = dask_completed()

        def send() -> None:
            entry = next(waiting, None)
            if entry is not None:
                ready = job(entry)
                future = client.submit(autograde.grade, ready, text, pure=False)
                running[future] = ready
                done.add(future)

        for _ in range(2 * max(1, sum(client.nthreads().values()))):
            send()
        while running:
            future = next(done)
            yield _of_dask(future, running.pop(future), lab)
            send()


def _of_dask(future: Any, ready: autograde.Job, lab: verdict.Lab) -> autograde.Result:
    """The result of a future, when it has one."""
    from distributed.scheduler import KilledWorker

    try:
        return future.result()  # type: ignore[no-any-return]
    except box.BoxError:
        raise
    except Trouble as trouble:
        return given_up(ready, lab, str(trouble))
    except KilledWorker:
        return given_up(ready, lab, "the grader's process died on every worker that tried")
    except Exception as error:
        return given_up(ready, lab, f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _one_message(out: Path) -> Iterator[None]:
    """What a disk or a database says in many lines, in one that says what to do."""
    kept = "Every grade that was finished is kept there."
    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        number, message = getattr(error, "errno", None), str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in message:
            raise CourseError(f"The disk of {out} is full. {kept} Make room, then run the same command again.") from None
        if number in (errno.EROFS, errno.EACCES, errno.EPERM) or "readonly" in message or "unable to open" in message:
            raise CourseError(f"{out} cannot be written: {message.splitlines()[0]}. Give another --out.") from None
        if "locked" in message:
            raise CourseError(
                f"{out}/gradebook.db is locked by another program, perhaps formgrader. {kept} Close that, then run again."
            ) from None
        if isinstance(error, SQLAlchemyError):
            raise CourseError(
                f"{out}/gradebook.db is damaged: {message.splitlines()[0][:200]}. Put a backup in its place, or move it "
                "away: then it is made anew from the results, without grades given by hand."
            ) from None
        if number == errno.ENAMETOOLONG:
            raise CourseError(f"The path of --out is too long for this system: {message[:200]} …") from None
        raise


def _sweep() -> None:
    """Folders of boxes whose grader was killed."""
    for folder in Path("/tmp").glob("box-*"):
        match = re.match(r"box-(\d+)-", folder.name)
        if match and not psutil.pid_exists(int(match[1])) and not folder.is_symlink():
            box.remove(folder)
