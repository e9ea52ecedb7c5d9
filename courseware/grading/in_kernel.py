"""What the grader leaves in a student's kernel before anything of the student's runs: it asks the questions at the end.

Its source is sent into the box with wire.py's, so it stands alone. It has globals and builtins of its own, and it is
spoken to by a kind of message of its own (`REQUEST`), so that no name of the student's stands between grader and kernel:
`dict = {}`, `exec = None` and `get_ipython = None` are a student's good right. It holds no secret, and nothing that it
answers is believed.

A function is judged as it was when its tests ran, with the names it leaned on then. So after each cell the asker is told
whose it was, and remembers, by reference:

    given    what the lab's own cells have bound, the latest of each name
    judged   an exercise's own names, as they were when its cell, and then its tests, had run
    leaned   names of the student's other cells that these reach, also where such a name was the lab's before
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import json
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

REQUEST, REPLY = "course_request", "course_reply"
_MANY = 1_000  # objects that are looked at to find the code behind one name
_IPYTHONS = re.compile(r"_{1,3}|_i{1,3}|_[iod]h|_i?\d+|In|Out")  # names that change with every cell

Names = dict[str, Any]


class Asker:
    """Remembers a kernel's names, and calls functions beside them."""

    def __init__(self, shell: Any, tools: Names) -> None:
        self.shell, self.plain, self.encode, self.dumps = shell, tools["plain"], tools["encode"], json.dumps
        self.builtins = dict(vars(builtins))
        self.given: Names = {name: value for name, value in shell.user_ns.items() if not _IPYTHONS.fullmatch(name)}
        self.answered: dict[str, Names] = {}  # exercise → its names, as its own cell left them
        self.judged: dict[str, Names] = {}
        self.leaned: dict[str, Names] = {}
        self.settings: dict[str, list[tuple[Callable[[Any], object], Any]]] = {}
        self.ids: dict[str, int] = {}
        self.theirs: Names = {}  # what the last `tidy` has taken away
        self.put: Names = {}  # and what it has put in their place
        self._look()

    def __call__(self, what: str, arguments: list[Any]) -> Any:
        """Answer one request: the name of a method below, and its arguments."""
        methods: dict[str, Callable[..., Any]] = {
            "after": self.after, "tidy": self.tidy, "untidy": self.untidy, "ask": self.ask,
        }  # fmt: skip
        return methods[what](*arguments)

    def after(self, kind: str, exercise: str, names: list[str]) -> None:
        """A cell has run: one that was `given`, an exercise's `answer` or `tests`, or the student's `own`.

        `names` are those that it is known to bind; others are found by what has changed.
        """
        ns = self.shell.user_ns
        changed = {name: ns[name] for name in {*names, *self._changed()} if name in ns}
        if kind == "given":
            self.given.update(changed)
            for name in [name for name in self.given if name in self.ids and name not in ns]:
                del self.given[name]
            for judged in self.judged.values():  # as a lab may wrap what a student wrote
                judged.update({name: value for name, value in changed.items() if name in judged})
            for leaned in self.leaned.values():
                for name in changed.keys() & leaned.keys():
                    del leaned[name]
        elif kind == "answer":
            self.answered[exercise] = changed
            self._judge(exercise, changed)
        elif kind == "tests":
            self._judge(exercise, {*self.answered.get(exercise, {}), *names})
        self._look()

    def tidy(self, exercise: str) -> bool:
        """Put back what the student's own cells have covered; was there anything?"""
        ns = self.shell.user_ns
        wanted = {**self.given, **self.answered.get(exercise, {})}
        covered = [name for name in ns if name in self.builtins and name not in wanted]
        changed = [name for name, value in wanted.items() if name not in ns or ns[name] is not value]
        self.theirs = {name: ns[name] for name in (*covered, *changed) if name in ns}
        self.put = {name: wanted[name] for name in changed}
        for name in covered:
            del ns[name]
        ns.update(wanted)
        self._look()
        return bool(covered or changed)

    def untidy(self) -> None:
        """Give the student's names back that `tidy` has taken, but those that a cell has bound since."""
        ns = self.shell.user_ns
        as_put = [name for name in {*self.theirs, *self.put} if ns.get(name, self) is self.put.get(name, self)]
        for name in as_put:
            for names in (ns, self.ids):
                names.pop(name, None)
            if name in self.theirs:
                ns[name], self.ids[name] = self.theirs[name], id(self.theirs[name])
        self.theirs, self.put = {}, {}

    def ask(self, exercise: str, source: str, function: str) -> str:
        """Call a function of `source` beside the names that an exercise was judged by; returns its answer as JSON.

        Raises: whatever the function raises, and TypeError for an answer that is not plain data.
        """
        ns = self.shell.user_ns
        before = dict(ns)
        names = {name: value for name, value in before.items() if name not in self.builtins}
        for known in (self.given, *self.judged.values(), self.judged.get(exercise, {})):
            names |= known
        beside = {**names, "__builtins__": self.builtins}
        _put(ns, {**names, **self.leaned.get(exercise, {})})  # the question itself needs no helper of theirs
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # also where a student has made them errors
                _settle(self.settings.get(exercise, []))
                exec(compile(source, "<question>", "exec"), beside)
                return self.dumps(self.encode(self.plain(beside[function]())))
        finally:
            _put(ns, before)  # no question sees what another has left

    def _judge(self, exercise: str, names: Iterable[str]) -> None:
        """Remember an exercise's names as they are now, and what they reach that is not the lab's."""
        ns = self.shell.user_ns
        judged = self.judged[exercise] = {name: ns[name] for name in names if name in ns}
        reached = self._reached(judged)
        self.leaned[exercise] = {
            name: value for name, value in reached.items() if name not in judged and value is not self.given.get(name, self)
        }
        self.settings[exercise] = _settings()

    def _reached(self, names: Iterable[str]) -> Names:
        """The student's names that the functions behind these names mention, and those behind them, and so on."""
        ns = self.shell.user_ns
        reached: Names = {}
        todo = [*names]
        while todo:
            name = todo.pop()
            if name in ns and name not in reached:
                reached[name] = ns[name]
                todo += {n for code in _codes(ns[name]) for n in _mentioned(code)}
        return reached

    def _changed(self) -> Iterator[str]:
        for name, value in self.shell.user_ns.items():
            if self.ids.get(name) != id(value) and not _IPYTHONS.fullmatch(name):
                yield name

    def _look(self) -> None:
        self.ids = {name: id(value) for name, value in self.shell.user_ns.items()}


