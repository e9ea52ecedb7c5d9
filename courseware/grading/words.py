"""What students read on a feedback page, in English and in Chinese.

Results are kept in English, as plain sentences; `reason` puts those that the grader itself writes into another language.
Messages of Python and of an author's tests stay as they are.
"""

from __future__ import annotations

import re
from functools import lru_cache

LANGUAGES = ("en", "zh")

_TABLE = {
    "points": ("{earned} of {most} points", "{earned} / {most} 分"),
    "file": ("Graded file: {file}", "评分的文件：{file}"),
    "late": ("handed in late", "迟交"),
    "exercises": ("Exercises", "练习"),
    "full": ("all tests passed", "全部测试通过"),
    "by hand": ("points given by your teacher", "分数由教师评定"),
    "teacher": ("Your teacher: {text}", "教师评语：{text}"),
    "cell": ("its cell: {text}", "单元格出错：{text}"),
    "visible": ("visible tests: {text}", "可见测试：{text}"),
    "evidence": (
        "visible tests: they passed, but the function does not return what they should have seen",
        "可见测试：测试通过了，但函数没有返回测试应当看到的结果",
    ),
    "unconfirmed": (
        "visible tests: they passed, but that could not be confirmed{text}",
        "可见测试：测试通过了，但无法确认{text}",
    ),
    "hidden": ("hidden tests: not passed{text}", "隐藏测试：未通过{text}"),
    "because": ("it fails for: {text}", "未通过的情况：{text}"),
    "because one of": ("it fails for one of these: {text}", "未通过的是以下情况之一：{text}"),
    "missing": (
        "The package {text} is not installed where labs are graded. Use only what the lab itself imports.",
        "评分环境中没有安装 {text}。请只使用实验本身导入的包。",
    ),
    "note": ("{text}", "{text}"),
    "notebook": ("Your notebook, as it ran", "你的 notebook（评分时的运行结果）"),
    "visible tests": ("visible tests", "可见测试"),
    "hidden tests": ("hidden tests", "隐藏测试"),
    "output": ("output, {lines} lines", "输出，共 {lines} 行"),
    "stopped": ("…the rest is left out", "……其余省略"),
    "no page": ("Your notebook could not be shown here: {text}. Your grade does not depend on it.",
                "无法在此显示你的 notebook：{text}。这不影响你的成绩。"),
    "plain cell": ("shown as plain text: {text}", "以纯文本显示：{text}"),
    "took too long": ("it took too long", "耗时过长"),
    "memory": ("it needed too much memory", "占用内存过多"),
    "form": ("its formatting could not be read", "格式无法解析"),
}  # fmt: skip

# what restore.py, one.py, session.py and box.py say; {} stands for anything
_REASONS = {
    "graded WITHOUT a box (--unsafe)": "未在沙箱中评分（--unsafe）",
    "not answered": "未作答",
    "no cell with this exercise was found in the notebook": "notebook 中没有找到该练习的单元格",
    "its cell had another type than code; it was run as code": "该单元格不是代码类型，已按代码运行",
    "its cell was split; the parts were joined": "该单元格被拆分，已合并各部分",
    "answered more than once; the last one counts": "有多个答案，以最后一个为准",
    "none of the exercises of {} is in this notebook: is it another lab's?": "notebook 中没有 {} 的练习：是否交错了实验？",
    "none of the exercises of {} was found": "没有找到 {} 的任何练习",
    "the file is empty": "文件为空",
    "the file is not a notebook: its JSON is nested too deep": "文件不是 notebook：JSON 嵌套过深",
    "the file is not a notebook: it is not JSON (from {} on)": "文件不是 notebook：不是 JSON（自 {} 起）",
    "the file is JSON, but not a notebook": "文件是 JSON，但不是 notebook",
    "the file is JSON, but not a notebook: it has no cells": "文件是 JSON，但不是 notebook：没有单元格",
    "the notebook has {} cells, and a lab has less than {}": "notebook 有 {} 个单元格，而实验少于 {} 个",
    "the file has {} MB; at most {} MB can be graded": "文件大小为 {} MB，最多只能评 {} MB",
    "the file cannot be read ({})": "文件无法读取（{}）",
    "could not be graded, please look at it: {}": "未能评分，请教师查看：{}",
    "ran longer than {} s": "运行超过 {} 秒",
    "the notebook ran longer than {} s": "notebook 运行超过 {} 秒",
    "printed more than {} MB": "输出超过 {} MB",
    "used more than {} GB of memory": "占用内存超过 {} GB",
    "left no memory to the cells after it, of {} GB": "没有给后面的单元格留下内存（共 {} GB）",
    "started more than {} processes and threads": "启动了超过 {} 个进程和线程",
    "wrote more than {} MB to disk": "写入磁盘超过 {} MB",
    "the kernel died": "内核崩溃",
    "the kernel died again and again": "内核多次崩溃",
    "the kernel did not start": "内核未能启动",
    "did not run": "没有运行",
    "was not asked": "没有执行",
}


def say(lang: str, key: str, **values: object) -> str:
    """One sentence of the table."""
    return _TABLE[key][LANGUAGES.index(lang)].format(**values)


def sentence(said: list[list[str]], lang: str = "en") -> str:
    """All that is said of an exercise, in one line."""
    return "; ".join(told(lang, key, text) for key, text in together(said))


def together(said: list[list[str]]) -> list[list[str]]:
    """The same, with the kinds of input that fail in one sentence, and without them where the answer's own cell failed."""
    kinds = [text for key, text in said if key == "because"]
    left_out = {"because", "because one of"} if any(key == "cell" for key, _ in said) and not kinds else {"because"}
    found = [[key, text] for key, text in said if key not in left_out]
    return [*found, ["because", "; ".join(kinds)]] if kinds else found


def told(lang: str, key: str, text: str) -> str:
    """One thing that is said of an exercise: a key of the table and a text that grading found out."""
    if key in ("cell", "visible") and text.startswith("AssertionError: "):  # the rest is a sentence for people
        text = text.removeprefix("AssertionError: ")
    if text.startswith(": "):
        return say(lang, key, text=f": {reason(lang, text[2:])}")
    return say(lang, key, text=reason(lang, text))


def reason(lang: str, text: str) -> str:
    """A sentence of the grader's in another language; anything else as it is."""
    if lang == "en":
        return text
    for pattern, template in _patterns():
        if match := pattern.fullmatch(text):
            return template.format(*match.groups())
    first, mark, rest = text.partition("; ")  # several sentences, one of which may hold a semicolon of its own
    return f"{reason(lang, first)}；{reason(lang, rest)}" if mark and reason(lang, first) != first else text


@lru_cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile("(.+?)".join(map(re.escape, sentence.split("{}")))), template) for sentence, template in _REASONS.items()
    ]
