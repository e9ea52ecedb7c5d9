"""How `course test` spreads tests over processes, and its report of what each notebook cost."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

# A process of tests gives memory back when it holds so much more than before: in 8 GB two such and a kernel each must fit.
MUCH_GB = 0.3
_kept_gb = 0.3  # what its imports take
# Far above what a notebook may take (docs/measurements.md): a machine may be slow or busy. More than this hangs, or leaks.
HARD_SECONDS, HARD_GB = 1200, 8.0


# The mark of a test that asks on another system or in another language what one has asked, or makes again what is shipped
SECOND = "second_look"
# It is in no group with a first look. A scheduler of pytest-xdist sees names only; its own `--dist loadgroup` would write
# each test's group into its name, those of a notebook's cells too.
AGAIN = re.compile(r"_again(\[|\]?$)")
ALONE = (
    "tests/colab/test_colab.py::test_it_holds_colab_s_versions",
    "tests/colab/test_colab.py::test_helper_works_with_colab_s_versions",
    "tests/colab/test_colab.py::test_notebook_runs_in_colab",
    "tests/colab/test_other_models.py::test_lab_runs_with",
    "tests/grading/test_real_labs.py::test_solution_and_forgery",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--until", type=float, help="seconds since 1970, from when on second looks are left out")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Second looks come last, and of these what runs beside other packages or another GPU: what is left out where time is
    short is what has been seen once."""

    def place(item: pytest.Item) -> int:
        if not item.get_closest_marker(SECOND):
            return 0
        if not item.nodeid.startswith(ALONE) and not AGAIN.search(item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} is a {SECOND}: let its name end in _again")
        return 2 if item.nodeid.startswith("tests/colab") else 1

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What the tests' imports made stays; a collector that walks through it again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_runtest_setup(item: pytest.Item) -> None:
    until = item.config.getoption("until")
    if until and time.time() > until and item.get_closest_marker(SECOND):
        pytest.skip("a second look, for which there was no time")


def group(nodeid: str) -> str:
    """What one process must run in order: a notebook's cells, a chapter's checks, a test that takes minutes, else the tests
    of one file."""
    file, _, name = nodeid.partition("::")
    if nodeid.startswith(ALONE):
        return nodeid
    if AGAIN.search(nodeid):
        return f"{file} again"
    chapter = re.search(r"\[(?:\w+/)?(\d\d_[a-z_]+)", name) if file.startswith("tests/notebooks/") else None
    return f"chapter {chapter[1]}" if chapter else file


@pytest.hookimpl(optionalhook=True)  # Colab's environment has no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)


def is_cell(item: pytest.Item) -> bool:
    return item.path.suffix == ".ipynb"


def peak_gb(item: Any) -> float:
    """The most memory that the kernel of a notebook's cell has had so far; 0 where the system does not tell."""
    kernel = item.parent.kernel
    pid = getattr(kernel.km.provisioner, "pid", None) if kernel else None
    return status_gb(pid, "VmHWM") if pid else 0.0


def status_gb(process: int | str, field: str) -> float:
    """A field of what Linux says of a process; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    match = re.search(rf"{field}:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    return int(match[1]) / 1e6 if match else 0.0


def pytest_runtest_teardown(item: pytest.Item) -> None:
    if is_cell(item):
        peak = peak_gb(item)
        item.user_properties.append(("peak_gb", peak))
        assert peak < HARD_GB, f"{item.path.name} has taken {peak:.1f} GB"


def pytest_runtest_logfinish() -> None:
    """Models that a test has loaded are freed, and glibc, which keeps freed memory for later, gives it back."""
    global _kept_gb
    if status_gb("self", "RssAnon") > _kept_gb + MUCH_GB:  # memory that is no file's
        gc.collect()
        with contextlib.suppress(AttributeError):  # another libc
            ctypes.CDLL(None).malloc_trim(0)
        _kept_gb = status_gb("self", "RssAnon")


def costs(reporter: Any) -> dict[str, tuple[float, float]]:
    """notebook → (seconds, GB) of what was run of it."""
    seconds: dict[str, float] = defaultdict(float)
    peak: dict[str, float] = defaultdict(float)
    for reports in reporter.stats.values():
        for report in reports:
            name = getattr(report, "nodeid", "").split("::")[0]
            if name.endswith(".ipynb") and hasattr(report, "duration"):
                seconds[name] += report.duration
                peak[name] = max(peak[name], *(v for k, v in report.user_properties if k == "peak_gb"), 0.0)
    return {name: (seconds[name], peak[name]) for name in sorted(seconds)}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each notebook: a report; only HARD_SECONDS and HARD_GB fail."""
    if rows := costs(terminalreporter):
        terminalreporter.section("what each notebook cost")
        for name, (seconds, peak) in rows.items():
            terminalreporter.write_line(f"{name:<55} {seconds:6.0f} s {peak:6.1f} GB")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and (slow := [name for name, (seconds, _) in costs(reporter).items() if seconds > HARD_SECONDS]):
        reporter.write_line(f"\nover {HARD_SECONDS} s: {', '.join(slow)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
