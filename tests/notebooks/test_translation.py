"""Catalogues and notebooks in other languages: what is extracted, what a translation changes and what it must not."""

from __future__ import annotations

import ast
import copy

import polib
import pytest

from courseware import build
from courseware.chapters import ENGLISH, FOLDERS, Chapter, all_chapters
from courseware.translation import catalogue, code_text, lint, literals, markdown_blocks, messages, notebook, progress, terms
from courseware.translation.display import Display
from courseware.translation.messages import Message

LECTURE = r'''# %% [markdown]
# # A title
#
# A paragraph that
# is wrapped [@hu2022lora], with $x^2$.
#
# - an item
#   that goes on
#
# | name | what |
# |---|---|
# | one | two `\|x\|` |

# %%
import matplotlib.pyplot as plt


def sketch(title):
    """Draw a line.

    title: above it
    """
    plt.plot([1, 2], label="a line")  # two points
    plt.title(title)


sketch("A figure")
names = {"good": 1, "bad": 2}
for name, count in names.items():
    said = "many" if count > 1 else "few"
    print(f"{name}: {count:3} is {said}, and {'odd' if count % 2 else 'even'}")
'''


class Pseudo(catalogue.Catalogue):
    """Says each message with a Chinese sign at its end."""

    def say(self, message: str) -> str:
        text = message.rstrip()
        return f"{text}译{message[len(text) :]}"


def chinese(chapter: Chapter, text: str = LECTURE) -> tuple[list[str], list[str]]:
    """The sources of a lecture's cells, and the same with every message translated."""
    chapter.lecture_source.write_text(text, encoding="utf-8")
    made = build.plain_lecture(chapter)
    other = copy.deepcopy(made)
    notebook.translate(other, Pseudo())
    return [cell.source for cell in made.cells], [cell.source for cell in other.cells]


def test_markdown_is_taken_block_by_block_and_put_back(small: Chapter) -> None:
    before, after = chinese(small)
    assert markdown_blocks.messages(before[0]) == [
        "A title",
        "A paragraph that is wrapped [@hu2022lora], with $x^2$.",
        "an item that goes on",
        "name",
        "what",
        "one",
        "two `|x|`",
    ]
    assert after[0].splitlines() == [
        "# A title译",
        "",
        "A paragraph that is wrapped [@hu2022lora], with $x^2$.译",
        "",
        "- an item that goes on译",
        "",
        "| name译 | what译 |",
        "|---|---|",
        r"| one译 | two `\|x\|`译 |",
    ]


def test_of_a_fence_only_comments_are_taken() -> None:
    source = '```python\nx = "a # b"  # the sum of all\n# what it gives\nprint(x)  # 5\n```'
    assert markdown_blocks.messages(source) == ["the sum of all", "what it gives"]
    made = markdown_blocks.translated(source, Pseudo().say)
    assert made == '```python\nx = "a # b"  # the sum of all译\n# what it gives译\nprint(x)  # 5\n```'


def test_folded_hints_and_formulas() -> None:
    source = (
        "<details><summary>Hint 1</summary>Use <code>max</code>,\nand then\n</details>\n\n$$ a = b $$\n\n- [@hu2022lora]"
    )
    assert markdown_blocks.messages(source) == ["Hint 1", "Use <code>max</code>, and then"]
    made = markdown_blocks.translated(source, Pseudo().say)
    assert (
        "<summary>Hint 1译</summary>Use <code>max</code>, and then译\n</details>\n\n$$ a = b $$\n\n- [@hu2022lora]" in made
    )


def test_what_code_shows_is_translated_and_nothing_else(small: Chapter) -> None:
    after = chinese(small)[1][1]
    for shown in (
        '"""Draw a line.译\n\n    title: above it译\n    """',
        'label="a line译")  # two points译',
        'sketch("A figure译")',
        '{"good译": 1, "bad译": 2}',
        'said = "many译" if count > 1 else "few译"',
        "{name}: {count:3} is {said}, and {'odd译' if count % 2 else 'even译'}译",
    ):
        assert shown in after, shown


