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

from course_utils.errors import CourseError
from courseware import cli, files, release
from courseware.chapters import ROOT, Chapter, ChapterError, all_chapters, cells_of, chapter, read, repository
from courseware.cli import main

REPO = "a-university/llm-course"


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "llm-course"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    assert main(["release", "--out", str(folder), "--repo", REPO]) == 0
    return folder


def text_of(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes().decode(errors="replace") for path in paths}


def test_checkpoints_are_given_byte_for_byte(students: Path) -> None:
    found = sorted((ROOT / "course_utils").rglob("*.safetensors"))
    assert found
    for path in found:
        assert (students / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


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
    helper = {
        line.strip()
        for path in (ROOT / "course_utils").glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    return [line for line in dict.fromkeys(lines) if len(line) > 30 and line not in public | helper]


@pytest.mark.parametrize("part", all_chapters(), ids=lambda part: part.name)
def test_no_solution_no_hidden_test(students: Path, part: Chapter) -> None:
    found = secrets(part)
    assert len(found) > 20, f"{len(found)} lines of solutions, hidden tests and wrong solutions: is that all?"
    given = nbformat.read(students / "labs" / f"{part.name}.ipynb", as_version=4)
    lines = {line.strip() for cell in given.cells for line in cell.source.splitlines()}
    assert [line for line in found if line in lines] == []


def test_nothing_of_ours(students: Path) -> None:
    texts = text_of(students)
    top = {name.split("/")[0] for name in texts}
    assert top == {"lectures", "labs", "course_utils", *release._AS_IT_IS, release._MARK, "pyproject.toml", "README.md"}
    for name, text in texts.items():
        for word in ("courseware", "BEGIN SOLUTION", "def probe(", "mutant:"):
            assert word not in text, f"{word} stands in {name}"
    ours = repository().removeprefix("https://github.com/")
    assert [name for name, text in texts.items() if ours in text] == []
    assert (students / ".git" / "HEAD").exists(), "a release must leave the checkout's history alone"


def test_every_link_and_badge_points_to_the_students_repository(students: Path) -> None:
    readme = (students / "README.md").read_text(encoding="utf-8")
    for part in all_chapters():
        for folder in ("lectures", "labs"):
            assert (students / folder / f"{part.name}.ipynb").exists()
            assert f"colab.research.google.com/github/{REPO}/blob/main/{folder}/{part.name}.ipynb" in readme
            cells = {
                cell.id: cell.source for cell in nbformat.read(students / folder / f"{part.name}.ipynb", as_version=4).cells
            }
            assert f"git+https://github.com/{REPO}" in cells["colab-setup"] and REPO in cells["colab-link"]


def test_the_helper_package_works_alone(students: Path) -> None:
    project = tomllib.loads((students / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["urls"]["Repository"] == f"https://github.com/{REPO}"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["course_utils"]
    code = "import course_utils; from course_utils import tables; print(course_utils.__file__, len(tables.names()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=students,
        env={**os.environ, "PYTHONPATH": str(students)},
        encoding="utf-8",
    )
    assert done.returncode == 0 and str(students) in done.stdout, done.stderr


def test_start_finds_its_own_folder(students: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import start; print(start.ROOT, start.locked('torch'))"],
        capture_output=True, text=True, cwd=students,
        encoding="utf-8",
    )  # fmt: skip
    assert done.stdout.split() == [str(students), *cli.LOCK_PINS], done.stderr


def test_a_later_release_of_fewer_chapters_takes_the_others_away(tmp_path: Path) -> None:
    first, second = all_chapters()[:2]
    release.release(tmp_path, REPO, [first, second])
    own = [tmp_path / "notes.md", tmp_path / "labs" / "hints.md", tmp_path / "lectures" / "guest" / "talk.pdf"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("the instructor's own", encoding="utf-8")
    written = release.release(tmp_path, REPO, [first])
    assert f"labs/{first.name}.ipynb" in written
    assert sorted(path.name for path in (tmp_path / "labs").iterdir()) == [f"{first.name}.ipynb", "hints.md"]
    assert all(path.exists() for path in own)


def test_what_git_does_not_know_is_not_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = chapter("10")
    known = files.tracked(ROOT, ".")
    secret, cache = ROOT / "course_utils" / "grades.csv", ROOT / "course_utils" / ".DS_Store"
    assert secret not in known and cache not in known
    monkeypatch.setattr(release, "tracked", lambda root, *names: [path for path in known if path != part.lab])
    monkeypatch.setattr("courseware.build.stale", lambda *_: None)
    with pytest.raises(ChapterError, match=r"labs/10_quantization\.ipynb is not in git: `git add` it"):
        release.release(tmp_path / "out", REPO, [part])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("git", [True, False])
def test_tracked_files(git: bool, tmp_path: Path) -> None:
    for name in ("labs/一.ipynb", "labs/.DS_Store", "labs/__pycache__/x.pyc", "labs/notes.txt", "other/b.txt", "start.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    if git:
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "labs/一.ipynb", "other", "start.py"], cwd=tmp_path, check=True)
        (tmp_path / "other" / "b.txt").unlink()
    found = [path.relative_to(tmp_path).as_posix() for path in files.tracked(tmp_path, "labs", "start.py")]
    assert found == (["labs/一.ipynb", "start.py"] if git else ["labs/notes.txt", "labs/一.ipynb", "start.py"])


@pytest.mark.parametrize("repo", ["llm-course", "https://github.com/a/b", "a/b/c", ""])
def test_a_repo_that_is_none(tmp_path: Path, repo: str) -> None:
    with pytest.raises(ChapterError, match="OWNER/NAME"):
        release.release(tmp_path / "out", repo, [])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", "..", "labs", "docs"])
def test_not_over_the_course_itself(out: str) -> None:
    with pytest.raises(CourseError, match="the course itself"):
        release.release(ROOT / out, REPO, [])


def test_a_notebook_that_is_not_built_is_not_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = chapter("10")
    monkeypatch.setattr("courseware.build.stale", lambda *_: "differs from its source (first at absmax)")
    with pytest.raises(ChapterError, match=r"10_quantization.*differs from its source.*course notebooks"):
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
    assert (unpacked / "locale" / "zh_CN" / "10_quantization.po").exists(), "Chinese labs are known again by it"


def test_the_grader_s_archive_in_chinese(tmp_path: Path) -> None:
    release.autograder(tmp_path / "grader.tar.gz", "zh_CN")
    with tarfile.open(tmp_path / "grader.tar.gz") as archive:
        guide = archive.extractfile("llm-course-autograder/README.md")
        assert guide
        text = guide.read().decode()
    assert text.startswith("# 评实验用的程序") and ".venv/bin/course grade" in text
