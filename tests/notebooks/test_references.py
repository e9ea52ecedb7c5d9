"""Works in one file: what the build writes in place of their keys, and what it says of a citation that has no work."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseware import build, references, rules
from courseware.chapters import Chapter, ChapterError
from courseware.site import _works

BIB = """\
@inproceedings{hoffmann2022training,
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and others},
  title = {Training Compute-Optimal Large Language Models},
  booktitle = {NeurIPS},
  year = {2022},
  eprint = {2203.15556},
}

@article{eckart1936approximation,
  author = {Eckart, Carl and Young, Gale},
  title = {The Approximation of One Matrix by Another of Lower Rank},
  journal = {Psychometrika},
  volume = {1},
  year = {1936},
  doi = {10.1007/BF02288367},
}

@misc{vicuna2023chatbot,
  author = {{The Vicuna Team}},
  title = {90\\%* of \\_ [it]?},
  year = {2023},
  url = {https://www.lmsys.org/blog},
}
"""
HOFFMANN = "https://arxiv.org/abs/2203.15556"
ECKART = "https://doi.org/10.1007/BF02288367"
READING = "- [@hoffmann2022training]: the 20 tokens\n  per parameter\n- [@eckart1936approximation]\n- [@vicuna2023chatbot]"


@pytest.fixture
def cited(small: Chapter) -> Chapter:
    (small.folder.parent / references.FILE).write_text(BIB, encoding="utf-8")
    return small


def write(chapter: Chapter, prose: str, reading: str = READING, code: str = "") -> None:
    """A lecture of this prose, this list of further reading and this code."""
    cells = [
        f"# %% [markdown]\n{_commented(text)}" for text in (f"# A title\n\n{prose}", f"## Further reading\n\n{reading}")
    ]
    cells.append(f"# %%\n{code or 'print(1)'}")
    chapter.lecture_source.write_text("\n\n".join(cells) + "\n", encoding="utf-8")


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())


def built(chapter: Chapter) -> list[str]:
    """The built lecture's prose: its first cell without the title, and the list."""
    sources = [
        cell.source for cell in build.lecture(chapter).cells if cell.id != "colab-link" and cell.cell_type == "markdown"
    ]
    return [sources[0].removeprefix("# A title\n\n"), sources[1].removeprefix("## Further reading\n\n")]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("It is [@hoffmann2022training].", f"It is ([Hoffmann et al., 2022]({HOFFMANN}))."),
        ("@hoffmann2022training: it is.", f"[Hoffmann et al. (2022)]({HOFFMANN}): it is."),
        ("@hoffmann2022training [table 3] is", f"[Hoffmann et al. (2022, table 3)]({HOFFMANN}) is"),
        (
            "so [@hoffmann2022training, table 3;\n@eckart1936approximation]",
            f"so ([Hoffmann et al., 2022]({HOFFMANN}), table 3;\n[Eckart and Young, 1936]({ECKART}))",
        ),
        ("*rank* (秩; @eckart1936approximation)", f"*rank* (秩; [Eckart and Young, 1936]({ECKART}))"),
        ("(@eckart1936approximation found it.)", f"([Eckart and Young (1936)]({ECKART}) found it.)"),
        ("`@hoffmann2022training` or me@site2022x", "`@hoffmann2022training` or me@site2022x"),
        ("a [link](https://a.b) beside it", "a [link](https://a.b) beside it"),
    ],
)
def test_what_the_build_writes(written: str, read: str, cited: Chapter) -> None:
    write(cited, written)
    assert built(cited)[0] == read


def test_items_of_further_reading(cited: Chapter) -> None:
    write(cited, "Nothing.")
    assert built(cited)[1].splitlines() == [
        "- J. Hoffmann et al. *Training Compute-Optimal Large Language Models.* NeurIPS 2022. "
        f"[arXiv:2203.15556]({HOFFMANN}): the 20 tokens",
        "  per parameter",
        "- C. Eckart, G. Young. *The Approximation of One Matrix by Another of Lower Rank.* Psychometrika 1, 1936. "
        f"[doi:10.1007/BF02288367]({ECKART})",
        r"- The Vicuna Team. *90%\* of \_ \[it\]?* 2023. [lmsys.org](https://www.lmsys.org/blog)",
    ]


def test_lab_and_lecture_say_the_same(cited: Chapter) -> None:
    """Works of the same authors and year get letters, in the order in which the chapter lists them."""
    twin = (
        BIB.replace("hoffmann2022training", "hoffmann2022empirical")
        .replace("Training Comp", "Comp")
        .replace("15556", "15557")
    )
    (cited.folder.parent / references.FILE).write_text(BIB + twin[: twin.index("@article")], encoding="utf-8")
    write(cited, "@hoffmann2022training")
    lab = cited.lab_source.read_text(encoding="utf-8")
    cited.lab_source.write_text(
        lab.replace("# Why?", "# @hoffmann2022empirical\n#\n# - [@hoffmann2022empirical]"), encoding="utf-8"
    )
    assert built(cited)[0] == f"[Hoffmann et al. (2022a)]({HOFFMANN})"
    for made in (build.student_lab(cited), build.solution(cited)):
        assert "[Hoffmann et al. (2022b)](https://arxiv.org/abs/2203.15557)" in made.cells[0].source
        assert "NeurIPS 2022b. [arXiv:2203.15557]" in made.cells[0].source