@pytest.mark.parametrize(
    "code",
    [
        'names = {"good": 1}\nfor name in names:\n    print(name, names[name])',
        'prompt = "Say yes."\nprint(prompt)\nmodel(prompt)',
        'kind = "very good"\nprint("yes" if kind == "very good" else kind)',
        'template = "About {page}: say"\nprint(template.format(**row))',
        'rows = [{"a name": 1}]\ntable = pd.DataFrame(rows)\nprint(table["a name"].sum())\ntable',
        'def answer(x):\n    return "a word"\n\n\nscore(answer)',
        'open("a file.txt")',
        'pd.DataFrame({"a name": [1]}).style.format({"a name": "{:.2f}"}).hide()',
    ],
)
def test_data_keys_and_prompts_stay(code: str) -> None:
    tree = ast.parse(code)
    shown = [node.value for node in Display([tree]).strings(tree) if isinstance(node, ast.Constant)]
    assert shown in ([], ["yes"])


@pytest.mark.parametrize(
    "code",
    [
        'rows = [{"a name": 1}]\npd.DataFrame(rows).round(2)',
        'for dim, what in ((0, "a name"), (1, "a name")):\n    print(f"{what} {dim}")',
        'assert x == 1, "a name"',
        'line = []\nline.append("a name")\nprint(", ".join(line))',
        'def said(x):\n    return "a name" if x else ""\n\n\nprint(f"{said(1)}")',
        'ax.set(title="a name", xlim=(0, 1))',
        'pd.DataFrame({"a name": [1]}).style.format("{:.2f}", na_rep="").hide()',
        'widgets.quiz([dict(question="a name", options={"a name": True})])',
    ],
)
def test_what_is_only_shown_is_found(code: str) -> None:
    tree = ast.parse(code)
    assert "a name" in [node.value for node in Display([tree]).strings(tree) if isinstance(node, ast.Constant)]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ('widgets.predict("Why?", options=["one", "two"], answer="two", why="So.")', "Why? one two two So."),
        ('widgets.predict("Why?", options=["one", "two"], answer=best, why="So.")', "Why? So."),
        ('widgets.predict("How many?", options=[1, 2], answer=2**1, unit="of them")', "How many? of them"),
        (
            'g = widgets.predict("Why?", options=["one", "two"])\ng.reveal("one" if x > 1 else "two", why="So.")',
            "Why? one two one two So.",
        ),
        (
            'g = widgets.predict("Why?", options=["one", "two"])\n'
            'try:\n    out = "one"\nexcept E:\n    out = "two"\ng.reveal(out)',
            "Why? one two one two",
        ),
        (
            'g = widgets.predict("Why?", options=["one", "two"])\nout = "one"\nscores[out] = 1\ng.reveal(out)',
            "Why?",
        ),
        (
            'g = widgets.predict("A?", options=["one"])\ng.reveal(max(gap))\n'
            'g = widgets.predict("B?", options=["two"])\ng.reveal("two")',
            "A? B? two two",
        ),
        (
            'why = {"one": "No.", "two": "Yes."}\nwidgets.quiz([dict(question="Why?", options=why, answer="two")])',
            "one No. two Yes. Why? two",
        ),
        (
            'BOTH = ["one", "two"]\ng = widgets.predict("Why?", options=BOTH)\ng.reveal(BOTH[n])',
            "one two Why?",
        ),
        (
            'OF = {1: "one", 2: "two"}\ng = widgets.predict("Why?", options=[*OF.values(), "three"])\n'
            'g.reveal(OF.get(n, "three"))',
            "one two Why? three three",
        ),
        (
            'widgets.quiz([{"question": "Why?", "options": {"one": "No.", "two": "Yes."}, "answer": best}])',
            "Why? No. Yes.",
        ),
    ],
)
def test_options_and_answers_are_translated_together_or_not_at_all(code: str, shown: str) -> None:
    tree = ast.parse(code)
    found = [node.value for node in Display([tree]).strings(tree) if isinstance(node, ast.Constant)]
    assert sorted(" ".join(found).split()) == sorted(shown.split())


