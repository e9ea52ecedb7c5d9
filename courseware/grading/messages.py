"""What students read on a feedback page, in English and in Chinese.

Results are kept in English, as plain sentences; `reason` puts those that the grader itself writes into another language.
Messages of Python and of an author's tests stay as they are.
"""

from __future__ import annotations

import re
from functools import lru_cache

LANGUAGES = ("en", "zh")

_TABLE = {
    "no verdict": ("no grade yet", "尚无成绩"),
    "points": ("{earned} of {most} points", "{earned} / {most} 分"),
    "file": ("Graded file: {file}", "评分的文件：{file}"),
    "late": ("handed in late", "迟交"),
    "exercises": ("Exercises", "练习"),
    "full": ("all tests passed", "全部测试通过"),
    "by hand": ("points given by your teacher", "分数由教师评定"),
    "teacher": ("Your teacher: {text}", "教师评语：{text}"),
    "cell": ("its cell: {text}", "单元格出错：{text}"),
    "visible": ("visible tests: {text}", "公开测试：{text}"),
    "evidence": (
        "visible tests: they passed, but the function does not return what they should have seen",
        "公开测试：测试通过了，但函数没有返回测试应当看到的结果",
    ),
    "unconfirmed": (
        "visible tests: they passed, but that could not be confirmed{text}",
        "公开测试：测试通过了，但无法确认{text}",
    ),
    "hidden": ("hidden tests: not passed{text}", "隐藏测试：未通过{text}"),
    "because": ("it fails for: {text}", "未通过的情况：{text}"),
    "because one of": ("it fails for one of these: {text}", "未通过的是以下情况之一：{text}"),
    "missing": (
        "The package {text} is not installed where labs are graded. Use only what the lab itself imports.",
        "评分环境中没有安装 {text}。请只使用实验本身导入的包。",
    ),
    "note": ("{text}", "{text}"),
    "notebook": ("Your notebook, as it ran", "你的笔记本（评分时的运行结果）"),
    "visible tests": ("visible tests", "公开测试"),
    "hidden tests": ("hidden tests", "隐藏测试"),
    "output": ("output, {lines} lines", "输出，共 {lines} 行"),
    "stopped": ("…the rest is left out", "……其余省略"),
    "no page": ("Your notebook could not be shown here: {text}. Your grade does not depend on it.",
                "无法在此显示你的笔记本：{text}。这不影响你的成绩。"),
    "plain cell": ("shown as plain text: {text}", "以纯文本显示：{text}"),
    "took too long": ("it took too long", "耗时过长"),
    "memory": ("it needed too much memory", "占用内存过多"),
    "form": ("its formatting could not be read", "格式无法解析"),
}  # fmt: skip