@pytest.mark.parametrize(
    "written", ["As [@hofmann2022training] say.", "As @hoffmann2022 say.", "As [@Hoffmann2022, table 3] say."]
)
def test_unknown_key(written: str, cited: Chapter) -> None:
    write(cited, written)
    (said,) = references.unknown(cited)
    assert said.startswith("there is no @") and said.endswith("in references.bib; did you mean @hoffmann2022training?")
    assert rules.broken(cited) == [f"01_small: {said}"]
    with pytest.raises(ChapterError, match="did you mean @hoffmann2022training"):
        build.lecture(cited)


def test_cited_and_not_listed(cited: Chapter) -> None:
    write(cited, "As [@hoffmann2022training] say.", "- [@eckart1936approximation]")
    assert references.unlisted(cited) == ["the prose cites @hoffmann2022training, which no item under Further reading names"]
    assert references.unlisted(cited)[0] in rules.wanting(cited)


@pytest.mark.parametrize(
    "text",
    [
        "(Wei et al., 2022)",
        "Wei et al. (2022)",
        "(see Wei et al. 2022; Hoffmann et al. 2022)",
        "as von Oswald et al. found",
        "Hoffmann et al. (2023)",
        "(Kudo 2018)",
        "Fleiss' (1971) kappa",
        "a preprint (see Garisto, 2023)",
        "Reimers & Gurevych 2019",
    ],
)
@pytest.mark.parametrize("place", ["prose", "code"])
def test_citation_by_hand_without_an_entry(text: str, place: str, cited: Chapter) -> None:
    """A comment and a figure's title are looked at, too."""
    write(cited, text) if place == "prose" else write(cited, "Nothing.", code=f"# {text}\nprint(1)")
    (said,) = references.unlisted(cited)
    assert "is cited by hand, and no item under Further reading is that work: write its entry in references.bib" in said
    assert said in rules.wanting(cited)


@pytest.mark.parametrize(
    "text",
    [
        "(Hoffmann et al. 2022, table 3)",
        "Hoffmann et al.'s (2022a) law; Hoffmann et al. report",
        "Eckart & Young (1936); Eckart and Young, 1936",
        "In 2018, since June 2020, Llama 4 (April 2025), Python (3.13), AIME 2024, `Kudo 2018`",
    ],
)
def test_what_is_no_stranger(text: str, cited: Chapter) -> None:
    write(cited, text, code=f"# {text}\nprint(1)")
    assert references.unlisted(cited) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  eprint = {2203.15556},\n", "", "@hoffmann2022training has no link"),
        ("  author = {Eckart, Carl and Young, Gale},\n", "", "@eckart1936approximation has no people"),
        (
            "vicuna2023chatbot",
            "Vicuna23",
            "@Vicuna23 is no key: a name, the year 2023 and a word of the title, in small letters",
        ),
        (
            "https://www.lmsys.org/blog",
            HOFFMANN,
            "@hoffmann2022training and @vicuna2023chatbot are the same work",
        ),
        (
            "@misc{",
            BIB[: BIB.index("@art")].replace("training", "law") + "@misc{",
            "@hoffmann2022law is listed by no chapter",
        ),
    ],
)
def test_untidy_file(old: str, new: str, says: str, cited: Chapter) -> None:
    write(cited, "Nothing.")
    assert references.untidy([cited]) == []
    (cited.folder.parent / references.FILE).write_text(BIB.replace(old, new), encoding="utf-8")
    assert any(said.startswith(says) for said in references.untidy([cited])), references.untidy([cited])


@pytest.mark.parametrize(
    ("old", "new"), [("eckart1936approximation", "hoffmann2022training"), ("title = {90", "title = 90"), ("?}", "\\}")]
)
def test_file_that_cannot_be_read(old: str, new: str, cited: Chapter) -> None:
    (cited.folder.parent / references.FILE).write_text(BIB.replace(old, new), encoding="utf-8")
    with pytest.raises(ChapterError, match=r"chapters/references\.bib cannot be read"):
        references.works(cited.folder.parent)


def test_the_sites_copy_says_who_lists_a_work(cited: Chapter, tmp_path: Path) -> None:
    write(cited, "Nothing.", "- [@eckart1936approximation]")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / references.FILE).write_text(_works([cited]), encoding="utf-8")
    text = references.Style().text(references.works(copy)["eckart1936approximation"])
    assert text.render_as("html").endswith('(<a href="lectures/01_small.html">01</a>)')
    assert "lectures/" not in references.Style().text(references.works(copy)["hoffmann2022training"]).render_as("html")
