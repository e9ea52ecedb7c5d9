"""What a reader sees of explorers, predictions and quizzes: one table, whose texts hold `{name}` where a value goes."""

from __future__ import annotations

from .language import N_, t

# of a lab; rerun.py looks for it in what a notebook printed
SUMMARY = (
    N_("{done} of {all} exercises pass their visible tests."),
    N_("{done} of {all} exercises pass their visible tests, {earned} of their {most} points."),
)
WORDS = {
    "predict": N_("Predict:"),
    "commit": N_("Commit"),
    "check": N_("Check"),
    "answer": N_("Answer"),
    "measured": N_("What came out"),
    "right": N_("Right."),
    "wrong": N_("Not this time."),
    "said": N_("You said {said}."),
    "noted": N_("Noted: {said}. The answer comes after the experiment."),
    "choose": N_("Choose an answer first."),
    "number": N_("Write a number first."),
    "within": N_("(within {share} counts as right)"),
    "score": N_("{right} of {all} right."),
    "colon": N_(":"),  # between an option and its explanation
    "your answer": N_("your answer"),
    "controls": N_("Controls of the picture"),
    "parts": N_("Values shown here: {parts}. Run the notebook for all."),
    "part": N_("{label} {few} of {all}"),
    "examples": N_("{label} {few} examples"),
    "static": N_(
        "Scripts are off here, so this stays as it is. To move it, open the page with scripts, or run the notebook."
    ),
}


def word(name: str) -> str:
    """One of them in the reader's language; what it holds in braces stays."""
    return t(WORDS[name])