# what restore.py, autograde.py, execution.py, session.py and box.py say; {} stands for anything
_REASONS = {
    "graded WITHOUT a box (--unsafe)": "未在沙箱中评分（--unsafe）",
    "not answered": "未作答",
    "no cell with this exercise was found in the notebook": "笔记本中没有找到该练习的单元格",
    "its cell had another type than code; it was run as code": "该单元格不是代码类型，已按代码运行",
    "its cell was split; the parts were joined": "该单元格被拆分，已合并各部分",
    "answered more than once; the last one counts": "有多个答案，以最后一个为准",
    "none of the exercises of {} is in this notebook: is it another lab's?": "笔记本中没有 {} 的练习：是否交错了实验？",
    "none of the exercises of {} was found": "没有找到 {} 的任何练习",
    "the file is empty": "文件为空",
    "the file is not a notebook: its JSON is nested too deep": "文件不是笔记本：JSON 嵌套过深",
    "the file is not a notebook: it is not JSON (from {} on): download it again, as .ipynb":
        "文件不是笔记本：不是 JSON（自 {} 起）：请重新下载 .ipynb 文件",
    "the file is JSON, but not a notebook": "文件是 JSON，但不是笔记本",
    "the file is JSON, but not a notebook: it has no cells": "文件是 JSON，但不是笔记本：没有单元格",
    "the notebook has {} cells, and a lab has less than {}": "笔记本有 {} 个单元格，而实验少于 {} 个",
    "the file has {} MB; at most {} MB can be graded": "文件大小为 {} MB，最多只能评 {} MB",
    "the file cannot be read ({})": "文件无法读取（{}）",
    "could not be graded, please look at it: {}": "未能评分，请教师查看：{}",
    "ran longer than {} s": "运行超过 {} 秒",
    "the notebook ran longer than {} s": "笔记本运行超过 {} 秒",
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
    "not asked": "没有执行",
    "not asked, for the visible tests {}": "没有执行，因为公开测试{}",
    "answered more than once; the one that passes the visible tests counts": "有多个答案，以通过公开测试的为准",
    "counted as it was handed in, right after its visible tests": "按提交时的样子、在公开测试之后立即评分",
    "made more than {} files": "创建了超过 {} 个文件",
    "opened more than {} sockets": "打开了超过 {} 个套接字",
    "hid a process, so that nobody can see what it uses": "隐藏了一个进程，无法得知它占用了什么",
    "wrote into the folder of its kernel's sockets": "写入了内核套接字所在的文件夹",
    "left something running ({})": "有程序没有结束（{}）",
    "there was no time left for it": "已没有剩余时间运行它",
    "its kernel ended before anything ran in it: {}": "内核在运行任何代码之前就结束了：{}",
    "kept the kernel busy for {} s after its end": "单元格结束后仍占用内核 {} 秒",
    "`{}` did not run here: {}": "`{}` 在评分环境中没有运行：{}",
    "`{}` did not run: there is no module {} here (a file of yours? put its code in the notebook)":
        "`{}` 没有运行：评分环境中没有模块 {}（是你自己的文件吗？请把其中的代码写进笔记本）",
    "the file has more than {} million values: save it without its outputs":
        "文件中值的个数（百万）超过 {}：请清除输出后再保存",
    "the file needs more memory than a grader has: save it without its outputs":
        "读取它所需的内存过多：请清除输出后再保存",
    "the notebook has more than {} million characters of code": "笔记本代码的字符数（百万）超过 {}",
    "the file is not a notebook: it is not UTF-8{}": "文件不是笔记本：编码不是 UTF-8{}",
    # intake.py, uploads.py and archive.py
    "there is no notebook: {} is {}; hand in the .ipynb file itself": "没有笔记本：{} 是{}；请提交 .ipynb 文件本身",
    "a PDF": "PDF 文件", "a web page": "网页", "a Python script": "Python 脚本", "a Word file": "Word 文档",
    "a text document": "文本文档", "a picture": "图片", "a table": "表格", "a spreadsheet": "电子表格", "slides": "幻灯片",
    "the folder is empty: nothing was handed in": "文件夹是空的：没有提交任何文件",
    "several notebooks of this lab were handed in, and it is not clear which one is yours":
        "提交了本实验的多个笔记本，无法判断哪一个是你的",
    "the file is not UTF-8; it was read as {}: please save it as UTF-8": "文件不是 UTF-8 编码，已按 {} 读取：请另存为 UTF-8",
    "the file is not UTF-8: save it as UTF-8": "文件不是 UTF-8 编码：请另存为 UTF-8",
    "the file {} cannot be read now ({})": "文件 {} 现在无法读取（{}）",
    "the file cannot be read just now ({})": "文件现在无法读取（{}）",
    "it is a RAR or 7z archive, which cannot be opened here: hand in the .ipynb file, or a .zip":
        "这是 RAR 或 7z 压缩包，无法在此打开：请提交 .ipynb 文件或 .zip",
    "it is an archive that cannot be opened here: hand in the .ipynb file, or a .zip":
        "这种压缩包无法在此打开：请提交 .ipynb 文件或 .zip",
    "it is no archive that can be read: zip it anew": "压缩包无法读取：请重新压缩",
    "the zip lists more files than can be read": "压缩包中的文件过多，无法读取",
    "the zip is damaged: its list of files cannot be read": "压缩包已损坏：无法读取其文件列表",
    "the file cannot be read: the zip is damaged": "文件无法读取：压缩包已损坏",
    "the file cannot be read: the zip is damaged (its sum is another)": "文件无法读取：压缩包已损坏（校验和不符）",
    "the file cannot be read: the archive is damaged": "文件无法读取：压缩包已损坏",
    "the archive unpacks to more than {} GB": "压缩包解压后超过 {} GB",
    "an archive of {} GB in another": "压缩包中还有一个 {} GB 的压缩包",
    "more than {} archives lie one in another": "压缩包嵌套超过 {} 层",
    "it holds {} files; at most {} can be read": "其中有 {} 个文件，最多只能读取 {} 个",
    "it lies more than {} folders deep": "它所在的文件夹超过 {} 层",
    "it is encrypted: hand it in without a password": "文件已加密：请提交没有密码的文件",
    "it is packed in an uncommon way (method {}): zip it with the system's own program":
        "压缩方式不常见（方法 {}）：请用系统自带的程序压缩",
    "it is a link or a device, not a file": "这是链接或设备，不是文件",
    "it is a link, not a file": "这是链接，不是文件",
    "it is a pipe or a device, not a file": "这是管道或设备，不是文件",
    "its name in the zip leads out of the zip": "它在压缩包中的名字指向压缩包之外",
}  # fmt: skip


def say(lang: str, key: str, **values: object) -> str:
    """One sentence of the table."""
    return _TABLE[key][LANGUAGES.index(lang)].format(**values)


def sentence(entries: list[list[str]], lang: str = "en") -> str:
    """All that is said of an exercise, in one line."""
    return "; ".join(translated(lang, key, text) for key, text in together(entries))


def together(entries: list[list[str]]) -> list[list[str]]:
    """The same, with the kinds of input that fail in one sentence, and without them where the answer's own cell failed."""
    kinds = [text for key, text in entries if key == "because"]
    left_out = {"because", "because one of"} if any(key == "cell" for key, _ in entries) and not kinds else {"because"}
    merged = [[key, text] for key, text in entries if key not in left_out]
    return [*merged, ["because", "; ".join(kinds)]] if kinds else merged


def translated(lang: str, key: str, text: str) -> str:
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
            return template.format(*(reason(lang, part) for part in match.groups()))
    first, mark, rest = text.partition("; ")  # several sentences, one of which may hold a semicolon of its own
    return f"{reason(lang, first)}；{reason(lang, rest)}" if mark and reason(lang, first) != first else text


@lru_cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile("(.+?)".join(map(re.escape, sentence.split("{}")))), template) for sentence, template in _REASONS.items()
    ]