def _put(ns: Names, names: Names) -> None:
    """Have a kernel's names be these. It stays the same dictionary, which functions hold on to."""
    for name in [name for name in ns if name not in names]:
        del ns[name]
    ns.update(names)


def _codes(value: Any) -> Iterator[types.CodeType]:
    """The code behind a function, also a wrapped one, a class, an object, or several of these."""
    todo = [value]
    seen: set[int] = set()
    for part in todo:  # it grows
        if id(part) in seen or len(seen) > _MANY:
            continue
        seen.add(id(part))
        if isinstance(part, types.FunctionType) and part.__module__ == "__main__":
            yield part.__code__
        todo += itertools.islice(_parts(part), _MANY)


def _parts(value: Any) -> Iterable[Any]:
    """What may hold code behind a value."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
        return (
            [*cells, vars(value).get("__wrapped__"), *(value.__defaults__ or ())] if value.__module__ == "__main__" else []
        )
    if isinstance(value, (staticmethod, classmethod, types.MethodType)):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, type):
        return [*vars(value).values(), *value.__bases__] if value.__module__ == "__main__" else []
    if isinstance(value, (list, tuple, set, dict)):
        return value.values() if isinstance(value, dict) else value
    if hasattr(type(value), "__wrapped__") or "__wrapped__" in getattr(value, "__dict__", {}):
        return [value.__wrapped__]  # functools.lru_cache
    if type(value).__module__ == "__main__" or (callable(value) and not isinstance(value, types.BuiltinFunctionType)):
        return [type(value), *getattr(value, "__dict__", {}).values()]  # an object of theirs, or np.vectorize(theirs)
    return []


def _mentioned(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _mentioned(constant)


def _settings() -> list[tuple[Callable[[Any], object], Any]]:
    """Settings of the whole process that a function leans on without a name: what sets each, and its value."""
    settings: list[tuple[Callable[[Any], object], Any]] = [
        (os.chdir, _folder()),
        (sys.setrecursionlimit, sys.getrecursionlimit()),
    ]
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        settings += [(lambda kinds: numpy.seterr(**kinds), numpy.geterr())]
    if torch is not None:
        settings += [(torch.set_default_dtype, torch.get_default_dtype()), (torch.set_grad_enabled, torch.is_grad_enabled())]
    return settings


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "/"


def _settle(settings: list[tuple[Callable[[Any], object], Any]]) -> None:
    for put, value in settings:
        with contextlib.suppress(OSError, RecursionError):  # the student left a folder or a setting that cannot be had back
            put(value)


def install(shell: Any, tools: Names) -> None:
    """Have the kernel take requests, and make the ways to end it inert: after exit() a notebook goes on, as in Jupyter."""
    kernel, asker = shell.kernel, Asker(shell, tools)

    def handle(stream: Any, ident: Any, message: Names) -> None:
        content: Names = {}
        try:
            content["answer"] = asker(message["content"]["what"], message["content"]["arguments"])
        except BaseException as error:
            content["error"] = f"{type(error).__name__}: {error}"[:1000]
        kernel.session.send(stream, REPLY, content, message, ident=ident)

    kernel.shell_handlers[REQUEST] = handle
    shell.unobserve_all("exit_now")  # whoever sets it, exit(), quit() or do_shutdown(), would stop the kernel's loop
