"""Kernels that start with the imports done: in the same box, with the same grades, and cold ones where that cannot be."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_class import QUICK, TINY, needs_box

from courseware.grading import autograde, box, verdict, zygote
from courseware.grading.session import Session

pytestmark = needs_box
LIMITS = box.Limits.read({**QUICK, "memory": "2 GB"})
LOOK = """
import os, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
open_files = [os.readlink(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}")]
print({
    "user": os.getresuid() + os.getresgid(), "groups": os.getgroups(),
    "privileges": [status[k].strip() for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")],
    "limits": [resource.getrlimit(getattr(resource, n)) for n in
               ("RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_CORE")],
    "folders": [sorted(os.listdir(d)) for d in ("/", "/home", "/proc/net", "/dev")],
    "where": (os.getcwd(), os.uname().nodename, open("/proc/net/dev").read().count(":"), os.umask(0o022)),
    "path": sys.path,
    "environment": {k: v for k, v in os.environ.items() if k not in ("PWD", "SHLVL", "_")},
    "processes": len([p for p in os.listdir("/proc") if p.isdigit()]) <= 4,
    "files": [f for f in open_files if f.startswith("/") and not f.startswith(("/dev", "/proc", "/tmp", "/home"))],
})
"""


@pytest.fixture
def fresh() -> Iterator[None]:
    """No zygote from before, and none left after."""
    yield
    for found in list(zygote._zygotes.values()):
        if isinstance(found, zygote.Zygote):
            found.close()
    zygote._zygotes.clear()


def ask(modules: list[str], code: str) -> str:
    with Session(LIMITS, modules=modules) as session:
        run = session.run(code)
        assert not run.failed, run.error
        return "".join(o.text for o in run.outputs)


def test_same_box_as_a_cold_kernel(fresh: None) -> None:
    cold, hot = ast.literal_eval(ask([], LOOK)), ast.literal_eval(ask(["numpy"], LOOK))
    assert isinstance(zygote._zygotes["numpy",], zygote.Zygote)
    for name, value in cold.items():
        assert hot[name] == value, name
    assert hot["privileges"] == ["0" * 16] * 5 + ["1"]


def test_every_namespace_is_the_box_s(fresh: None) -> None:
    names = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    inside = ask(["numpy"], f"import os\nprint(*(os.readlink(f'/proc/self/ns/{{n}}') for n in {names}))").split()
    outside = [os.readlink(f"/proc/self/ns/{n}") for n in names]
    assert not set(inside) & set(outside)


def test_imports_are_there_and_nothing_of_the_grader_is(fresh: None) -> None:
    loaded = "import sys\nprint('email.mime.audio' in sys.modules, [m for m in sys.modules if 'courseware' in m])"
    assert ask([], loaded) == "False []\n"
    assert ask(["email.mime.audio"], loaded) == "True []\n"


def test_kernels_share_nothing(fresh: None) -> None:
    look = "import email, os\nprint(hasattr(email, 'mark'), os.path.exists('left'))"
    assert [ask(["email"], f"{look}\nemail.mark = open('left', 'w')") for _ in range(2)] == ["False False\n"] * 2


def test_cold_kernels_when_an_import_starts_threads(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "_QUIET", {})
    assert ask(["pyarrow"], "import sys\nprint('pyarrow' in sys.modules)") == "False\n"
    failed = zygote._zygotes["pyarrow",]
    assert isinstance(failed, zygote.Unavailable) and "threads" in str(failed)


@pytest.mark.filterwarnings("ignore:no warm start")
def test_a_zygote_that_dies_costs_no_grade(fresh: None, right: dict[str, Any], tmp_path: Path) -> None:
    lab = verdict.prepare(TINY, tmp_path)
    job = autograde.Job("ada", "ada.ipynb", "", json.dumps(right).encode(), "", "", vars(LIMITS))
    for _ in range(2):
        result = autograde.grade(job, lab.dumps())
        assert sum(result.scores.values()) == 6, result
        found = zygote._zygotes[tuple(lab.modules)]
        if isinstance(found, zygote.Zygote):
            os.kill(found.process.pid, 9)
    assert isinstance(found, zygote.Unavailable)
