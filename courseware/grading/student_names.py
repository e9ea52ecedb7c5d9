"""Names of students and of their files: read from whatever bytes they came in, compared, and made into file names.

A name is kept as it came. What a file system cannot hold is written so that it can be read back, and two names that differ
never become one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_HIGH = re.compile(rb"(?:[\x81-\xfe][0-9][\x81-\xfe][0-9]|[\x80-\xff])+")  # GB18030 has digits in four-byte characters
_THREE = re.compile(rb"(?:[\x00-\x7f]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})+")
# what file systems refuse, and signs that change how the rest of a name is shown; "%" itself, so that it can be read back
_UNFIT = re.compile(r'[\x00-\x1f\x7f-\x9f%~/\\:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]|^[. ]|[. ]$')
_BYTES = 150  # of a student's file name: suffixes, and what a learning platform puts around it, still fit into 255
_RUN = re.compile(r"d+|w+|-+")
_STEP = re.compile(  # "FinalLab", "lab副本"
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff])(?=[A-Za-z])"
)
_LISTED = Path(__file__).with_name("homework_words.txt").read_text(encoding="utf-8")
_COMMON = frozenset(word for line in _LISTED.splitlines() if not line.startswith("#") for word in line.split())
_CHINESE = re.compile(
    r"第?[一二三四五六七八九十两]+[次个章节周组班课版]|第(?=\s|$)|实验报告|大作业|平时作业|课后作业|作业|作業|实验|實驗|实训|报告|報告|提交版?|最终版?|最後|最后"
    r"|终稿|定稿|草稿|初稿|修改版?|修订版?|改后|更新版?|新版|旧版|的?副本|复件|备份|附件|代码|源码|源代码|答案|解答|练习|習題|习题|课程|课堂"
    r"|新建文件夹|文件夹|文件|文档|下载|截图|图片|课设|完成版?|正确版?|迟交|补交|重交|已交|班级|小组|版本|學號|学号|姓名|同学"
    r"|レポート|課題|提出|最終版?|コピー|과제|제출|최종|복사본"
)
_MARK = "~"  # between what is left of a long name and its hash; in a name it is escaped


def decoded(raws: Iterable[bytes], otherwise: str = "cp1252") -> list[str]:
    """File names as text: UTF-8, or what Chinese Windows writes, or else `otherwise`; of one kind as far as can be."""
    raws = list(raws)
    if all(_decode(raw, "utf-8") is not None for raw in raws):
        return [raw.decode() for raw in raws]
    # an archive may hold two systems' names: what is surely UTF-8 says nothing about the others
    rest = [raw for raw in raws if not _surely_utf8(raw)]
    for encoding in ("gbk", "gb18030"):
        if all(_decode(raw, encoding) is not None for raw in rest):
            return [raw.decode("utf-8" if _surely_utf8(raw) else encoding) for raw in raws]
    return [_first(raw, ("utf-8", "gbk", "gb18030", otherwise)) for raw in raws]


def _surely_utf8(raw: bytes) -> bool:
    """Is it Chinese in UTF-8, and nothing that a name in GBK would be by chance, which has common signs only?"""
    return bool(not raw.isascii() and _THREE.fullmatch(raw)) and _decode(raw, "utf-8") is not None and not _common(raw)


def _common(raw: bytes) -> bool:
    return text_in(raw, "gb2312") is not None


def _first(raw: bytes, encodings: Iterable[str]) -> str:
    decoded_names = (_decode(raw, encoding) for encoding in encodings)
    return next((name for name in decoded_names if name is not None), raw.decode("latin-1"))


def _decode(raw: bytes, encoding: str) -> str | None:
    if not raw or raw.isascii():
        return raw.decode()
    if encoding.startswith("gb") and not looks_chinese(raw):
        return None
    return text_in(raw, encoding)


def text_in(raw: bytes, encoding: str) -> str | None:
    """The bytes as text; None where they are none in this encoding."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:  # the answer
        return None


def looks_chinese(raw: bytes) -> bool:
    """Do the bytes above 127 stand in groups, as two-byte characters do, and not one by one, as accented letters do?"""
    groups = [len(run) for run in _HIGH.findall(raw)]
    return sum(n for n in groups if n > 1) > sum(groups) / 2


def utf8(data: bytes) -> tuple[bytes, str]:
    """A text file as UTF-8, and what was done for it; files with a byte order mark are left as they are."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return data, ""
    if text_in(data, "utf-8") is not None:
        return data, ""
    for encoding, spoken in (("gbk", "GBK"), ("gb18030", "GB18030"), ("cp1252", "Windows-1252")):
        text = text_in(data, encoding) if encoding == "cp1252" or looks_chinese(data) else None
        if text is not None:
            return text.encode("utf-8"), f"the file is not UTF-8; it was read as {spoken}: please save it as UTF-8"
    return data, "the file is not UTF-8: save it as UTF-8"


def same(name: str) -> str:
    """What two spellings of one name have in common: composed and decomposed accents are the same letter."""
    return unicodedata.normalize("NFC", name)


def loose(name: str) -> str:
    """For comparing with a list of people: case, width, spaces and punctuation do not count; accents and vowel signs do."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LMN")


def words(name: str) -> list[str]:
    """The parts of a name that say who or what: letters and numbers apart, words like "homework" or "final" left out.

    Numbers of five digits and more stay: they are a student's.
    """
    spaced = _STEP.sub(" ", unicodedata.normalize("NFC", name))
    tokens = []
    for run in _RUN.findall("".join(_kind(sign) for sign in spaced)):
        text, spaced = spaced[: len(run)].casefold(), spaced[len(run) :]
        if run[0] == "d" and len(run) >= 5:
            tokens.append(text)
        elif run[0] == "w":
            tokens += [part for part in _CHINESE.sub(" ", text).split() if part not in _COMMON]
    return tokens


def _kind(sign: str) -> str:
    """d: a digit; w: part of a word; -: neither."""
    category = unicodedata.category(sign)
    return "d" if category == "Nd" else "w" if category[0] in "LMN" else "-"


def shown(name: str) -> str:
    """A name for people to read: signs that are no text are written out."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", name)


def as_file(name: str) -> str:
    """The name as a file name, percent-encoded where it must be; different names give different file names."""
    fit = _UNFIT.sub(_escaped, same(name)) or "%00"
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", fit):
        fit = f"{_escaped_text(fit[0])}{fit[1:]}"
    if len(fit.encode()) <= _BYTES:
        return fit
    digest = hashlib.sha256(fit.encode()).hexdigest()[:10]
    cut = fit.encode()[: _BYTES - len(digest) - 1].decode("utf-8", "ignore")
    return f"{re.sub(r'%[0-9A-F]?$', '', cut).rstrip('. ')}{_MARK}{digest}"


def _escaped(match: re.Match[str]) -> str:
    return _escaped_text(match[0])


def _escaped_text(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))
