"""Makes chapter 7's second knowledge base, course_utils/csv/manual.csv: paragraphs of scikit-learn's documentation.

    python chapters/07_retrieval_augmentation/manual.py

The text is that of the release's source package on PyPI (pinned below): parts of the user guide, and what the release notes
list as new. Its licence, BSD-3-Clause, permits copies with the notice; the notice is written beside the table
(manual.LICENSE.txt). Code, tables and paragraphs full of formulas are left out.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from course_utils import weights
from courseware.chapters import ROOT

SDIST = weights.PinnedFile(
    requirement="scikit-learn==1.9.1",
    filename="scikit_learn-1.9.1.tar.gz",
    sha256="629cada3e33e2b9bf376cdc7614a47a4140b8aedc1d836579e359736fbd82977",
    size=7_786_908,
    pip_refuses=True,  # pip would build the package to read its name
)
TABLE = ROOT / "course_utils" / "csv" / "manual.csv"
GUIDES = (
    "calibration", "clustering", "ensemble", "feature_selection", "impute", "isotonic", "naive_bayes", "neighbors",
    "outlier_detection", "permutation_importance", "random_projection", "semi_supervised", "sgd", "svm", "tree",
)  # fmt: skip
NOTES = "0.17 0.18 0.19 0.20 0.21 0.22 0.23 0.24 1.0 1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8".split()
_NEW = re.compile(r"\|(?:Major)?Feature\||\bnew (?:class|estimator|transformer|function|splitter)\b|\bAdded? (?:a )?:class:", re.I)
_HEADING = re.compile(r"""^([=\-~^."'*+#])\1{2,}$""")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """("heading" | "text" | "bullet", its lines joined) of a reStructuredText file, without indented blocks."""
    parts = [part for part in re.split(r"\n\s*\n", text.replace("\r", "")) if part.strip()]
    for part in parts:
        lines = [line for line in part.split("\n") if line.strip()]
        while lines:
            if len(lines) > 2 and _HEADING.match(lines[0]) and _HEADING.match(lines[2]):  # a title between two lines
                lines = lines[1:]
            if len(lines) > 1 and _HEADING.match(lines[1]) and not lines[0].startswith(" "):
                yield "heading", lines[0].strip()
                lines = lines[2:]
                continue
            if not lines[0].startswith((" ", "..", "+-", "|", ">>>", "====")):
                for item in re.split(r"\n(?=[-*] )", "\n".join(lines)):
                    kind = "bullet" if re.match(r"[-*] ", item) else "text"
                    yield kind, re.sub(r"\s+", " ", re.sub(r"^[-*] ", "", item)).strip()
            break


def plain(text: str) -> str:
    """A paragraph without marks: a role's or a link's text, code as it is."""
    text = re.sub(r":ref:`sphx_glr\w*(?:\.\w+)?`", "the examples", text)
    text = re.sub(r"\|(\w+)\|", "", text)
    text = re.sub(r":(?:pr|issue):`[^`]*`,?(?: and)?", "", text)
    text = re.sub(r":[\w:]+:`~?([^`<]*?)\s*<[^`]*>`", r"\1", text)
    text = re.sub(r":(?:class|func|meth|mod|attr|obj|term):`~(?:[\w.]*\.)?(\w+)`", r"\1", text)
    text = re.sub(r":[\w:]+:`([^`]*)`", r"\1", text)
    text = re.sub(r"`([^`<]*?)\s*<[^`]*>`__?", r"\1", text)
    text = re.sub(r"`([^`]*)`__?", r"\1", text)
    text = text.replace("``", "").replace("`", "").replace("**", "").replace("\\ ", "")
    text = re.sub(r"\[#?([\w+]*)\]_", r"[\1]", text)
    text = re.sub(r"(?<!\w)\*([^*\s][^*]*)\*(?!\w)", r"\1", text)
    text = re.sub(r"\s+(?:by\s+)?(?:and\s+)?([.,;])", r"\1", text)
    return re.sub(r"\s+", " ", text).strip(" :").replace("sklearn.", "")


def of_prose(text: str) -> bool:
    """Is it a paragraph that a person would read aloud?"""
    only_points = text.startswith((":ref:`sphx", "See :ref:`sphx"))  # at the gallery of examples, which we do not have
    return not only_points and text.count(":math:") <= 2 and "::" not in text and "\\frac" not in text and len(plain(text).split()) >= 8


def guide(name: str, text: str) -> list[dict[str, str]]:
    """Paragraphs of a page of the user guide; bullets are joined to the paragraph before them."""
    rows: list[dict[str, str]] = []
    title, section, joins = "", "", False
    for kind, line in blocks(text):
        if kind == "heading":
            title = title or plain(line)
            section, joins = plain(line).removeprefix(title), False
        elif title and of_prose(line):
            if kind == "bullet" and joins and len(rows[-1]["text"].split()) < 80:
                rows[-1]["text"] += " " + plain(line)
                continue
            path = f"doc/modules/{name}.rst"
            rows.append({"page": title, "section": section, "date": "", "text": plain(line), "file": path})
            joins = True
    return rows


def notes(version: str, text: str) -> Iterator[dict[str, str]]:
    """What a release's notes list as new, with the day or month of the release."""
    released, section, number = "", "", version
    for kind, line in blocks(text):
        if kind == "heading":
            found = re.match(r"Version ([\d.]+)", line)
            number = found[1] if found else number
            released = "" if found else released
            section = section if found else plain(line)
        elif not released and (found := re.match(r"\*\*(.*?\d{4})\*\*", line)):
            released = found[1].replace(",", "")
        elif kind == "bullet" and released and _NEW.search(line) and of_prose(line):
            yield {
                "page": f"Release notes of version {number}", "section": section, "date": released, "text": plain(line),
                "file": f"doc/whats_new/v{version}.rst",
            }  # fmt: skip


def main() -> None:
    rows: list[dict[str, str]] = []
    with tarfile.open(weights.fetch(SDIST)) as archive:
        root = SDIST.filename.removesuffix(".tar.gz")

        def read(path: str) -> str:
            member = archive.extractfile(f"{root}/{path}")
            assert member is not None
            return member.read().decode("utf-8")

        for name in GUIDES:
            rows += guide(name, read(f"doc/modules/{name}.rst"))
        for version in NOTES:
            rows += notes(version, read(f"doc/whats_new/v{version}.rst"))
        licence = read("COPYING")
    frame = pd.DataFrame(rows).drop_duplicates("text").reset_index(drop=True)
    frame.insert(0, "id", frame.index + 1)
    frame["source"] = f"scikit-learn {SDIST.requirement.split('==')[1]}, " + frame.pop("file") + "; BSD-3-Clause"
    frame.to_csv(TABLE, index=False)
    Path(TABLE).with_name("manual.LICENSE.txt").write_text(licence, encoding="utf-8")
    print(f"{len(frame)} paragraphs, {frame['text'].str.split().str.len().sum():,} words, {frame['page'].nunique()} pages")


if __name__ == "__main__":
    main()