def test_a_string_that_hidden_tests_use_stays() -> None:
    tree = ast.parse('word = "a name"\nprint(word)')
    assert Display([tree]).strings(tree) and not Display([tree], opaque=["word"]).strings(tree)


@pytest.mark.parametrize(
    "source",
    [
        '"a"',
        "'it\\'s'",
        'r"\\alpha"',
        'f"{x:.2f} of {y!r}"',
        '("one "\n    f"{d[\'k\']} two")',
        'f"{{brace}} {x}"',
        "f\"{a['k']} and \" f'{b[\"k\"]}'",
        '"tab\\tnew\\nline"',
    ],
)
def test_a_literal_is_the_same_when_it_is_written_again(source: str) -> None:
    inner = source[1:-1] if source.startswith("(") else source
    literal = literals.read(inner)
    assert ast.dump(ast.parse(literal.written(literal.message))) == ast.dump(ast.parse(source))


def made_of(text: str, translated: str = "", kind: str = messages.PROSE) -> polib.POEntry:
    return polib.POEntry(msgid=text, msgstr=translated, comment=kind, occurrences=[("lecture:a-0", "")])


def test_changed_english_makes_an_entry_fuzzy_and_keeps_what_it_was() -> None:
    old = polib.POFile()
    old.append(made_of("A scale for each row of weights.", "每行权重一个缩放因子。"))
    old.append(made_of("This goes.", "这一句会消失。"))
    new = catalogue.merge(old, [Message("One scale for each row of weights.", "lecture:a-0", messages.PROSE)], "zh_CN")
    entry = new[0]
    assert entry.fuzzy and entry.msgstr == "每行权重一个缩放因子。"
    assert entry.previous_msgid == "A scale for each row of weights." and not catalogue.done(entry)
    assert [(gone.msgid, gone.obsolete) for gone in new[1:]] == [("This goes.", True)]
    back = catalogue.merge(new, [Message("This goes.", "lecture:b-0", messages.PROSE)], "zh_CN")
    assert back[0].msgstr == "这一句会消失。" and catalogue.done(back[0])


def test_a_catalogue_is_written_once_and_read_as_it_was(tmp_path) -> None:
    found = [
        Message("A long text. " * 30, "lecture:a-0", messages.PROSE),
        Message("{x:.1f} of it", "lab:b-1", code_text.FORMATTED),
    ]
    path = tmp_path / "zh_CN" / "01.po"
    merged = catalogue.merge(polib.POFile(), found, "zh_CN")
    assert catalogue.write(path, merged) and not catalogue.write(path, catalogue.merge(catalogue.read(path), found, "zh_CN"))
    assert [entry.msgid for entry in catalogue.read(path)] == [message.text for message in found]


def rules(english: str, chinese: str, kind: str = messages.PROSE, known: tuple[terms.Term, ...] = ()) -> set[str]:
    entry = made_of(english, chinese, kind)
    return {problem.rule for problem in lint.broken(entry) or lint.faults(entry, known)}


@pytest.mark.parametrize(
    ("english", "chinese", "rule"),
    [
        ("It has `q` and $s$.", "它有 `q` 和 $s$。", ""),
        ("It has `q`.", "它有 `p`。", "code"),
        ("It is $s$.", "它是 $t$。", "formulas"),
        ("See [@hu2022lora].", "见 [@li2021prefix]。", "citations"),
        ("See [it](a.md).", "见[它](b.md)。", "links"),
        ("6.7 billion parameters", "67 亿个参数", ""),
        ("6.7 billion parameters", "6.7 亿个参数", "numbers"),
        ("two rows of 4,096", "2 行，每行 4096 个", ""),
        ("a text", "- 文字", "structure"),
        ("**Look:** here", "**看：**这里", "emphasis"),
        ("**Look:** here", "**看**：这里", ""),
        ("a scale", "缩放,因子", "punctuation"),
        ("a scale (small)", "缩放因子(小)", "punctuation"),
        ("an int8 code", "一个int8编码", "spacing"),
        ("the way back and on we go", "the way back and on we go", "english"),
        ("MiniLM is small", "它很小", "names"),
        ("MiniLM is small", "MiniLM 很小", ""),
        ("outliers are few", "异常的很少", "terms"),
        ("outliers are few", "离群值很少", ""),
    ],
)
def test_the_lint_finds(english: str, chinese: str, rule: str) -> None:
    known = (terms.Term("outlier", ("离群值",), ("异常值",)),)
    assert rules(english, chinese, known=known) == ({rule} if rule else set())


