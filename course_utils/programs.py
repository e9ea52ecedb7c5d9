"""A program made of functions that were written in a notebook, with everything of the notebook that they use."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import re
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from types import FunctionType, ModuleType
from typing import Any

from .errors import CourseError
from .language import t

_ABSENT = object()
_NOTEBOOK = {"display", "get_ipython"}  # IPython puts them among Python's own names


class NotCarried(CourseError):
    """The functions use something that no program can hold."""


def program(head: str, functions: Sequence[Callable[..., Any]], tail: str = "") -> str:
    """Source of a program: `head`, the functions with what they use, `tail`.

    What a function uses and neither it nor `head` makes is looked up where the function was written. Its own helper
    functions and classes are copied, with what *they* use; of modules, and of what comes from a module, the import is
    put among the first of `head`, in the usual order; numbers, strings, patterns, and lists or dicts of these become
    assignments.

    Args:
        head: the program's beginning, as source: a docstring and imports.
        functions: functions of the notebook.
        tail: the program's end, as source.

    Raises:
        NotCarried: a function uses a model, an open file, another function's local name, something of `course_utils`,
            or a name that no program has. The message names every one.
    """
    parts = _Parts(_made_by(head), _made_by(tail))
    for function in functions:
        parts.add(function.__name__, function, "", {})
    if parts.refused:
        listed = "\n".join(f"- {line}" for line in dict.fromkeys(parts.refused))
        raise NotCarried(
            t(
                "The program cannot be made of these functions:\n{listed}\nGive such a thing to the function as an "
                "argument, make it inside the function, or import it from a package that others can install.",
                listed=listed,
            )
        )
    top = _with_imports(head.strip("\n"), parts.imports)
    return "\n\n".join([top, *parts.made, tail.strip("\n")]).rstrip() + "\n"


class _Parts:
    """What has been found for the program so far."""

    def __init__(self, known: set[str], taken: set[str]) -> None:
        self.known = known | (set(vars(builtins)) - _NOTEBOOK)
        self.taken = taken
        self.imports: set[str] = set()
        self.made: list[str] = []  # in an order in which each part finds what it needs when the program starts
        self.refused: list[str] = []

    def add(self, name: str, value: Any, user: str, around: dict[str, Any]) -> None:
        """Take `name`, which is `value` in the notebook, because `user` uses it; `around`: the names that `user` sees."""
        if name in self.known:
            return
        self.known.add(name)
        if name in self.taken:
            self._refuse(user or name, name, t("a name that the program's own end takes"))
        elif isinstance(value, ModuleType):
            self._import(name, value.__name__, None, user)
        elif (source := _source(name, value)) is not None:
            self._add_source(name, value, source, around)
        elif (text := _literal(value)) is not None:
            if isinstance(value, re.Pattern):
                self.add("re", re, user, around)
            self.made.append(f"{name} = {text}\n")
        elif place := _place(name, value):
            self._import(name, *place, user)
        else:
            kind = t("an object of the type {name}", name=type(value).__name__)
            self._refuse(user or name, name, t("a name that no program has") if value is _ABSENT else kind)

    def _refuse(self, user: str, name: str, kind: str) -> None:
        self.refused.append(t("`{user}` uses `{name}`, {kind}", user=user, name=name, kind=kind))

    def _import(self, name: str, module: str, member: str | None, user: str) -> None:
        if module.split(".")[0] == __package__:
            why = t("`{user}` uses `{name}` of {module}, which others do not have", user=user, name=name, module=module)
            self.refused.append(why)
        elif member is None:
            self.imports.add(f"import {module}" if name in (module, module.split(".")[0]) else f"import {module} as {name}")
        else:
            self.imports.add(f"from {module} import {member}" + (f" as {name}" if name != member else ""))

    def _add_source(self, name: str, value: Any, source: str, around: dict[str, Any]) -> None:
        function = inspect.unwrap(value) if callable(value) else value
        if inspect.isfunction(function) and function.__code__.co_freevars:
            inner = ", ".join(f"`{free}`" for free in function.__code__.co_freevars)
            why = t("`{name}` uses {inner}, local to the function in which `{name}` was made", name=name, inner=inner)
            self.refused.append(why)
            return
        around = getattr(function, "__globals__", around)  # a class has none: it is of its user's notebook
        for used in sorted(_free(source) - {name}):
            self.add(used, around.get(used, _ABSENT), name, around)
            if isinstance(module := around.get(used), ModuleType) and f"import {used}" in self.imports:
                self.imports |= {f"import {part}" for part in _submodules(source, used, module)}
        self.made.append(source)


def _with_imports(head: str, more: set[str]) -> str:
    """`head` with more imports among its first ones: the standard library's, then others; whole modules before names."""
    if not more:
        return head
    body, lines = ast.parse(head).body, head.split("\n")
    documented = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = list(takewhile(lambda node: isinstance(node, ast.Import | ast.ImportFrom), body[bool(documented) :]))
    after_text = (body[0].end_lineno or 0) if documented else 0
    start, end = (first[0].lineno - 1, first[-1].end_lineno) if first else (after_text, after_text)
    whole: set[str] = set()
    members: dict[str, set[str]] = {}
    for node in [*first, *(ast.parse(line).body[0] for line in more)]:
        if isinstance(node, ast.Import):
            whole |= {ast.unparse(ast.Import([alias])) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members.setdefault("." * node.level + (node.module or ""), set()).update(map(ast.unparse, node.names))
    sections: dict[bool, list[str]] = {False: [], True: []}  # is it another's than Python's?
    for line in sorted(whole, key=str.lower):
        sections[line.split()[1].split(".")[0] not in sys.stdlib_module_names].append(line)
    for module, names in sorted(members.items(), key=lambda item: item[0].lower()):
        line = f"from {module} import {', '.join(sorted(names, key=str.lower))}"
        sections[module.split(".")[0] not in sys.stdlib_module_names].append(line)
    block = "\n\n".join("\n".join(section) for section in sections.values() if section).split("\n")
    gap = [""] if after_text and not first else []
    return "\n".join([*lines[:start], *gap, *block, *lines[end:]])


def _made_by(source: str) -> set[str]:
    """Names that a program's top level makes."""
    table = symtable.symtable(source, "<program>", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def _free(source: str) -> set[str]:
    """Names that a piece of a program uses and does not make."""
    whole = symtable.symtable(source, "<program>", "exec")
    made = {symbol.get_name() for symbol in whole.get_symbols() if symbol.is_assigned() or symbol.is_imported()}

    def used(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table is whole):
                yield symbol.get_name()
        for inner in table.get_children():
            yield from used(inner)

    return set(used(whole)) - made


def _source(name: str, value: Any) -> str | None:
    """How the notebook or the file makes a function or a class of its own; None for everything else."""
    plain = inspect.unwrap(value) if callable(value) else value
    if not isinstance(plain, FunctionType | type) or plain.__module__ != "__main__":
        return None
    try:
        source = _class_source(plain) if isinstance(plain, type) else inspect.getsource(plain)
        tree = ast.parse(source := textwrap.dedent(source))
    except (OSError, SyntaxError, TypeError):  # it has no source of its own: a program imports it, or it is refused
        return None
    node = tree.body[0]
    defines = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
    assigns = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]  # a lambda
    return source if defines or assigns else None


def _class_source(value: type) -> str:
    """A class of a notebook has no file: it is looked for in the cells, the last one that was run first."""
    cells = [entry[2] for entry in linecache.cache.values() if len(entry) == 4 and entry[1] is None]
    for lines in reversed(cells):
        with suppress(SyntaxError):  # a cell with IPython's own signs: no class of a program is made there
            for node in ast.parse("".join(lines)).body:
                if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                    return "".join(lines[first - 1 : node.end_lineno])
    raise OSError(f"no source of {value.__name__}")


def _literal(value: Any) -> str | None:
    """Source of a constant; None if a program cannot write it down."""
    if isinstance(value, re.Pattern):
        return f"re.compile({value.pattern!r}, {int(value.flags)})"
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # its text is no constant
        return None
    return text if same is True else None


def _place(name: str, value: Any) -> tuple[str, str] | None:
    """(module, name there) of something that was imported: the shortest path that leads to it, in its own package."""
    if value is _ABSENT:
        return None
    names = dict.fromkeys([name, getattr(value, "__name__", name)])
    places = [
        (path, own)
        for path, module in list(sys.modules.items())
        for own in names
        if isinstance(module, ModuleType) and path != "__main__" and vars(module).get(own, _ABSENT) is value
    ]
    public = [place for place in places if not any(part.startswith("_") for part in place[0].split("."))] or places
    home = str(getattr(value, "__module__", "")).split(".")[0]  # others may have imported it, too
    own_package = [place for place in public if place[0].split(".")[0] == home] or public
    return min(own_package, key=lambda place: (place[0].count("."), len(place[0]), place[0]), default=None)


def _submodules(source: str, name: str, module: ModuleType) -> set[str]:
    """Modules below `module` that the source reaches by attributes: `import xml` alone does not bring `xml.etree`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        path = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else []
        value: Any = module
        if path[:1] == [name] and all(part.isidentifier() for part in path):
            for part in path[1:]:
                value = getattr(value, part, None)
            if isinstance(value, ModuleType) and value.__name__ == ".".join([module.__name__, *path[1:]]):
                names.add(value.__name__)
    return names
