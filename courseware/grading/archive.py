"""Archives that students and learning platforms make, read without trust: nothing is unpacked to a disk.

Python's own `zipfile` refuses a whole archive for one name that is flagged as UTF-8 and is not, or takes other alphabets'
names for those of an old PC. So the list of a zip is read here: names as bytes, decoded together.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from stat import S_IFMT, S_IFREG
from typing import BinaryIO

from . import student_names

SUFFIX = re.compile(r"\.(zip|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
FOREIGN = re.compile(r"\.(rar|7z|gz|bz2|xz|zipx|cab|dmg|iso)$", re.IGNORECASE)  # that cannot be opened here
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of a zip's central directory
_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_LIST = 100_000_000  # bytes of a list of files
_TAR = 2_000_000_000  # bytes that a tar may hold
_NOT_A_TAR = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)  # gzip's error is an OSError
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1  # a flag
_TIMES, _WIDE, _UNICODE_NAME = 0x5455, 0x0001, 0x7075  # extra fields
_CODE_PAGES = (0, 10)  # systems that write names in the code page of the machine: DOS, Windows


class Damaged(Exception):
    """It cannot be read; the message is the reason, for the student."""


@dataclass
class Member:
    """One file of an archive."""

    name: str
    size: int
    when: float  # seconds, 0 for a file without a date
    read: Callable[[BinaryIO, int], bytes]  # its first n bytes, from the opened archive
    folder: bool = False
    problem: str = ""


def is_zip(start: bytes) -> bool:
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def members(file: BinaryIO) -> list[Member]:
    """What an opened archive lists.

    Raises:
        Damaged: the list cannot be read.
    """
    start = file.read(8)
    file.seek(0)
    if is_zip(start):
        return _zip(file)
    if start.startswith(b"Rar!") or start.startswith(b"7z\xbc\xaf"):
        raise Damaged("it is a RAR or 7z archive, which cannot be opened here: hand in the .ipynb file, or a .zip")
    try:
        return _tar(file)
    except _NOT_A_TAR as error:
        if getattr(error, "errno", None):
            raise  # the machine's trouble, not the archive's
        raise Damaged("it is no archive that can be read: zip it anew") from None


def _zip(file: BinaryIO) -> list[Member]:
    try:
        size, start, shift = _end(file)
        if size > _LIST:
            raise Damaged("the zip lists more files than can be read")
        file.seek(start)
        entries = list(_entries(io.BytesIO(file.read(size)), shift))
        if any(not 0 <= entry.offset < start for entry in entries):
            raise ValueError
    except (struct.error, ValueError):
        raise Damaged("the zip is damaged: its list of files cannot be read") from None
    # a flag that says UTF-8 is believed only where it is true
    old = any(entry.system in _CODE_PAGES for entry in entries)
    read = iter(
        student_names.decoded([e.raw for e in entries if not e.unicode_name], otherwise="cp437" if old else "cp1252")
    )
    return [_member(entry, entry.unicode_name or next(read)) for entry in entries]


def _end(file: BinaryIO) -> tuple[int, int, int]:
    """Size and place of the central directory, and how many bytes stand before the archive."""
    length = file.seek(0, 2)
    back = min(length, _END.size + 0xFFFF + 76)
    file.seek(length - back)
    tail = file.read(back)
    at = tail.rfind(b"PK\x05\x06")
    _, _, _, _, count, size, offset, _ = _END.unpack(tail[at : at + _END.size])
    if 0xFFFFFFFF in (size, offset) or count == 0xFFFF:  # a 64-bit archive: the true numbers stand before
        wide = tail.rfind(b"PK\x06\x06", 0, at)
        if wide >= 0:
            at = wide
            size, offset = struct.unpack("<2Q", tail[at + 40 : at + 56])
    start = length - back + at - size
    if at < 0 or start < 0:
        raise ValueError
    return size, start, start - offset


@dataclass
class _Entry:
    raw: bytes
    unicode_name: str  # the name, where an extra field gives it in UTF-8
    system: int
    flags: int
    method: int
    when: float
    crc: int
    packed: int
    size: int
    mode: int
    offset: int


def _entries(data: BinaryIO, shift: int) -> Iterator[_Entry]:
    while head := data.read(_ENTRY.size):
        fields = _ENTRY.unpack(head)
        sign, made, _, flags, method, time, date, crc, packed, size, length, extras, comment, _, _, mode, offset = fields
        if sign != b"PK\x01\x02":
            raise ValueError
        raw, extra, _ = data.read(length), _extras(data.read(extras)), data.read(comment)
        if len(raw) < length:
            raise ValueError
        wide = io.BytesIO(extra.get(_WIDE, b""))
        size, packed, offset = (
            struct.unpack("<Q", wide.read(8))[0] if value == 0xFFFFFFFF else value for value in (size, packed, offset)
        )
        unicode_name = ""
        if (field := extra.get(_UNICODE_NAME, b""))[:1] == b"\x01" and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
            unicode_name = field[5:].decode("utf-8", "replace")
        when = _date(date, time)
        if (field := extra.get(_TIMES, b""))[:1] and field[0] & 1 and len(field) >= 5:
            when = float(struct.unpack("<l", field[1:5])[0])
        yield _Entry(raw, unicode_name, made >> 8, flags, method, when, crc, packed, size, mode >> 16, offset + shift)


def _extras(data: bytes) -> dict[int, bytes]:
    extras = {}
    while len(data) >= 4:
        number, length = struct.unpack("<2H", data[:4])
        extras[number], data = data[4 : 4 + length], data[4 + length :]
    return extras


def _date(date: int, time: int) -> float:
    """Seconds; 0 for a date that is none, as tools write that do not know it."""
    try:
        day = datetime(
            1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2, tzinfo=UTC
        )
    except ValueError:  # the 31st of February, and the like
        return 0.0
    return day.timestamp()


def _member(entry: _Entry, name: str) -> Member:
    kind = S_IFMT(entry.mode)
    problem = ""
    if kind not in (0, S_IFREG, 0o040000):
        problem = "it is a link or a device, not a file"
    elif entry.flags & _ENCRYPTED:
        problem = "it is encrypted: hand it in without a password"
    elif entry.method not in (_STORED, _DEFLATED):
        problem = f"it is packed in an uncommon way (method {entry.method}): zip it with the system's own program"
    folder = entry.raw.endswith((b"/", b"\\")) and not entry.size
    return Member(name, entry.size, entry.when, lambda file, most: _unpacked(file, entry, most), folder, problem)


def _unpacked(file: BinaryIO, entry: _Entry, most: int) -> bytes:
    file.seek(entry.offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise Damaged("the file cannot be read: the zip is damaged")
    *_, length, extras = _LOCAL.unpack(head)
    file.seek(length + extras, 1)
    wanted = min(most, entry.size + 1)  # not more than it says, whatever it unpacks to
    try:
        data = _inflated(file, entry, wanted)
    except zlib.error:
        raise Damaged("the file cannot be read: the zip is damaged") from None
    if most > entry.size and (len(data) != entry.size or zlib.crc32(data) != entry.crc):
        raise Damaged("the file cannot be read: the zip is damaged (its sum is another)")
    return data


def _inflated(file: BinaryIO, entry: _Entry, wanted: int) -> bytes:
    if entry.method == _STORED:
        return file.read(min(wanted, entry.packed))
    unpack, left, parts, got = zlib.decompressobj(-15), entry.packed, [], 0
    while got < wanted and not unpack.eof:
        waiting = unpack.unconsumed_tail or file.read(min(left, 1 << 16))
        left -= 0 if unpack.unconsumed_tail else len(waiting)
        if not waiting:
            break
        parts.append(unpack.decompress(waiting, wanted - got))
        got += len(parts[-1])
    return b"".join(parts)


def _tar(file: BinaryIO) -> list[Member]:
    members = []
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        total = 0
        for info in archive:
            total += info.size
            if total > _TAR:
                raise Damaged(f"the archive unpacks to more than {_TAR / 1e9:.0f} GB")
            problem = "" if info.isfile() or info.isdir() else "it is a link or a device, not a file"
            name = student_names.decoded([info.name.encode("utf-8", "surrogateescape")])[0]
            members.append(Member(name, info.size, float(info.mtime), _from_tar(info), info.isdir(), problem))
    return members


def _from_tar(info: tarfile.TarInfo) -> Callable[[BinaryIO, int], bytes]:
    def read(file: BinaryIO, most: int) -> bytes:
        try:
            with tarfile.open(fileobj=file, mode="r:*") as archive:
                inner = archive.extractfile(info)
                return inner.read(most) if inner else b""
        except _NOT_A_TAR as error:
            if getattr(error, "errno", None):
                raise
            raise Damaged("the file cannot be read: the archive is damaged") from None

    return read
