"""One page for the instructor: how the class did, what went wrong most, and who needs a look."""

from __future__ import annotations

import html
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from . import feedback_page, messages, similarity

_TEMPLATES = Path(__file__).parent.parent / "templates" / "feedback"
_REASONS = 15  # of the most common ones
_NAMED = 200  # rows of a table, at most
_LIMIT = re.compile(
    r"ran longer than|(printed|used|started|wrote|made|opened) more than|left no memory|hid a process|wrote into the folder"
)
_TROUBLE = re.compile(r"could not be graded|the kernel died|did not start")


@dataclass
class Entry:
    """One student, as the overview needs it."""

    student: str  # name of the feedback page
    name: str
    score: float | None  # None: no verdict
    most: float
    exercises: dict[str, tuple[float, float]]
    messages: dict[str, list[list[str]]]  # exercise → [key of messages.py, text]
    notes: list[str] = field(default_factory=list)
    remark: str = ""
    late: bool = False
    look_again: bool = False  # a grade given by hand, of an answer that has changed since
    answers: dict[str, str] = field(default_factory=dict)  # exercise → what was written


def made(
    title: str, entries: Sequence[Entry], missing: Sequence[str], sections: dict[str, str], given: dict[str, str]
) -> str:
    """The page.

    Args:
        missing: names of those on the class's list who handed nothing in.
        sections: exercise → title of its section.
        given: exercise → what the lab gave.
    """
    body = [
        f"<h1>{_text(title)}</h1>",
        _figures(entries, missing),
        f"<h2>Points</h2>{_histogram(entries)}" if entries else "",
        f"<h2>Exercises</h2>{_exercises(entries, sections)}" if entries else "",
        f"<h2>What went wrong most</h2>{_reasons(entries)}",
        f"<h2>Who needs a look</h2>{_looks(entries, missing)}",
        f"<h2>Answers that are nearly the same</h2>{_similar(entries, given)}",
    ]
    style = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "overview.css"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta http-equiv="Content-Security-Policy" content="'
        f'{feedback_page.POLICY}">\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{''.join(body)}\n</body>\n</html>\n"
    )


def _figures(entries: Sequence[Entry], missing: Sequence[str]) -> str:
    scores = [entry.score for entry in entries if entry.score is not None]
    most = entries[0].most if entries else 0
    tiles = [("students", str(len(entries) + len(missing))), ("graded", str(len(scores)))]
    if scores:
        tiles.append((f"mean of {_number(most)}", _number(statistics.mean(scores))))
        tiles.append(("median", _number(statistics.median(scores))))
        tiles.append(("full marks", str(sum(score >= most for score in scores))))
    tiles += [(label, str(count)) for label, count in (
        ("nothing handed in", len(missing)), ("late", sum(entry.late for entry in entries)),
        ("without a grade yet", len(entries) - len(scores)),
    ) if count]  # fmt: skip
    return f'<div class="tiles">{"".join(f"<div><b>{_text(value)}</b>{_text(label)}</div>" for label, value in tiles)}</div>'


def _histogram(entries: Sequence[Entry]) -> str:
    """Tenths of the points; a full score counts to the last one."""
    counts = [0] * 10
    for entry in entries:
        if entry.score is not None and entry.most:
            counts[max(0, min(9, int(10 * entry.score / entry.most)))] += 1
    tallest = max(1, *counts)
    parts = []
    for place, count in enumerate(counts):
        height = 120 * count / tallest
        left = 8 + place * 60
        parts.append(f'<rect x="{left}" y="{140 - height:.1f}" width="54" height="{height:.1f}"/>')
        parts.append(f'<text x="{left + 27}" y="{134 - height:.1f}" text-anchor="middle">{count or ""}</text>')
        if place % 2 == 0:  # more do not fit on a telephone
            at = left - 3 if place else left
            parts.append(f'<text x="{at}" y="158" text-anchor="{"middle" if place else "start"}">{10 * place}%</text>')
    parts.append('<text x="606" y="158" text-anchor="end">100%</text>')
    description = ", ".join(f"{10 * i} to {10 * i + 10}%: {count}" for i, count in enumerate(counts) if count)
    return (
        f'<svg viewBox="0 0 614 164" role="img" aria-label="students by share of the points: {description}">'
        f'<line x1="4" y1="140" x2="610" y2="140" stroke="#8c959f"/>{"".join(parts)}</svg>'
    )


