"""`course release`: what students get holds nothing that they should not have, and works without the rest."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import nbformat
import pytest

from courseware import release
from courseware.chapters import ROOT, Chapter, ChapterError, all_chapters, cells_of, chapter, read, repository
from courseware.cli import main

REPO = "a-university/llm-course"


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "llm-course"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert main(["release", "--out", str(folder), "--repo", REPO]) == 0
    return folder


def text_of(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def secrets(part: Chapter) -> list[str]:
    """Lines that stand only in solutions, hidden tests and mutants of a chapter."""
    lab = read(part.lab_source)
    solutions = [re.findall(r"### BEGIN SOLUTION\n(.*?)### END", c.source, re.DOTALL) for c in cells_of(lab, "exercise")]
    hidden = []
    for cell in cells_of(lab, "hidden"):
        for node in ast.parse(cell.source).body:
            if not (isinstance(node, ast.FunctionDef) and "visible" in node.name):
                hidden.append(ast.get_source_segment(cell.source, node) or "")
    wrong = [cell.source for cell in cells_of(read(part.folder / "mutants.py"), "mutant")]
    lines = [
        line.strip() for text in (*(s for found in solutions for s in found), *hidden, *wrong) for line in text.splitlines()
    ]
    public = {line.strip() for cell in nbformat.read(part.lab, as_version=4).cells for line in cell.source.splitlines()}
    public |= {line.strip() for cell in nbformat.read(part.lecture, as_version=4).cells for line in cell.source.splitlines()}
    helper = {line.strip() for path in (ROOT / "course_utils").glob("*.py") for line in path.read_text().splitlines()}
    return [line for line in dict.fromkeys(lines) if len(line) > 30 and line not in public | helper]


@pytest.mark.parametrize("part", all_chapters(), ids=lambda part: part.name)
def test_no_solution_no_hidden_test(students: Path, part: Chapter) -> None:
    found = secrets(part)
    assert len(found) > 20, "the test looks for nothing"
    given = nbformat.read(students / "labs" / f"{part.name}.ipynb", as_version=4)
    lines = {line.strip() for cell in given.cells for line in cell.source.splitlines()}
    assert [line for line in found if line in lines] == []


def test_nothing_of_ours(students: Path) -> None:
    texts = text_of(students)
    top = {name.split("/")[0] for name in texts}
    assert top == {"lectures", "labs", "course_utils", *release._AS_IT_IS, "pyproject.toml", "README.md", "start.py"}
    for name, text in texts.items():
        for word in ("courseware", "BEGIN SOLUTION", "def probe(", "mutant:"):
            assert word not in text, f"{word} stands in {name}"
    ours = repository().removeprefix("https://github.com/")
    assert [name for name, text in texts.items() if ours in text] == []
    assert (students / ".git" / "HEAD").exists(), "a release must leave the checkout's history alone"


def test_every_link_and_badge_points_to_the_students_repository(students: Path) -> None:
    readme = (students / "README.md").read_text()
    for part in all_chapters():
        for folder in ("lectures", "labs"):
            assert (students / folder / f"{part.name}.ipynb").exists()
            assert f"colab.research.google.com/github/{REPO}/blob/main/{folder}/{part.name}.ipynb" in readme
            cells = {
                cell.id: cell.source for cell in nbformat.read(students / folder / f"{part.name}.ipynb", as_version=4).cells
            }
            assert f"git+https://github.com/{REPO}" in cells["colab-setup"] and REPO in cells["colab-link"]


def test_the_helper_package_works_alone(students: Path) -> None:
    project = tomllib.loads((students / "pyproject.toml").read_text())
    assert project["project"]["urls"]["Repository"] == f"https://github.com/{REPO}"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["course_utils"]
    code = "import course_utils; from course_utils import tables; print(course_utils.__file__, len(tables.names()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=students,
        env={**os.environ, "PYTHONPATH": str(students)},
    )
    assert done.returncode == 0 and str(students) in done.stdout, done.stderr


def test_start_finds_its_own_folder(students: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import start; print(start.ROOT, start.locked('torch'))"],
        capture_output=True, text=True, cwd=students,
    )  # fmt: skip
    assert done.stdout.split() == [str(students), "torch==2.13.0"], done.stderr


def test_a_later_release_of_fewer_chapters_takes_the_others_away(tmp_path: Path) -> None:
    first, second = all_chapters()[:2]
    release.release(tmp_path, REPO, [first, second])
    (tmp_path / "notes.md").write_text("the instructor's own")
    written = release.release(tmp_path, REPO, [first])
    assert f"labs/{first.name}.ipynb" in written
    assert [path.name for path in (tmp_path / "labs").iterdir()] == [f"{first.name}.ipynb"]
    assert (tmp_path / "notes.md").exists()


@pytest.mark.parametrize("repo", ["llm-course", "https://github.com/a/b", "a/b/c", ""])
def test_a_repo_that_is_none(tmp_path: Path, repo: str) -> None:
    with pytest.raises(ChapterError, match="OWNER/NAME"):
        release.release(tmp_path / "out", repo, [])
    assert not (tmp_path / "out").exists()


def test_not_over_the_course_itself() -> None:
    with pytest.raises(ChapterError, match="holds the course itself"):
        release.release(ROOT, REPO, [])


def test_a_notebook_that_is_not_built_is_not_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = chapter("10")
    monkeypatch.setattr("courseware.build.stale", lambda *_: "differs from its source (first at absmax)")
    with pytest.raises(ChapterError, match=r"10_quantization.*differs from its source.*make notebooks"):
        release.release(tmp_path / "out", REPO, [part])
    assert not (tmp_path / "out").exists()


def test_the_grader_s_archive(tmp_path: Path) -> None:
    packed = tmp_path / "grader.tar.gz"
    assert release.autograder(packed) == packed.stat().st_size
    with tarfile.open(packed) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path, filter="data")
    assert not [name for name in names if "__pycache__" in name or name.endswith("solution.ipynb")]
    unpacked = tmp_path / "llm-course-autograder"
    assert list(cells_of(read(unpacked / "chapters" / "10_quantization" / "lab.py"), "hidden"))
    assert (unpacked / "courseware" / "grading" / "limits.toml").exists()
    guide = (unpacked / "README.md").read_text(encoding="utf-8")
    assert "make setup" in guide and ".venv/bin/course grade" in guide and "](" not in guide  # no link to what is not there
