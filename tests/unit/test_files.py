"""A file is there whole or as it was; a folder is emptied only if it is ours."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from course_utils.errors import CourseError
from courseware import files
from courseware.chapters import ROOT
from courseware.files import MARKER, anew, output, whole


def test_new_text_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("old", encoding="utf-8")
    with whole(path) as scratch:
        scratch.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), whole(path) as scratch:
        scratch.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("what", [output, anew])
@pytest.mark.parametrize("place", [".", "docs", "chapters/10_quantization", "/", "..", "~", "tests/new"])
def test_no_command_writes_over_the_course_or_above_it(
    place: str, what: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    before = sorted(os.listdir(ROOT)), sorted(os.listdir(ROOT / "docs"))
    with pytest.raises(CourseError, match=r"--out .* name another"):
        opened(what, Path(place).expanduser())
    assert before == (sorted(os.listdir(ROOT)), sorted(os.listdir(ROOT / "docs")))


def opened(what: Callable[..., Any], out: Path) -> None:
    made = what(out, "site")
    if what is anew:
        with made as folder:
            (folder / "index.html").write_text("new", encoding="utf-8")


@pytest.mark.parametrize("what", [output, anew])
def test_another_checkout_of_the_course_is_left_alone(what: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "courseware").mkdir()
    (tmp_path / "courseware" / "cli.py").write_text("", encoding="utf-8")
    with pytest.raises(CourseError, match="holds the course itself"):
        opened(what, tmp_path)


@pytest.mark.parametrize("what", [output, anew])
def test_a_file_and_a_broken_link_are_no_folders(what: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match="is a file"):
        opened(what, tmp_path / "file")
    with pytest.raises(CourseError, match="cannot be written"):
        opened(what, tmp_path / "file" / "below")
    (tmp_path / "link").symlink_to(ROOT / "docs")
    with pytest.raises(CourseError, match="folder of the course"):
        opened(what, tmp_path / "link")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with contextlib.suppress(CourseError):  # to refuse it is right, too
        opened(what, tmp_path / "nowhere")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_only_an_empty_folder_or_our_own_is_emptied(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    opened(anew, mine)
    assert contents(mine).keys() == {"index.html", MARKER}
    (mine / "old").mkdir()
    (mine / "old" / "page.html").write_text("old", encoding="utf-8")
    (mine / "outside").symlink_to(tmp_path)
    opened(anew, mine)
    assert contents(mine).keys() == {"index.html", MARKER} and sorted(p.name for p in tmp_path.iterdir()) == ["mine"]
    (mine / MARKER).unlink()
    for folder, what in ((mine, "no marker"), (tmp_path, "another's files")):
        with pytest.raises(CourseError, match="did not write, and it would have to empty"):
            opened(anew, folder)
        assert (mine / "index.html").exists(), what


def test_another_command_s_folder_is_not_emptied(tmp_path: Path) -> None:
    out = output(tmp_path / "graded", "grade")
    (out / "gradebook.db").write_text("a term's work", encoding="utf-8")
    with pytest.raises(CourseError, match="did not write"):
        opened(anew, out)
    assert (out / "gradebook.db").read_text(encoding="utf-8") == "a term's work"


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    opened(anew, tmp_path / "site")
    before = contents(tmp_path / "site")
    with pytest.raises(RuntimeError), anew(tmp_path / "site", "site") as folder:
        (folder / "index.html").write_text("half", encoding="utf-8")
        raise RuntimeError
    assert contents(tmp_path / "site") == before and [p.name for p in tmp_path.iterdir()] == ["site"]


def test_what_a_command_writes_beside_others_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    output(tmp_path, "slides", ["10.html"])
    (tmp_path / "10.html").write_text("slides", encoding="utf-8")
    output(tmp_path, "slides", ["10.html"])
    (tmp_path / MARKER).unlink()
    with pytest.raises(CourseError, match=r"holds 10\.html, which `course slides` did not write"):
        output(tmp_path, "slides", ["10.html"])
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_all_folders_of_the_course_are_known() -> None:
    tracked = subprocess.run(
        ["git", "ls-tree", "-d", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert {name for name in tracked.stdout.split() if name[0] != "."} <= files._SOURCES


def test_the_site_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from courseware import site

    def build(source: Path, out: Path, *_: Any) -> list[str]:
        for folder in (source, out, out.parent / "jupyter_execute"):
            folder.mkdir()
        (out / "index.html").write_text("page", encoding="utf-8")
        return ["a warning"]

    monkeypatch.setattr(site, "_build", build)
    assert site.build(tmp_path / "web" / "site", []) == ["a warning"]
    assert contents(tmp_path).keys() == {"web/site/index.html", f"web/site/{MARKER}"}
    assert [path.name for path in (tmp_path / "web").iterdir()] == ["site"]


@pytest.mark.parametrize(
    "command",
    [
        ["site", "--out"], ["slides", "10", "--out"], ["grade-demo", "10", "--out"], ["grade", "10", "tests", "--out"],
        ["release", "10", "--repo", "a/b", "--out"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
@pytest.mark.parametrize("place", [".", "docs", "/"])
def test_every_command_refuses_in_one_message(
    command: list[str], place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from courseware import cli

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cli, "_fetch", lambda **_: "")
    monkeypatch.setattr("courseware.grading.intake.find", lambda *_, **__: pytest.fail("it was read"))
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8").stdout
    assert cli.main([*command, place]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "--out" in line]
    assert said.startswith(f"course: --out {place} ")
    assert (
        subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8").stdout
        == before
    )