def _exercises(entries: Sequence[Entry], sections: dict[str, str]) -> str:
    graded = [entry for entry in entries if entry.score is not None]
    rows = []
    for name, (_, most) in (entries[0].exercises if entries else {}).items():
        got = [entry.exercises[name][0] for entry in graded if name in entry.exercises]
        full, no = sum(points >= most for points in got), sum(points <= 0 for points in got)
        shares = [("full", full), ("some", len(got) - full - no), ("no", no)]
        bar = "".join(f'<i class="{kind}" style="width:{100 * n / len(got):.1f}%"></i>' for kind, n in shares if got and n)
        mean = f"{_number(statistics.mean(got))} / {_number(most)}" if got else ""
        rows.append(
            f'<tr><td><code>{_text(name)}</code> <span class="title soft">{_text(sections.get(name, ""))}</span></td>'
            f'<td class="wide"><div class="share">{bar}</div></td>'
            f'<td class="number">{100 * full / len(got):.0f}%</td><td class="number">{mean}</td></tr>'
            if got
            else ""
        )
    legend = '<p class="legend soft"><i class="full"></i>all points<i class="some"></i>some<i class="no"></i>none</p>'
    head = '<tr><th>exercise</th><th></th><th class="number">solved</th><th class="number">mean</th></tr>'
    return f'{legend}<div class="table"><table>{head}{"".join(rows)}</table></div>'


def _reasons(entries: Sequence[Entry]) -> str:
    """What was said most often, numbers apart."""
    counts: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for entry in entries:
        seen = set()
        for name, pairs in entry.messages.items():
            more = any(key.startswith("because") for key, _ in pairs)
            for key, text in pairs:
                if key == "hidden" and more:
                    continue  # the next one says more
                sentence = messages.translated("en", key, text)[:200]
                seen.add(((name, re.sub(r"\d+(\.\d+)?", "#", sentence)), sentence))
        for place, sentence in seen:
            counts[place] += 1
            example.setdefault(place, sentence)
    rows = "".join(
        f'<tr><td class="number">{count}</td><td><code>{_text(place[0])}</code></td><td>{_text(example[place])}</td></tr>'
        for place, count in counts.most_common(_REASONS)
    )
    return f'<div class="table"><table>{rows}</table></div>' if rows else "<p>Nothing.</p>"


def _looks(entries: Sequence[Entry], missing: Sequence[str]) -> str:
    rows = []
    for entry in entries:
        why = [note for note in entry.notes if entry.score is None or _LIMIT.search(note) or _TROUBLE.search(note)]
        if not entry.answers:
            why = why or entry.notes or ["nothing was answered"]
        why += [entry.remark] if entry.remark else []
        why += ["has a grade given by hand, and the answer has changed since"] if entry.look_again else []
        for name, pairs in entry.messages.items():
            for key, text in pairs:
                limit = key in ("cell", "visible", "hidden", "note") and (_LIMIT.search(text) or _TROUBLE.search(text))
                if limit and not any(text in other for other in why):
                    why.append(f"{name}: {text.removeprefix(': ')}")
        if why:
            rows.append((entry.score is not None, entry, list(dict.fromkeys(why))))
    rows.sort(key=lambda row: row[0])
    lines = "".join(
        f"<tr><td>{_link(entry)}</td><td class=number>{'' if entry.score is None else _number(entry.score)}</td>"
        f"<td>{_text('; '.join(why)[:400])}</td></tr>"
        for _, entry, why in rows[:_NAMED]
    )
    lines += "".join(
        f"<tr><td>{_text(name)}</td><td></td><td>nothing was handed in</td></tr>" for name in missing[: _NAMED - len(rows)]
    )
    hidden = max(0, len(rows) + len(missing) - _NAMED)
    more = f"<p class=soft>and {hidden} more: see the column note of grades.csv</p>" if hidden else ""
    return f'<div class="table"><table>{lines}</table></div>{more}' if lines else "<p>Nobody.</p>"


def _similar(entries: Sequence[Entry], given: dict[str, str]) -> str:
    by_name = {entry.student: entry for entry in entries if entry.answers}
    pairs = similarity.pairs({student: entry.answers for student, entry in by_name.items()}, given)
    rows = "".join(
        f'<tr><td class="number">{100 * pair.figure:.0f}%</td>'
        f"<td>{', '.join(_link(by_name[student]) for student in pair.students[:20])}"
        f"{f' and {len(pair.students) - 20} more' if len(pair.students) > 20 else ''}</td>"
        f"<td>{_text(pair.description)}</td></tr>"
        for pair in pairs[:_NAMED]
    )
    caption = (
        "The figure is the share of the longer answer that the other one has too, of what few in the class write. It is a "
        "reason to look, and no verdict: people work together, ask the same assistant, read the same page."
    )
    return f'<p class="soft">{caption}</p><div class="table"><table>{rows}</table></div>' if rows else "<p>None.</p>"


def _link(entry: Entry) -> str:
    return f'<a href="feedback/{quote(entry.student, errors="replace")}.html">{_text(entry.name or entry.student)}</a>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())