def test_the_lint_of_what_code_fills_in() -> None:
    assert rules("{a:.1f} of {b}", "{b} 中的 {a:.1f}", code_text.FORMATTED) == set()
    assert "fields" in rules("{a:.1f} of {b}", "{b} 中的 {a}", code_text.FORMATTED)
    assert "fields" in rules("{a} of it", "其中 {a", code_text.FORMATTED)
    assert "fields" in rules("{:.1f} of it", "其中", code_text.SHOWN)


def test_a_rule_can_be_switched_off_in_an_entry() -> None:
    entry = made_of("ReLU is small", "它很小")
    entry.tcomment = "lint: names"
    assert not lint.faults(entry, ())


# ------------------------------------------------------------------ the course's own chapters


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_every_message_translated_leaves_the_same_programs(chapter: Chapter) -> None:
    parts = [(build.plain_lab(chapter), build.unseen(chapter))]
    parts += [(build.plain_lecture(chapter), [])] if chapter.lecture_source.exists() else []
    for made, unseen in parts:
        other = copy.deepcopy(made)
        notebook.translate(other, Pseudo(), unseen)
        assert notebook.programs(other, unseen) == notebook.programs(made, unseen)
        for cell, theirs in zip(made.cells, other.cells, strict=True):
            if cell.cell_type == "markdown":
                assert markdown_blocks.structure(cell.source) == markdown_blocks.structure(theirs.source), cell.id


@pytest.mark.parametrize("language", FOLDERS)
@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_a_translated_notebook_is_the_same_code(chapter: Chapter, language: str) -> None:
    """With comments, docstrings and display strings removed; the same ids and the same metadata for the grader."""
    for make, unseen in ((build.lecture, []), (build.student_lab, build.unseen(chapter))):
        if make is build.lecture and not chapter.lecture_source.exists():
            continue
        ours, theirs = make(chapter, ENGLISH), make(chapter, language)
        assert [(c.id, c.cell_type, c.metadata) for c in ours.cells] == [
            (c.id, c.cell_type, c.metadata) for c in theirs.cells
        ]
        assert notebook.programs(ours, unseen) == notebook.programs(theirs, unseen)


@pytest.mark.parametrize("language", FOLDERS)
def test_no_translation_is_broken(language: str) -> None:
    made = progress.reports(language, progress.sources(all_chapters()))
    assert [line for report in made for line in (*report.broken, *report.faults)] == []


@pytest.mark.parametrize("language", FOLDERS)
def test_terms_can_be_read(language: str) -> None:
    assert len(terms.load(language)) > 100


# words of tables that another context asks to say in another way
IN_CONTEXT = {"nothing", "yes", "no", "for", "leave it out", "direct", "chain"}


@pytest.mark.parametrize("language", FOLDERS)
def test_prose_that_chapters_share_has_one_translation(language: str) -> None:
    said: dict[str, dict[str, list[str]]] = {}
    for chapter in all_chapters():
        for entry in catalogue.read(catalogue.path_of(language, chapter.name)):
            if catalogue.done(entry) and messages.PROSE in entry.comment.split(", ") and entry.msgid not in IN_CONTEXT:
                said.setdefault(entry.msgid, {}).setdefault(entry.msgstr, []).append(chapter.name)
    assert {english: chinese for english, chinese in said.items() if len(chinese) > 1} == {}
