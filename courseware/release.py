"""What students get: lectures, labs, the helper package and an environment. No solution, no hidden test, nothing of ours.

And, apart from it, what a grading machine gets.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import nbformat

from . import build
from .chapters import ROOT, Chapter, ChapterError, repository
from .files import allowed, whole
from .slides import title

_TEMPLATES = Path(__file__).with_name("templates") / "release"
_AS_IT_IS = ("LICENSE", "LICENSE-TEXT", "CITATION.cff", "environment.yml", "requirements.lock")
_GRADER = ("chapters", "labs", "course_utils", "courseware", "Makefile", "pyproject.toml", "requirements.lock")
_ARCHIVE = "llm-course-autograder"  # the folder in it
_PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "course_utils"
version = "{version}"
description = "{description}"
requires-python = "{python}"
license = "Apache-2.0"
dependencies = [
{dependencies}
]

[project.urls]
Repository = "{repository}"

[tool.hatch.build.targets.wheel]
packages = ["course_utils"]
"""


def release(out: Path, repo: str, chapters: Iterable[Chapter]) -> list[str]:
    """Write the students' folder; return the paths of its files, relative to it.

    What an earlier release wrote there is replaced; other files (a `.git`, an instructor's own pages) stay.

    Raises:
        ChapterError: `repo` is not OWNER/NAME, a notebook is not what its source says, or the folder is this course's own.
        CourseError: the folder is one that no command writes to.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ChapterError(f"--repo {repo}: write OWNER/NAME, the repository on GitHub that students will see.")
    if out.resolve() == ROOT or out.resolve() in ROOT.parents:
        raise ChapterError(f"--out {out} holds the course itself; name another folder.")
    allowed(out)
    folders = ("lectures", "labs", "course_utils")
    replaced = () if _is_release(out) else folders
    if taken := [name for name in replaced if (out / name).exists()]:
        raise ChapterError(
            f"--out {out} holds a folder {taken[0]} that no release wrote, and it would be replaced. Name another folder."
        )
    chapters = list(chapters)
    if outdated := build.all_stale(chapters):
        raise ChapterError(f"{outdated[0]}: run `make notebooks`, look at it, then release.")
    files = {name: (ROOT / name).read_text(encoding="utf-8") for name in _AS_IT_IS}
    files |= {"pyproject.toml": _project(), "README.md": _readme(chapters)}
    files["start.py"] = (ROOT / "courseware" / "bootstrap.py").read_text(encoding="utf-8")
    for part in chapters:
        for path in (part.lecture, part.lab):
            if path.exists():
                files[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "course_utils").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    ours = repository().removeprefix("https://github.com/")
    for folder in folders:
        shutil.rmtree(out / folder, ignore_errors=True)
    for name, text in files.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(ours, repo), encoding="utf-8")
    return sorted(files)


def _is_release(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return project.is_file() and not (folder / "chapters").exists() and 'name = "course_utils"' in project.read_text("utf-8")


def _project() -> str:
    """The helper package's own metadata, without what builds and grades the course."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return _PROJECT.format(
        version=project["version"],
        description=project["description"],
        python=project["requires-python"],
        dependencies="\n".join(f'    "{line}",' for line in project["dependencies"]),
        repository=repository(),
    )


def _readme(chapters: list[Chapter]) -> str:
    rows = []
    for part in chapters:
        name = title(nbformat.read(part.lab, as_version=4)).removeprefix("Lab ")
        lecture = _links(part, "lectures") if part.lecture.exists() else ""
        rows.append(f"| {name} | {lecture} | {_links(part, 'labs')} |")
    return (_TEMPLATES / "README.md").read_text(encoding="utf-8").replace("{chapters}", "\n".join(rows))


def _links(part: Chapter, folder: str) -> str:
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[open]({folder}/{part.name}.ipynb) [![Open in Colab]({badge})]({build.colab_url(part, folder)})"


def autograder(path: Path) -> int:
    """Pack what a grading machine needs into a .tar.gz, solutions and hidden tests included; return its size in bytes."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if re.search(r"__pycache__|solution\.ipynb$|\.partial$", member.name) else member

    if path.is_dir() or not path.name.endswith((".tar.gz", ".tgz")):
        raise ChapterError(f"--autograder {path}: name a file that ends with .tar.gz.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as scratch, tarfile.open(scratch, "w:gz") as archive:
        for name in _GRADER:
            archive.add(ROOT / name, f"{_ARCHIVE}/{name}", filter=wanted)
        archive.add(_TEMPLATES.parent / "grader" / "README.md", f"{_ARCHIVE}/README.md")
    return path.stat().st_size
