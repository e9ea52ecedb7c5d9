"""The flagship interactives in Chromium: moved by keyboard, they show the numbers that the libraries give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Locator, Page
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from course_utils import interactives
from course_utils.interactives import Interactive, byte_pairs, number_line

HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
Show = Callable[[Interactive], Locator]


@pytest.fixture
def show(page: Page, tmp_path: Path, picture: Callable[[str], None]) -> Show:
    """Open a page with the interactive on a phone; nothing may go wrong in it, and nothing may run off the screen."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def opened(shown: Interactive) -> Locator:
        path = tmp_path / f"{shown.kind}.html"
        path.write_text(HEAD + shown._repr_html_(), encoding="utf-8")
        for width in (1360, 768, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.goto(path.as_uri())
            page.wait_for_selector(".fs-live svg")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            picture(f"interactive-{shown.kind}-{width}")
        assert page.locator(".fs-still").count() == 0
        unnamed = "e => !e.labels?.length && !e.getAttribute('aria-label') && !e.textContent.trim()"
        assert not any(e.evaluate(unnamed) for e in page.locator("input, select, button").all())
        assert page.locator("svg[role=img]:not([aria-label]), svg[aria-label='']").count() == 0
        assert wrong == []
        return page.locator(".course-flagship")

    return opened


def press(control: Locator, key: str, times: int = 1) -> None:
    """A key on a control that has the focus."""
    control.focus()
    for _ in range(times):
        control.press(key)


def test_two_copies_of_the_script_wire_each_picture_once(page: Page, tmp_path: Path) -> None:
    shown = interactives.kv_cache(LlamaConfig(num_hidden_layers=2), ["a", "b", "c"], prompt=1)
    path = tmp_path / "twice.html"
    path.write_text(HEAD + 2 * shown._repr_html_(), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector(".fs-live svg")
    assert page.locator(".fs-live").count() == 2


def test_works_as_jupyterlab_puts_outputs_into_its_page(page: Page, tmp_path: Path) -> None:
    """It sets innerHTML, then replaces each script by a copy, and only then puts the output into the page."""
    shown = interactives.kv_cache(LlamaConfig(num_hidden_layers=2), ["a", "b", "c"], prompt=1)
    page.set_content(HEAD + "<main></main>")
    put = """html => {
      const output = document.createElement("div");
      output.innerHTML = html;
      for (const old of output.querySelectorAll("script")) {
        const copy = document.createElement("script");
        for (const { name, value } of old.attributes) copy.setAttribute(name, value);
        copy.textContent = old.textContent;
        old.replaceWith(copy);
      }
      document.querySelector("main").append(output);
    }"""
    for i in (1, 2):
        page.evaluate(put, shown._repr_html_())
        assert page.locator(".fs-live svg[role=img]").count() == 3 * i


def test_works_under_a_strict_policy_and_without_scripts(page: Page, tmp_path: Path) -> None:
    """As on the site: script and style are files of the page, what a cell brought is taken out, no inline code may run."""
    from course_utils.interactives.element import static

    html = interactives.kv_cache(LlamaConfig(num_hidden_layers=2), ["a", "b", "c"], prompt=1)._repr_html_()
    bare = re.sub(r"<(script|style) data-course=.*?</\1>", "", html, flags=re.DOTALL)
    policy = "default-src 'none'; script-src 'self' file:; style-src 'self' file:"
    files = '<link rel="stylesheet" href="flagship.css"><script defer src="flagship.js"></script>'
    for name in ("flagship.js", "flagship.css"):
        (tmp_path / name).write_text(static(name), encoding="utf-8")
    path = tmp_path / "strict.html"
    path.write_text(f'{HEAD}<meta http-equiv="Content-Security-Policy" content="{policy}">{files}{bare}', encoding="utf-8")
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_selector(".fs-live svg")
    assert wrong == []
    path.write_text(HEAD + bare, encoding="utf-8")
    page.goto(path.as_uri())
    assert page.locator(".fs-still svg").is_visible()


def test_transformer(show: Show, tiny_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    sentence = "the old sailor looked at the sea"
    root = show(interactives.transformer(tiny_model, tiny_tokenizer, sentence))
    inputs = tiny_tokenizer(sentence, return_tensors="pt")
    tiny_model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = tiny_model(**inputs, output_attentions=True)
    looks, following = root.locator(".fs-panel").nth(1), root.locator(".fs-panel").nth(3)

    layer, head = root.get_by_role("slider", name="Layer"), root.get_by_role("radio", name="Head 1", exact=True)
    press(layer, "Home")
    press(layer, "ArrowRight")
    head.check()
    press(head, "ArrowRight")
    row = out.attentions[1][0, 1, -1]
    assert f"({100 * float(row.max()):.1f} %)" in looks.locator(".fs-status").inner_text()
    assert looks.locator("text", has_text="%").all_text_contents() == [f"{100 * w:.1f} %" for w in row.tolist()]
    press(root.get_by_role("radio", checked=True).first, "ArrowLeft")
    assert looks.locator("text", has_text="later").count() == 1

    logits, ks = out.logits[0, -1:], [0, 1, 2, 3, 5, 10, 20, 50, 100, 1000]
    temperature, top_k, top_p = (root.get_by_role("slider", name=name) for name in ("Temperature", "top-k", "top-p"))
    for t, k, p in ((0.5, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.9), (1.5, 20, 0.5), (0.3, 100, 0.95), (2.0, 1000, 0.8)):
        for slider, value in ((temperature, t), (top_k, ks.index(k)), (top_p, p)):
            slider.fill(str(value))
        cut = TemperatureLogitsWarper(t)(None, logits)  # type: ignore[arg-type]
        cut = TopKLogitsWarper(k)(None, cut) if k else cut  # type: ignore[arg-type]
        cut = TopPLogitsWarper(p)(None, cut) if p < 1 else cut  # type: ignore[arg-type]
        chances = cut.softmax(-1)[0]
        kept, best = int((chances > 0).sum()), chances.sort(descending=True).values[:10]
        words = following.locator(".fs-status").inner_text()
        if kept <= 1000 or kept == 5000:
            assert words.startswith(f"{kept:,} of 5,000 tokens kept"), (t, k, p)
        else:
            about = int(words.removeprefix("About ").split(" of ")[0].replace(",", ""))
            assert about == pytest.approx(kept, rel=0.06), (t, k, p)
        held = float((logits[0] / t).softmax(-1)[chances > 0].sum())
        assert f"they held {100 * held:.1f} %" in words
        shown = [text for text in following.locator("text").all_text_contents() if text == "cut" or text.endswith(" %")]
        assert shown == [f"{100 * v:.1f} %" if v > 0 else "cut" for v in best.tolist()], (t, k, p)


def test_kv_cache(show: Show) -> None:
    config = LlamaConfig(num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, head_dim=64, hidden_size=576,
                         max_position_embeddings=8192)  # fmt: skip
    root = show(interactives.kv_cache(config, list("abcdefgh"), prompt=3))
    words = [root.locator(".fs-status").nth(i) for i in range(3)]
    step = root.get_by_role("slider", name="Step")
    press(step, "Home")
    assert "The cache holds 3 tokens, of which this step computed 3" in words[0].inner_text()
    press(step, "End")
    assert "The cache holds 7 tokens, of which this step computed 1" in words[0].inner_text()
    each = 2 * 30 * 3 * 64 * 2
    assert f"7 tokens take {7 * each / 1e3:.0f} kB" in words[1].inner_text()
    assert f"8,192 tokens, would take {8192 * each / 1e6:.0f} MB" in words[1].inner_text()
    assert "for 7 tokens with the cache, 25 without: 3.6 times" in words[2].inner_text()  # 3 + 4 + 5 + 6 + 7
    press(root.get_by_role("radio", name="3 (as published)"), "ArrowLeft")
    assert f"7 tokens take {7 * 3 * each / 1e3:.0f} kB" in words[1].inner_text()
    press(root.get_by_role("radio", name="16"), "ArrowRight")
    press(root.get_by_role("slider", name="Texts at once"), "ArrowRight")
    assert f"7 tokens take {7 * 3 * each / 1e3:.0f} kB" in words[1].inner_text(), "half the bits, twice the texts"
    root.get_by_role("checkbox").press("Space")
    assert "all 7 earlier tokens were computed again" in words[0].inner_text()


def test_kv_cache_plays_unless_motion_is_unwanted(show: Show, page: Page) -> None:
    shown = interactives.kv_cache(LlamaConfig(num_hidden_layers=2), list("abcd"), prompt=2)
    root = show(shown)
    press(root.get_by_role("button", name="Play"), "Enter")
    root.get_by_text("2 / 2").wait_for(timeout=4000)
    page.emulate_media(reduced_motion="reduce")
    assert show(shown).get_by_role("button").count() == 0


def test_quantization(show: Show, page: Page) -> None:
    row = 0.05 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    root = show(interactives.quantization(row))
    grid, words = root.locator(".fs-stage").nth(1), root.locator(".fs-status")

    def check(now: torch.Tensor, name: str, block: int) -> None:
        before, (codes, back) = number_line.codes(row, name, block)[0], number_line.codes(now, name, block)
        assert grid.locator("text").all_text_contents() == [str(code) for code in codes.tolist()], (name, block)
        rest = torch.arange(64) != 2
        error = float((back - now)[rest].norm() / now[rest].norm())
        changed = int((codes != before).sum())
        bits = number_line.FORMATS[name] + 32 / block
        assert f"{changed} of 64 codes changed" in words.nth(1).inner_text()
        assert f"other 63 weights: {100 * error:.1f} %. {bits:.2f} bits" in words.nth(1).inner_text()

    press(root.get_by_role("slider", name="Weight no."), "ArrowRight", 2)
    for name in number_line.FORMATS:
        for block in (16, 64):
            root.get_by_role("radio", name=name).check()
            root.get_by_role("radio", name=re.compile(rf"^{block}")).check()
            check(row, name, block)
    shown = root.get_by_text("Its value").locator("b")
    press(root.get_by_role("button", name="× 10"), "Enter")
    press(root.get_by_role("slider", name="Its value"), "PageUp", 3)
    now = row.clone()
    now[2] = float(shown.inner_text())
    assert now[2] != row[2]
    check(now, "NF4", 64)

    press(root.get_by_role("button", name="Reset"), "Enter")
    check(row, "NF4", 64)
    box = root.locator(".fs-stage").first.bounding_box()
    circle = root.locator("circle.fs-fill-paper").bounding_box()
    assert box and circle
    page.mouse.move(circle["x"] + 9, circle["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, circle["y"] + 60, steps=4)
    page.mouse.up()
    now[2] = float(shown.inner_text())
    assert now[2] > 0.99 * row.abs().max(), "dragged to the right end"
    check(now, "NF4", 64)


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield opened
    opened.close()


def finger(page: Page, way: list[tuple[float, float]]) -> None:
    """A finger goes down at the first point, over the others, and up again."""
    session = page.context.new_cdp_session(page)
    for i, (x, y) in enumerate(way):
        kind = "touchMove" if i else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_drags_a_weight(phone: Page, tmp_path: Path) -> None:
    row = 0.05 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "touch.html"
    path.write_text(HEAD + interactives.quantization(row)._repr_html_(), encoding="utf-8")
    phone.goto(path.as_uri())
    root = phone.locator(".course-flagship")
    value, words = root.get_by_text("Its value").locator("b"), root.locator(".fs-status").nth(1)
    root.get_by_role("button", name="× 10").tap()
    tapped = float(value.inner_text())
    root.get_by_role("button", name="Reset").tap()
    assert abs(tapped) > 5 * abs(float(value.inner_text()))
    root.locator(".fs-stage").first.scroll_into_view_if_needed()
    box, circle = root.locator(".fs-stage").first.bounding_box(), root.locator("circle.fs-fill-paper").bounding_box()
    assert box and circle
    x, y, right = circle["x"] + 9, circle["y"] + 9, box["x"] + box["width"] - 2
    before = words.inner_text(), phone.evaluate("scrollY")
    finger(phone, [(x + (right - x) * i / 8, y) for i in range(9)])
    assert float(value.inner_text()) > 0.99 * row.abs().max(), "dragged to the right end"
    assert words.inner_text() != before[0]
    assert phone.evaluate("scrollY") == before[1], "the page stays where it is"
    finger(phone, [(20, box["y"] + box["height"] - 4 - 30 * i) for i in range(9)])
    assert phone.evaluate("scrollY") > before[1], "a finger beside the weight scrolls the page"


def test_everything_can_be_tapped(phone: Page, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast,
                                  tiny_model: LlamaForCausalLM) -> None:  # fmt: skip
    """No interactive asks for a mouse over something: a finger on each kind of control changes what is said or drawn."""
    text = "the old sailor saw the other sailors; they saw the old sea. " * 2
    config = LlamaConfig(num_hidden_layers=2)
    made = [
        interactives.bpe(text, tiny_tokenizer, ["the old sea", "all at sea"], merges=8),
        interactives.kv_cache(config, list("abcd"), prompt=2),
        interactives.lora({name: torch.randn(40, 60, generator=torch.Generator().manual_seed(1)) for name in "ab"}),
        interactives.grpo_group(["!94.", "+1=95.", "!61."]),
        interactives.transformer(tiny_model, tiny_tokenizer, "the old sailor"),
    ]
    path = tmp_path / "taps.html"
    path.write_text(HEAD + "".join(one._repr_html_() for one in made), encoding="utf-8")
    phone.goto(path.as_uri())
    phone.wait_for_selector(".fs-live svg")
    for root in phone.locator(".course-flagship").all():
        controls, checked = root.locator("button:enabled, input:not(:checked), .fs-hit"), root.locator("input:checked")
        tried = 0
        for i in range(6):
            if i >= controls.count():  # what is checked is none of them
                break
            control = controls.nth(i)
            before = root.inner_html(), checked.count()
            box = control.bounding_box()
            if not box or not control.is_visible():
                continue
            control.tap(force=True, position={"x": box["width"] / 4, "y": box["height"] / 2})
            phone.wait_for_timeout(60)
            tried += (root.inner_html(), checked.count()) != before
        assert tried, root.inner_text()[:200]
        slider = root.locator("input[type=range]")
        if slider.count():
            box = slider.first.bounding_box()
            assert box and box["height"] >= 24, "wide enough for a finger"


def test_bpe(show: Show, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    text = "the old sailor saw the other sailors; they saw the old sea, and all the seas saw them. " * 2
    sentences = ["the old sailor looked at the sea", "大模型 at sea"]
    root = show(interactives.bpe(text, tiny_tokenizer, sentences, merges=20))
    learnt, applied = root.locator(".fs-panel").nth(0), root.locator(".fs-panel").nth(1)
    merges = byte_pairs.learn(Counter(byte_pairs._words(text)), 20)
    steps = learnt.get_by_role("slider", name="Merges")
    press(steps, "Home")
    press(learnt.get_by_role("button", name="Next merge"), "Enter", 3)
    (left, right), count = merges[2]
    first, second, both = map(byte_pairs.seen, (left, right, left + right))
    say = f"Merge 3: “{first}” + “{second}” → “{both}” ({count} times)"
    assert learnt.locator(".fs-status").inner_text().startswith(say)
    bars = learnt.locator("text").all_text_contents()
    assert bars[:2] == [" + ".join(map(byte_pairs.seen, merges[3][0])), str(merges[3][1])], "the next merge comes first"
    assert [int(n) for n in bars[1::2]] == sorted((int(n) for n in bars[1::2]), reverse=True)
    press(steps, "End")
    words = [list(word) for word in byte_pairs._words(text)]
    for pair, _ in merges:
        words = [byte_pairs.merged(word, pair) for word in words]
    assert f"the text is {sum(map(len, words))} tokens long" in learnt.locator(".fs-status").inner_text()
    assert learnt.get_by_role("button").is_disabled()

    for i, sentence in enumerate(sentences):
        applied.get_by_role("combobox").select_option(index=i)
        tokens, ids = tiny_tokenizer.tokenize(sentence), tiny_tokenizer(sentence)["input_ids"]
        chips = applied.locator(".fs-token").all_text_contents()
        assert len(chips) == len(tokens)
        pairs = [(chip, byte_pairs.seen(token)) for chip, token in zip(chips, tokens, strict=True)]
        whole = [(chip, text) for chip, text in pairs if "bytes" not in text]
        assert whole
        assert all(chip == text for chip, text in whole)
        assert applied.locator(".fs-status").inner_text().endswith(" ".join(map(str, ids)))
    press(applied.get_by_role("slider"), "Home")
    letters = len("大模型 at sea".encode())
    assert applied.locator(".fs-token").count() == letters
    assert applied.locator(".fs-token").first.inner_text() == "<E5>"


def test_lora(show: Show) -> None:
    updates = {name: torch.randn(40, 60, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    root = show(interactives.lora(updates))
    words, rank = root.locator(".fs-status"), root.get_by_role("slider", name="Rank")
    press(root.get_by_role("radio", name="a"), "ArrowRight")
    values = torch.linalg.svdvals(updates["b"]).square()
    press(rank, "Home")
    for r in (1, 2, 3, 4, 6):
        kept = float(values[:r].sum() / values.sum())
        say = (
            f"Rank {r} of 40 keeps {100 * kept:.1f} % of the squares; the relative error is {100 * (1 - kept) ** 0.5:.1f} %."
        )
        assert words.nth(0).inner_text() == say
        assert f"{100 * r:,} trainable parameters instead of 2,400" in words.nth(1).inner_text()
        assert root.locator(".fs-panel").nth(0).locator("rect.fs-fill-a").count() == r
        press(rank, "ArrowRight")
    assert "From rank 24 on nothing is saved" in words.nth(1).inner_text()
    press(rank, "End")
    assert "keeps 100.0 % of the squares; the relative error is 0.0 %" in words.nth(0).inner_text()
    corner = root.locator(".fs-panel").nth(2)
    sizes = corner.locator("rect").evaluate_all("all => all.map((one) => Number(one.getAttribute('width')).toFixed(2))")
    assert sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :], "the whole rank is the change itself"


def test_grpo_group(show: Show) -> None:
    texts, lengths = ["+8=42*7=94!94.", "!94.", "+8=42*7=84!84.", "!61."], torch.tensor([14.0, 4, 14, 4])
    root = show(interactives.grpo_group(texts))
    words = root.locator(".fs-status").first
    rewards = torch.tensor([1.0, 0, 0, 0])

    def check(divide: bool, divisor: torch.Tensor | float) -> None:
        gains = rewards - rewards.mean()
        gains = gains / (rewards.std() + 1e-4) if divide else gains
        logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        (gains / divisor * logits.log_softmax(0)).sum().backward()
        after = (logits + 14 * logits.grad).softmax(0)  # type: ignore[operator]
        for panel, numbers, style in ((1, gains, "{:+.2f}"), (2, gains / divisor, "{:+.3f}"), (3, 100 * after, "{:.1f} %")):
            shown = root.locator(".fs-panel").nth(panel).locator("text").all_text_contents()[1::2]
            assert shown == [style.format(n).replace("+0.000", "0.000") for n in numbers.tolist()]

    check(True, lengths)
    press(root.get_by_role("checkbox", name="!94. (4 tokens)", exact=True), "Space")
    rewards[1] = 1
    check(True, lengths)
    press(root.get_by_role("checkbox", name="divide by the standard deviation"), "Space")
    check(False, lengths)
    press(root.get_by_role("radio", name="its own length (GRPO)"), "ArrowRight")
    check(False, 9.0)
    press(root.get_by_role("radio", name="the mean length, 9 (DAPO)"), "ArrowRight")
    check(False, 14.0)
    for name in ("+8=42*7=84!84. (14 tokens)", "!61. (4 tokens)"):
        press(root.get_by_role("checkbox", name=name), "Space")
    assert "nothing is learnt from this group" in words.inner_text()
