"""The flagship interactives: what a cell computes for them is what torch, transformers and the other libraries give."""

from __future__ import annotations

import base64
import copy
import json
import re

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM as Model
from transformers import PreTrainedTokenizerFast as Fast

from course_utils import interactives
from course_utils.interactives import byte_pairs, cache, element, number_line


def numbers(packed: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.frombuffer(base64.b64decode(packed), "<u2") / 65535


def data_in(html: str) -> dict:  # type: ignore[type-arg]
    """What the script reads, out of the page."""
    found = re.search(r'<script type="application/json" class="fs-data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def made(name: str, *arguments: object, **keywords: object) -> tuple[dict, str]:  # type: ignore[type-arg]
    """An interactive's data as they stand in the page, and the page; what holds for each of them is checked on the way."""
    shown = getattr(interactives, name)(*arguments, **keywords)
    html = shown._repr_html_()
    data = data_in(html)
    assert len(json.dumps(shown.data)) <= 300_000
    assert "<svg" in html and 'role="img" aria-label="' in html
    assert not re.search(r"""\son\w+=|\sstyle=|https?://(?!www\.w3\.org/2000/svg)""", html), "strict content security policy"
    assert html.count('<script data-course="flagship.js">') == html.count('<style data-course="flagship.css">') == 1
    assert set(data["labels"]) == {"en", "zh"} and set(data["labels"]["en"]) == set(data["labels"]["zh"])
    assert repr(shown).startswith(f"<{shown.kind}: ")
    return data, html


def test_every_label_has_the_same_values_in_both_languages() -> None:
    for part in json.loads(element.static("flagship_labels.json")).values():
        for key, text in part.items():
            assert text["en"] and text["zh"], key
            assert set(re.findall(r"\{\w+\}", text["en"])) == set(re.findall(r"\{\w+\}", text["zh"])), key


def test_every_label_that_the_script_asks_for_is_in_the_table() -> None:
    asked = set(re.findall(r'say\("(\w+)"', element.static("flagship.js")))
    known = {key for part in json.loads(element.static("flagship_labels.json")).values() for key in part}
    assert asked <= known, asked - known


# ---------------------------------------------------------------- one sentence


SENTENCE = "the old sailor looked at the sea"


def test_transformer_shows_the_models_own_numbers(tiny_model: Model, tiny_tokenizer: Fast) -> None:
    data, _ = made("transformer", tiny_model, tiny_tokenizer, SENTENCE)
    ids = tiny_tokenizer(SENTENCE, return_tensors="pt").input_ids
    n = ids.shape[1]
    eager = copy.deepcopy(tiny_model)
    eager.set_attn_implementation("eager")
    with torch.inference_mode():
        out = eager(ids, output_attentions=True, output_hidden_states=True)
    rows, columns = np.tril_indices(n)
    theirs = torch.stack(out.attentions)[:, 0].numpy()[:, :, rows, columns]
    np.testing.assert_allclose(numbers(data["attention"]).reshape(theirs.shape), theirs, atol=1e-5)
    sizes = torch.stack(out.hidden_states[:-1])[:, 0].square().mean(-1).sqrt().numpy()
    np.testing.assert_allclose(np.array(data["stream"])[:-1], sizes, rtol=1e-3)
    chance, best = out.logits[0].softmax(-1).max(-1)  # read out after the last layer: the model's own prediction
    np.testing.assert_allclose(data["guessChances"][-1], chance.numpy(), rtol=5e-3)
    assert [data["guessPieces"][i] for i in data["guesses"][-1]] == [tiny_tokenizer.decode([i]) for i in best.tolist()]
    assert tiny_model.config._attn_implementation != "eager", "the model is left as it was"


def test_transformer_keeps_the_whole_distribution(tiny_model: Model, tiny_tokenizer: Fast) -> None:
    data, html = made("transformer", tiny_model, tiny_tokenizer, SENTENCE)
    with torch.inference_mode():
        logits = tiny_model(**tiny_tokenizer(SENTENCE, return_tensors="pt")).logits[0, -1]
    kept, tail = np.array(data["next"]["logits"]), data["next"]["tail"]
    np.testing.assert_allclose(kept, logits.sort(descending=True).values[: len(kept)].numpy(), atol=1e-4)
    levels = tail["top"] - tail["width"] * (np.arange(len(tail["counts"])) + 0.5)
    assert len(kept) + sum(tail["counts"]) == data["next"]["vocabulary"] == 5000
    for temperature in (0.3, 1.0, 2.0):
        whole = np.exp(kept / temperature).sum() + (tail["counts"] * np.exp(levels / temperature)).sum()
        assert whole == pytest.approx(float((logits.double() / temperature).exp().sum()), rel=1e-3)
    assert f"{100 * float(logits.softmax(-1).max()):.1f} %" in html.split("fs-data")[0], "the still picture says it, too"


def test_transformer_refuses_what_it_cannot_draw(tiny_model: Model, tiny_tokenizer: Fast) -> None:
    with pytest.raises(ValueError, match="the picture holds 2 to 24"):
        interactives.transformer(tiny_model, tiny_tokenizer, "the " * 40)


def test_text_in_the_data_cannot_end_the_script(tiny_model: Model, tiny_tokenizer: Fast) -> None:
    data, html = made("transformer", tiny_model, tiny_tokenizer, "a</script>b")
    assert "".join(data["tokens"]) == "a</script>b" and "<b" not in html and "&lt;" in html


# ---------------------------------------------------------------- the cache


def test_cache_bytes_are_those_of_the_librarys_cache(tiny_model: Model) -> None:
    data, html = made("kv_cache", tiny_model.config, ["a", "b", "c", "d", "e"], prompt=2)
    (sizes,) = data["models"]
    with torch.inference_mode():
        held = tiny_model(torch.arange(4)[None], use_cache=True).past_key_values
    theirs = sum(part.nbytes for layer in held.layers for part in (layer.keys, layer.values))
    assert 4 * cache.bytes_per_token(sizes, sizes["kvHeads"], bits=32) == theirs
    assert sizes == {"name": "llama", "layers": 3, "heads": 6, "kvHeads": 2, "headSize": 8, "context": 2048}
    assert "KV cache of 4 tokens, 16 bits" in html


def test_cache_refuses_a_text_of_which_nothing_is_written(tiny_model: Model) -> None:
    with pytest.raises(ValueError, match="here 2 and 2"):
        interactives.kv_cache(tiny_model.config, ["a", "b"], prompt=2)


# ---------------------------------------------------------------- quantization


def row_of_weights(n: int = 64) -> torch.Tensor:
    return 0.05 * torch.randn(n, generator=torch.Generator().manual_seed(0))


def test_codes_are_those_of_bitsandbytes() -> None:
    from bitsandbytes.functional import dequantize_4bit, get_4bit_type, int8_vectorwise_quant, quantize_4bit

    row = row_of_weights(128)
    assert (number_line.nf4_levels() - get_4bit_type("nf4", device="cpu")).abs().max() < 1e-6
    packed, state = quantize_4bit(row, blocksize=64, quant_type="nf4")
    np.testing.assert_allclose(number_line.codes(row, "NF4", 64)[1], dequantize_4bit(packed, state).flatten(), atol=1e-6)
    theirs, scale, _ = int8_vectorwise_quant(row[None].half())
    code, _ = number_line.codes(row.half().float(), "int8", 128)
    assert (code - theirs[0].int()).abs().max() <= 1 and (code == theirs[0]).float().mean() > 0.98  # theirs rounds in fp16
    assert float(scale) == pytest.approx(float(row.half().abs().max()))


def test_integers_are_rounded_by_absmax_in_each_block() -> None:
    row = torch.tensor([7.0, 0.5, 1.5, 2.5, -7.0, *([0.4] * 11), 127.0, *([1.0] * 15)])
    code, back = number_line.codes(row, "int4", 16)
    assert code[:6].tolist() == [7, 0, 2, 2, -7, 0], "halves go to the even number, as in torch"
    assert code[16:].tolist() == [7] + [0] * 15 and float(back[16]) == 127, "an outlier takes its own block along"
    assert number_line.codes(row, "int8", 32)[0].tolist()[:4] == [7, 0, 2, 2]


def test_quantization_refuses_what_is_no_row() -> None:
    for wrong in (torch.zeros(16), torch.ones(15), torch.ones(2, 16), torch.ones(256)):
        with pytest.raises(ValueError, match="one row of at most 128"):
            interactives.quantization(wrong)
    data, _ = made("quantization", row_of_weights())
    assert data["weights"] == row_of_weights().double().tolist() and data["blocks"] == [16, 32, 64]


# ---------------------------------------------------------------- byte pairs


def test_merges_are_those_of_the_tokenizers_library() -> None:
    """Also where pairs are equally frequent, and a merged token is reached in two ways."""
    from collections import Counter

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = (
        "the old sailor saw the other sailors; they saw the old sea, and all the seas saw them: aaaa aaa. " * 3 + "海 大海"
    )
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.train_from_iterator([text], trainers.BpeTrainer(vocab_size=90, show_progress=False))
    theirs = [tuple(pair) for pair in json.loads(own.to_str())["model"]["merges"]]
    counted = Counter(byte_pairs._words(text))
    assert len(theirs) > 30 and [pair for pair, _ in byte_pairs.learn(counted, len(theirs))] == theirs
    assert byte_pairs.learn(Counter({"ab": 2}), 5) == [(("a", "b"), 2)], "stops where nothing is left to merge"


def test_a_sentence_is_cut_as_the_tokenizer_cuts_it(tiny_tokenizer: Fast) -> None:
    sentences = ["the old sailor looked at the sea", "sailors 1234", "大模型\n  at", "  the   sea"]
    data, html = made("bpe", "the sea and the old sea", tiny_tokenizer, sentences, merges=8)
    for sentence, shown in zip(sentences, data["sentences"], strict=True):
        parts = [list(word) for word in shown["words"]]
        for left, right, _ in shown["merges"]:
            parts = [byte_pairs.merged(word, (left, right)) for word in parts]
        assert [part for word in parts for part in word] == tiny_tokenizer.tokenize(sentence)
        ranks = [rank for *_, rank in shown["merges"]]
        assert ranks == sorted(set(ranks)), "no merge makes an earlier one possible"
        assert shown["ids"] == tiny_tokenizer(sentence)["input_ids"]
    assert data["tokenizer"] == len(json.loads(tiny_tokenizer.backend_tokenizer.to_str())["model"]["merges"])
    assert byte_pairs.seen("Ġthe") == "·the" and byte_pairs.seen("å") == "<1 bytes>" and "8 merges learnt" in html


def test_bpe_refuses_another_kind_of_tokenizer() -> None:
    from tokenizers import Tokenizer, models

    other = Fast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ValueError, match="no byte-level BPE"):
        interactives.bpe("a", other, ["a"])


# ---------------------------------------------------------------- low rank


def test_low_rank_keeps_what_the_singular_value_decomposition_says() -> None:
    update = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    data, html = made("lora", {"ΔW": update})
    (shown,) = data["updates"]
    np.testing.assert_allclose(shown["values"], torch.linalg.svdvals(update), rtol=1e-5)
    assert shown["squares"] == pytest.approx(sum(value**2 for value in shown["values"]), rel=1e-4)
    assert shown["ranks"] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40] and shown["shape"] == [40, 60]
    left, right = (2 * numbers(shown[side]) - 1 for side in ("left", "right"))
    left, right = left.reshape(16, 32), right.reshape(32, 28)
    u, values, v = torch.linalg.svd(update, full_matrices=False)
    for rank in (1, 4, 32):
        exact = (u[:, :rank] * values[:rank]) @ v[:rank]
        np.testing.assert_allclose((left[:, :rank] * shown["values"][:rank]) @ right[:rank], exact[:16, :28], atol=2e-3)
    corner = shown["largest"] * (2 * numbers(shown["corner"]) - 1)
    np.testing.assert_allclose(corner.reshape(16, 28), update[:16, :28], atol=1e-3)
    kept = float(values[:4].square().sum() / values.square().sum())
    assert f"Rank 4 of 40 keeps {100 * kept:.1f} %" in html


