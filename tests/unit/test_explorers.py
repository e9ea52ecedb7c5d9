"""The explorer without a kernel: which values have a picture, and that the picture is what `draw` draws."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import re
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import pytest
from PIL import Image

from course_utils import plots
from course_utils.controls import Control, controls
from courseware import explorers


def draw(bits: int, scheme: str = "absmax") -> None:
    _, ax = plt.subplots(figsize=(6, 3))
    ax.plot([0, bits], [0, 1], color=plots.COLORS[1])
    ax.set(title=f"{bits} bits, {scheme}", xlabel="x (nats)", ylabel="y")
    print(f"{bits} < 9")


def parts(*, start: dict[str, Any] | None = None, **specs: Any) -> list[Control]:
    return controls(specs, start or {})


def data(html: str) -> dict[str, Any]:
    found = re.search(r'class="course-data">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


class TestSamples:
    def test_all_of_a_menu_and_a_few_of_a_slider(self) -> None:
        made = explorers.samples(parts(n=(1, 200, 1), b=[3, 1, 2], t=True, start={"n": 20}), {})
        assert made[1:] == [[3, 1, 2], [False, True]]
        assert made[0][0] == 1 and made[0][-1] == 200 and 20 in made[0] and len(made[0]) <= 9

    def test_ends_and_start_are_there_however_few(self) -> None:
        for specs, start in (({"a": (0, 100, 1), "b": (0.0, 1.0, 0.01), "m": [*range(4)]}, {"a": 3, "b": 0.98}),):
            made = explorers.samples(parts(start=start, **specs), {})
            assert math.prod(map(len, made)) <= explorers.PICTURES
            for values, (low, high, first) in zip(made, ((0, 100, 3), (0.0, 1.0, 0.98)), strict=False):
                assert {low, high, first} <= set(values) and values == sorted(values)

    def test_too_many(self) -> None:
        with pytest.raises(ValueError, match=r"an explorer of 90 pictures \(a 10, b 9 values\); 60 can be stored"):
            explorers.samples(parts(a=[*range(10)], b=[*range(9)]), {})
        assert explorers.samples(parts(a=[*range(10)], b=[*range(9)]), {"b": [4]}) == [[*range(10)], [0, 4]]

    @pytest.mark.parametrize(
        ("grid", "says"),
        [({"x": [1]}, "grid: there is no control 'x'; there are a"), ({"a": [11]}, "grid: a cannot be 11")],
    )
    def test_values_that_cannot_be(self, grid: dict[str, list[object]], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            explorers.samples(parts(a=(0, 10, 1)), grid)


@pytest.fixture(scope="module")
def html() -> str:
    plots.style()
    return explorers.html(draw, parts(bits=(2, 8, 1), scheme=["absmax", "NF4"], start={"bits": 4}), {"bits": [2, 4, 8]})


class TestPage:
    def test_every_picture_is_what_draw_draws(self, html: str) -> None:
        """By the same way from a figure to bytes."""
        made = data(html)
        assert [control["values"] for control in made["controls"]] == [["2", "4", "8"], ["absmax", "NF4"]]
        first = re.search(r'<img src="data:image/png;base64,([^"]+)"', html)
        assert first
        for (bits, scheme), (picture, text, alt) in zip(
            itertools.product((2, 4, 8), ("absmax", "NF4")), made["frames"], strict=True
        ):
            frame = explorers.frame(draw, {"bits": bits, "scheme": scheme})
            stored = base64.b64decode(made["pictures"][picture] or first[1])
            like = Image.open(io.BytesIO(stored))
            assert frame.picture and stored == explorers.packed(frame.picture, like.size, like)
            assert made["texts"][text] == f"<pre>{bits} &lt; 9</pre>" == frame.text
            assert made["alts"][alt] == f"{bits} bits, {scheme}: lines and points, y over x (nats)." == frame.alt

    def test_pictures_are_small_and_of_one_size(self, html: str) -> None:
        stored = [base64.b64decode(picture) for picture in data(html)["pictures"] if picture]
        opened = [Image.open(io.BytesIO(picture)) for picture in stored]
        assert len({picture.size for picture in opened}) == 1 and {picture.mode for picture in opened} == {"P"}
        assert max(map(len, stored)) < 10_000

    def test_the_first_picture_is_seen_without_scripts(self, html: str) -> None:
        outside = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
        assert 'alt="4 bits, absmax: lines' in outside and "bits: 4, scheme: absmax" in outside
        assert "<pre>4 &lt; 9</pre>" in outside and "Scripts are off here" in outside
        assert re.search(r'<div class="course-controls"[^>]* hidden>', outside)

    def test_nothing_that_a_strict_policy_forbids(self, html: str) -> None:
        assert not re.search(
            r"\son\w+=|\sstyle=|javascript:|https?://", re.sub(r"base64,[^\"]+|<script.*?</script>", "", html)
        )

    def test_the_same_picture_is_stored_once(self) -> None:
        made = data(explorers.html(lambda bits, only: draw(2), parts(bits=(2, 4, 1), only=True), {}))
        assert len(made["frames"]) == 6 and len(made["pictures"]) == len(made["texts"]) == len(made["alts"]) == 1


def test_it_says_which_values_it_has_not() -> None:
    some = [[1, 2], ["a"], [False, True], ["x", "y"]]
    asked = parts(n=(1, 200, 1), kind=["a", "b", "c"], t=True, box=ipw.Text("x"))
    assert "Values shown here: n 2 of 200 · kind 1 of 3 · box 2 examples. Run" in explorers.part_of(asked, some)
    assert explorers.part_of(parts(n=(1, 2, 1), t=True), [[1, 2], [False, True]]) == ""


def test_text_alone() -> None:
    html = explorers.html(lambda bits: print(bits), parts(bits=(2, 4, 1)), {})
    assert [row[0] for row in data(html)["frames"]] == [-1, -1, -1] and "<img" not in html


def test_an_unsolved_exercise() -> None:
    def unsolved(bits: int) -> None:
        plt.subplots()
        raise NotImplementedError("exercise absmax: write this function")

    frame = explorers.frame(unsolved, {"bits": 2})
    assert frame.picture is None and "Nothing to show yet: exercise absmax" in frame.text and plt.get_fignums() == []


def test_a_table_is_stored_without_its_looks() -> None:
    table = (
        '<style type="text/css">\n#T_1 td {}\n</style>\n<table id="T_1" border="1"><td style="x" colspan="2">class="b"</td>'
    )
    assert explorers._bare(table) == '<table><td colspan="2">class="b"</td>'
