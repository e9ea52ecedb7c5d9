"""System calls that a box does without: a seccomp filter, as the kernel takes it.

Some have opened boxes before. Others carry a word from one box to another, or from one kernel to the next, by way of the
files that all boxes read: locks, leases and notices on them, and what of them is in memory. Others hold memory that no
process can be blamed for. Where honest programs call them for what they do not need here, the call is answered with success
and does nothing: databases and caches lock their own files, and nobody else is in the box.
"""

from __future__ import annotations

import platform
import struct

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, sched.h
_FOREIGN = 0x40000000  # x32's numbers begin here
_SOCKETS = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that a network namespace, or the box, confines
_LOCK = (6, 7, 37, 38)  # fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
# F_GETLK, F_OFD_GETLK, F_SETLEASE, F_GETLEASE, F_NOTIFY, F_*_RW_HINT
_ASK_LOCK = (5, 36, 1024, 1025, 1026, 1035, 1036, 1037, 1038)
_EVICT = (20, 21)  # madvise: MADV_COLD, MADV_PAGEOUT
_DUMPABLE = 4  # prctl: PR_SET_DUMPABLE, which hides a process from the grader's eyes

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h; with the error's number, and 0 is success
_DONE, _NOT_PERMITTED, _NO_SUCH_CALL, _NO_SUCH_FAMILY, _NOT_SUPPORTED = 0, 1, 38, 97, 95  # asm-generic/errno.h

Step = tuple[int, int, int, int]


# Each call's number on x86_64 and aarch64. libseccomp could look it up, but neither bubblewrap nor pyseccomp brings that
# library, and one that is older than the kernel does not know the newest calls. Where it is installed a test compares.
_SYSTEM_CALLS = {
    "add_key": (248, 217), "bpf": (321, 280), "cachestat": (451, 451), "clone": (56, 220), "clone3": (435, 435),
    "delete_module": (176, 106), "fadvise64": (221, 223), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "fcntl": (72, 25), "finit_module": (313, 273), "flock": (73, 32), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "inotify_add_watch": (254, 27),
    "io_setup": (206, 0), "io_submit": (209, 2), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "madvise": (28, 233), "memfd_create": (319, 279), "memfd_secret": (447, 447), "mincore": (27, 232), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "msgget": (68, 186), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "prctl": (157, 167), "preadv2": (327, 286), "process_madvise": (440, 440),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "pwritev2": (328, 287),
    "request_key": (249, 218), "sched_setaffinity": (203, 122), "semget": (64, 190), "setns": (308, 268),
    "shmget": (29, 194), "socket": (41, 198), "socketpair": (53, 199), "syslog": (103, 116), "umount2": (166, 39),
    "unshare": (272, 97), "userfaultfd": (323, 282),
}  # fmt: skip
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_DANGEROUS = (
    "ptrace", "process_vm_readv", "process_vm_writev", "add_key", "request_key", "keyctl", "bpf", "perf_event_open",
    "userfaultfd", "mount", "umount2", "pivot_root", "setns", "unshare", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "open_by_handle_at", "syslog", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "pidfd_getfd",
    "process_madvise", "mount_setattr", "open_tree_attr",
)  # fmt: skip
# clone3: its flags lie behind a pointer; without it the C library takes clone
_MISSING = (
    "inotify_add_watch", "fanotify_init", "fanotify_mark", "mincore", "io_setup", "io_submit", "shmget", "msgget",
    "semget", "memfd_create", "clone3", "memfd_secret", "cachestat",
)  # fmt: skip
_INERT = ("flock", "fadvise64", "sched_setaffinity")


def forbidden() -> bytes:
    """The filter's program for this machine, `struct sock_filter` after `struct sock_filter`; empty for other machines."""
    if platform.machine() not in _MACHINES:
        return b""
    of = numbers(platform.machine())
    ours = _MACHINES[platform.machine()]
    steps: list[Step] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, ours), _refuse(_NOT_PERMITTED)]
    steps += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _FOREIGN), _refuse(_NOT_PERMITTED)]
    steps += _calls([of[name] for name in _DANGEROUS], _NOT_PERMITTED)
    steps += _calls([of[name] for name in _MISSING], _NO_SUCH_CALL)
    steps += _calls([of[name] for name in _INERT], _DONE)
    steps += _argument(of["fcntl"], 1, _EQUAL, _LOCK, _DONE)
    steps += _argument(of["fcntl"], 1, _EQUAL, _ASK_LOCK, _NOT_PERMITTED)
    steps += _argument(of["madvise"], 2, _EQUAL, _EVICT, _DONE)
    steps += _argument(of["prctl"], 0, _EQUAL, (_DUMPABLE,), _NOT_PERMITTED)
    for name in ("preadv2", "pwritev2"):  # RWF_NOWAIT asks what is in memory, RWF_DONTCACHE removes it
        steps += _argument(of[name], 5, _ANY_BIT, (0xFFFFFFFF,), _NOT_SUPPORTED)
    for name in ("socket", "socketpair"):
        steps += _argument(of[name], 0, _EQUAL, _SOCKETS, _NO_SUCH_FAMILY, otherwise=True)
    steps += _argument(of["clone"], 0, _ANY_BIT, (_NEW_NAMESPACES,), _NOT_PERMITTED)
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def numbers(machine: str) -> dict[str, int]:
    """Name of a system call → its number on a machine of this kind."""
    place = list(_MACHINES).index(machine)
    return {name: both[place] for name, both in _SYSTEM_CALLS.items()}


def _refuse(error: int) -> Step:
    return _RETURN, 0, 0, _ERRNO | error


def _calls(wanted: list[int], error: int) -> list[Step]:
    """Answer these calls with an error."""
    return [
        *((_EQUAL, len(wanted) - i, 0, number) for i, number in enumerate(sorted(wanted))),
        (_AT_LEAST, 1, 1, 0),  # always: past the answer
        _refuse(error),
    ]


def _argument(call: int, place: int, how: int, values: tuple[int, ...], error: int, otherwise: bool = False) -> list[Step]:
    """Answer a call with an error when the low half of one of its arguments fits one of `values`; `otherwise`: fits none."""
    last = len(values) - 1
    past = int(otherwise)  # the step after the last comparison is the answer
    fits = [(how, last - i + past, 0 if i < last else 1 - past, value) for i, value in enumerate(values)]
    inner = [(_LOAD, 0, 0, _ARGUMENTS + 8 * place), *fits, _refuse(error), (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(inner), call), *inner]
