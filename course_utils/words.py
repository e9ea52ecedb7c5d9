"""What a reader sees of explorers, predictions and quizzes: one table, whose texts hold `{name}` where a value goes."""

WORDS = {
    "predict": "Predict",
    "commit": "Commit",
    "check": "Check",
    "answer": "Answer",
    "measured": "What came out",
    "right": "Right.",
    "wrong": "Not this time.",
    "said": "You said {said}.",
    "noted": "Noted: {said}. The answer comes after the experiment.",
    "choose": "Choose an answer first.",
    "number": "Write a number first.",
    "within": "within {share} counts as right",
    "score": "{right} of {all} right.",
    "your answer": "your answer",
    "controls": "Controls of the picture",
    "static": "Scripts are off here, so this stays as it is. To move it, open the page with scripts, or run the notebook.",
}
