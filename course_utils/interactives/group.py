"""A group of answers as GRPO sees it: rewards, advantages, weights of tokens, and what a step does to the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..language import t
from .element import Interactive, words
from .svg import Drawing

EPSILON = 1e-4  # added to the standard deviation, as in TRL


def grpo_group(
    texts: Sequence[str],
    lengths: Sequence[int] | None = None,
    rewards: Sequence[float] | None = None,
    probabilities: Sequence[float] | None = None,
) -> Interactive:
    """Show a group's advantages and a step of policy gradient; the reader says which answers are right.

    >>> interactives.grpo_group(["+8=42*7=94!94.", "!94.", "!61."], rewards=[1, 1, 0], probabilities=[0.017, 0.02, 0.01])

    Advantage: reward minus the group's mean, divided by the standard deviation (n - 1, plus 1e-4) or not. Weight of each
    token: the advantage divided by the text's own length (GRPO), by the group's mean length (DAPO), or by the longest length
    (a constant, as in Dr. GRPO). The step: a softmax over these texts alone, whose logits move along the gradient of
    Σ weight · log p, times the longest length.

    Args:
        texts: two to eight answers to one problem.
        lengths: tokens of each; otherwise its letters are counted.
        rewards: 0 or 1 at the start; otherwise the first is right.
        probabilities: of each before the step, up to a common factor; otherwise all the same.

    Raises:
        ValueError: another number of texts, or lists of different lengths.
    """
    n = len(texts)
    lengths = lengths or [len(text) for text in texts]
    rewards = rewards or [1.0] + [0.0] * (n - 1)
    probabilities = probabilities or [1.0] * n
    if not 2 <= n <= 8 or {len(lengths), len(rewards), len(probabilities)} != {n}:
        raise ValueError(
            t("Give two to eight texts, and as many lengths, rewards and probabilities; here {count} texts.", count=n)
        )
    data = {
        "texts": list(texts),
        "lengths": [int(length) for length in lengths],
        "rewards": [float(reward) for reward in rewards],
        "probabilities": [p / sum(probabilities) for p in probabilities],
        "epsilon": EPSILON,
    }
    return Interactive("grpo_group", data, _still(data))


def _still(data: dict[str, Any]) -> Drawing:
    """Texts, rewards and advantages with the standard deviation."""
    say, rewards, n = words("grpo_group"), data["rewards"], len(data["texts"])
    mean = sum(rewards) / n
    deviation = (sum((reward - mean) ** 2 for reward in rewards) / (n - 1)) ** 0.5
    gains = [(reward - mean) / (deviation + data["epsilon"]) for reward in rewards]
    largest = max([abs(gain) for gain in gains] + [1e-9])
    label = say["stillLabel"].format(gains=", ".join(f"{gain:+.2f}" for gain in gains))
    picture = Drawing(480, 34 + 30 * n, label)
    picture.text(0, 16, say["advantage"], kind="fs-text fs-strong")
    picture.line(330, 26, 330, 26 + 30 * n, kind="fs-axis")
    for i, (text, reward, gain) in enumerate(zip(data["texts"], rewards, gains, strict=True)):
        y = 46 + 30 * i
        picture.text(0, y, f"{text}   r = {reward:g}")
        picture.bar(330 + min(0.0, 90 * gain / largest), y - 13, abs(90 * gain / largest), 17)
        picture.text(480, y, f"{gain:+.2f}", anchor="end")
    return picture
