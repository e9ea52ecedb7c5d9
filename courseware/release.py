"""What students get: lectures, labs, the helper package and an environment. No solution, no hidden test, nothing of ours.

And, apart from it, what a grading machine gets.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from course_utils import __version__

from . import build
from .build import translated
from .chapters import ENGLISH, FOLDERS, N_, ROOT, Chapter, ChapterError, built, repository, words
from .files import allowed, tracked, whole
from .pages import title
from .translation import page, progress

_TEMPLATES = Path(__file__).with_name("templates") / "release"
_AS_IT_IS = (".gitattributes", "LICENSE", "LICENSE-TEXT", "CITATION.cff", "environment.yml", "requirements.lock", "start.py")
_MARK = ".released"  # lists what a release wrote, so that the next one takes away that and nothing else
_OPEN, _OPEN_IN = N_("open"), N_("Open in {place}")
_ENOUGH = 0.99  # of a chapter must be translated before it is given out
_GRADER = (
    *("chapters", "labs", "course_utils", "courseware", "locale"),
    *("Makefile", "start.py", "pyproject.toml", "requirements.lock"),
)
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


def release(out: Path, repo: str, chapters: Iterable[Chapter], language: str = ENGLISH) -> list[str]:
    """Write the students' folder, with notebooks and README in a language; return the paths of its files, relative to it.

    Only what git knows is given out. What an earlier release wrote there and this one does not is taken away; nothing else
    is ever deleted (a `.git`, an instructor's own pages).

    Raises:
        ChapterError: `repo` is not OWNER/NAME, a notebook is not what its source says, not in git or not translated, or the
            folder is this course's own.
        CourseError: the folder is one that no command writes to.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ChapterError(f"--repo {repo}: write OWNER/NAME, the repository on GitHub that students will see.")
    allowed(out)
    chapters = list(chapters)
    known = tracked(ROOT, ".")
    if any(path.is_relative_to(out.resolve()) for path in known):
        raise ChapterError(f"--out {out} holds the course itself; name another folder.")
    if outdated := build.all_stale(chapters):
        raise ChapterError(f"{outdated[0]}: run `course notebooks`, look at it, then release.")
    english = [path for part in chapters for path in (part.lecture, part.lab) if path.exists()]
    notebooks = {path.relative_to(ROOT).as_posix(): translated(path, language) for path in english}
    _translated(chapters, notebooks, language)
    if unknown := [path for path in notebooks.values() if path not in known]:
        raise ChapterError(f"{unknown[0].relative_to(ROOT).as_posix()} is not in git: `git add` it, then release.")
    given = [*(ROOT / name for name in _AS_IT_IS), *tracked(ROOT, "course_utils")]
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in given}
    files |= {name: path.read_bytes() for name, path in notebooks.items()}
    files |= {"pyproject.toml": _project().encode(), "README.md": _readme(chapters, language).encode()}
    for name, content in files.items():
        with contextlib.suppress(UnicodeDecodeError):  # a checkpoint is given as it is
            text = moved(content.decode().replace("\r\n", "\n"), repo)
            files[name] = (_flat(text, repo, language) if name in notebooks else text).encode()
    _forget(out, keep=set(files))
    for name, content in {**files, _MARK: ("\n".join(sorted(files)) + "\n").encode()}.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return sorted(files)


def _translated(chapters: list[Chapter], notebooks: dict[str, Path], language: str) -> None:
    """Refuse what students would read half in English."""
    if language == ENGLISH:
        return
    if missing := [path for path in notebooks.values() if not path.exists()]:
        raise ChapterError(
            f"{missing[0].relative_to(ROOT).as_posix()} is not there: `course notebooks {missing[0].stem} --lang "
            f"{language}` makes it; or name the chapters that are there."
        )
    for report in progress.reports(language, progress.sources(chapters, ())):
        if report.broken or report.done < _ENOUGH * report.total:
            raise ChapterError(
                f"locale/{language}/{report.name}.po: {report.done} of {report.total} entries are translated, "
                f"{len(report.broken)} are broken. `course translate --check {language} {report.name}` says which."
            )


def _flat(text: str, repo: str, language: str) -> str:
    """With Colab links to where students have a notebook: a release in one language needs no folder for it."""
    if language == ENGLISH:
        return text
    return re.sub(rf"({re.escape(repo)}/blob/main/(?:lectures|labs)/){FOLDERS[language]}/", r"\1", text)


def moved(text: str, repo: str) -> str:
    """With the addresses of another repository, and without the course's release tag, which that one does not have.

    It is itself one release of the course, and its notebooks and helper change together.
    """
    ours = repository().removeprefix("https://github.com/")
    if tag := build.release_tag():
        text = text.replace(build.pip_source(), repository()).replace(f"{ours}/blob/{tag}/", f"{ours}/blob/main/")
    return text.replace(ours, repo)


def _forget(out: Path, keep: set[str]) -> None:
    """Delete what an earlier release wrote, but for what this one writes again, and folders that are then empty."""
    if not (out / _MARK).exists():
        return
    for name in set((out / _MARK).read_text(encoding="utf-8").splitlines()) - keep:
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()


def _project() -> str:
    """The helper package's own metadata, without what builds and grades the course."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return _PROJECT.format(
        version=__version__,
        description=project["description"],
        python=project["requires-python"],
        dependencies="\n".join(f'    "{line}",' for line in project["dependencies"]),
        repository=repository(),
    )


def _readme(chapters: list[Chapter], language: str) -> str:
    rows = []
    for part in chapters:
        name = title(built(part.lab)).removeprefix("Lab ")
        if language != ENGLISH:
            name = f"{part.name[:2]} · {title(built(translated(part.lab, language))).partition(' · ')[2]}"
        lecture = _links(part, "lectures", language) if part.lecture.exists() else ""
        rows.append(f"| {name} | {lecture} | {_links(part, 'labs', language)} |")
    return page.in_language(_TEMPLATES / "README.md", language).replace("{chapters}", "\n".join(rows))


def _links(part: Chapter, folder: str, language: str) -> str:
    badge, say = "https://colab.research.google.com/assets/colab-badge.svg", words(language)
    address = build.colab_url(part, folder)
    return f"[{say(_OPEN)}]({folder}/{part.name}.ipynb) [![{say(_OPEN_IN, place='Colab')}]({badge})]({address})"


def autograder(path: Path, language: str = ENGLISH) -> int:
    """Pack what a grading machine needs into a .tar.gz, solutions and hidden tests included; return its size in bytes."""
    if path.is_dir() or not path.name.endswith((".tar.gz", ".tgz")):
        raise ChapterError(f"--autograder {path}: name a file that ends with .tar.gz.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as scratch, tarfile.open(scratch, "w:gz") as archive:
        for file in tracked(ROOT, *_GRADER):
            if file.name != "solution.ipynb":
                archive.add(file, f"{_ARCHIVE}/{file.relative_to(ROOT).as_posix()}")
        text = page.in_language(_TEMPLATES.parent / "grader" / "README.md", language).encode()
        about = tarfile.TarInfo(f"{_ARCHIVE}/README.md")
        about.size, about.mode = len(text), 0o644
        archive.addfile(about, io.BytesIO(text))
    return path.stat().st_size