def test_low_rank_refuses_what_is_too_small_to_draw() -> None:
    with pytest.raises(ValueError, match=r"b has the shape \(4, 60\)"):
        interactives.lora({"a": torch.ones(40, 60), "b": torch.ones(4, 60)})


# ---------------------------------------------------------------- a group


def test_group_begins_as_it_is_told() -> None:
    data, html = made("grpo_group", ["long answer", "b"], lengths=[7, 1], rewards=[0, 1], probabilities=[3, 1])
    assert data["lengths"] == [7, 1] and data["rewards"] == [0, 1] and data["probabilities"] == [0.75, 0.25]
    rewards = torch.tensor([0.0, 1.0])
    theirs = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    assert f"Advantages of the answers: {theirs[0]:+.2f}, {theirs[1]:+.2f}" in html
    assert made("grpo_group", ["ab", "c", "d"])[0]["lengths"] == [2, 1, 1]
    with pytest.raises(ValueError, match="two to eight"):
        interactives.grpo_group(["alone"])
    with pytest.raises(ValueError, match="as many lengths"):
        interactives.grpo_group(["a", "b"], lengths=[1])


def test_a_still_picture_speaks_the_reader_s_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    made = interactives.quantization(torch.linspace(-1, 1, 16))._repr_html_()
    assert 'lang="zh"' in made and element.words("quantization", "zh")["still"] in made.split("<script")[0]
