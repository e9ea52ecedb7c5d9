"""Which strings of a notebook's code are only shown to a reader: in a figure, a printed line, a table, a message.

Decided from the syntax tree, and conservatively. A string is followed to where it ends: every way must end in something that
shows it (`_BY_NAME` and `_BY_KEYWORD` below). What is compared, looked up, returned to a grader, given to a model or to a
function that is not known is data, a prompt or a key, and stays as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from .choices import choices
from .scopes import Scopes

# calls that show: their positional arguments by number (-1: all of them) and the keywords
_BY_NAME: dict[str, tuple[set[int], set[str]]] = {
    "print": ({-1}, set()),
    "display": ({-1}, set()),
    "Markdown": ({0}, {"data"}),
    "HTML": ({0}, {"data", "value"}),
    "set_title": ({0}, {"label"}),
    "set_xlabel": ({0}, {"xlabel"}),
    "set_ylabel": ({0}, {"ylabel"}),
    "set_zlabel": ({0}, {"zlabel"}),
    "set_label": ({0}, {"label"}),
    "title": ({0}, {"label"}),
    "xlabel": ({0}, {"xlabel"}),
    "ylabel": ({0}, {"ylabel"}),
    "suptitle": ({0}, {"t"}),
    "supxlabel": ({0}, {"t"}),
    "supylabel": ({0}, {"t"}),
    "text": ({2}, {"s"}),
    "figtext": ({2}, {"s"}),
    "annotate": ({0}, {"text"}),
    "set_xticklabels": ({0}, {"labels"}),
    "set_yticklabels": ({0}, {"labels"}),
    "set_xticks": ({1}, {"labels"}),
    "set_yticks": ({1}, {"labels"}),
    "xticks": ({1}, {"labels"}),
    "yticks": ({1}, {"labels"}),
    "legend": (set(), {"labels", "title"}),
    "bar_label": (set(), {"labels"}),
    "bar": ({0}, {"x"}),
    "barh": ({0}, {"y"}),
    "errorbar": (set(), set()),
    "set": (set(), {"title", "xlabel", "ylabel", "zlabel", "xticklabels", "yticklabels"}),
    "set_caption": ({0}, {"caption"}),
    "rename_axis": ({0}, {"index", "columns"}),
    "expect_close": ({2}, {"name"}),
    "tqdm": (set(), {"desc"}),
    "Button": (set(), {"description", "tooltip"}),
    "Label": (set(), {"value"}),
}
# keywords that show in every call of these modules' functions and of a figure's methods
_BY_KEYWORD = {"label", "description", "suptitle", "tick_labels"}
# all strings in their arguments are shown; an option and an answer are the same string, see choices.py
_ALL_OF = {"widgets.predict", "widgets.quiz", "reveal"}
_NOT_SHOWN = {"explorer"}  # calls whose keywords are a function's own arguments
_SAME = {"list", "tuple", "sorted", "reversed", "tqdm", "iter", "set"}
_TEXT = {"join", "format", "ljust", "rjust", "center", "strip", "capitalize", "upper"}
_TABLE = {"round", "to_string", "to_markdown", "head", "tail", "transpose", "fillna", "astype", "sort_index", "reset_index"}
_TABLE |= {"format", "hide", "set_caption", "set_properties"}  # of a table's style

Path = tuple[object, ...]  # how a string lies in a value: an index, "*" an element, "k" a key, "v" a value; "table"


class _Elsewhere(Exception):
    """The string goes somewhere that is not known to show it."""


class Display:
    """The display strings of a notebook.

    Args:
        trees: the code cells, in order.
        opaque: names that other code uses, which a student does not see (solutions, hidden tests).
        closed: numbers of the cells whose functions a student writes.
    """

    def __init__(self, trees: Sequence[ast.Module], opaque: Iterable[str] = (), closed: Iterable[int] = ()) -> None:
        self._trees = trees
        self.scopes = Scopes(trees)
        self._opaque, self._closed = set(opaque), set(closed)
        self._last = {tree.body[-1] for tree in trees if tree.body}
        self._running: set[tuple[ast.AST, Path]] = set()
        self._in_head = False  # did the string that is followed become a name of a table's column or row?

    def strings(self, tree: ast.Module) -> list[ast.expr]:
        """Constants and f-strings of a cell that are shown, in order; none lies in another."""
        return [node for node in self._strings(tree) if node in self._found]

    @cached_property
    def _found(self) -> set[ast.expr]:
        """All of them. A heading of a table stays when another string like it is data: it may be the same column's name."""
        every = [node for tree in self._trees for node in self._strings(tree)]
        heads: set[ast.expr] = set()
        shown = set()
        for node in every:
            if self.shown(node):
                shown.add(node)
                if self._in_head:
                    heads.add(node)
        for group in choices(self.scopes, self._trees):
            if not shown.issuperset(group):
                shown -= group
        data = {node.value for node in every if isinstance(node, ast.Constant) and node not in shown}
        return {node for node in shown if node not in heads or (isinstance(node, ast.Constant) and node.value not in data)}

    def _strings(self, tree: ast.AST) -> Iterator[ast.expr]:
        """Constants and f-strings, in order; docstrings are none."""
        for child in ast.iter_child_nodes(tree):
            if isinstance(child, ast.JoinedStr) or (isinstance(child, ast.Constant) and isinstance(child.value, str)):
                yield child
            elif not _is_docstring(child, tree):
                yield from self._strings(child)

    def shown(self, node: ast.expr) -> bool:
        """Is a string only shown?"""
        self._running.clear()
        self._in_head = False
        try:
            return self._flows(node, ()) > 0
        except _Elsewhere:  # it is a key, a prompt or a value, too
            return False

    def _flows(self, node: ast.AST, path: Path) -> int:
        """How many places show what lies at a path of a value.

        Raises:
            _Elsewhere: one place does something else.
        """
        if (node, path) in self._running:
            return 0
        self._running.add((node, path))
        parent = self.scopes.parents.get(node)
        match parent:
            case ast.FormattedValue() if node is parent.value and not path:
                return self._flows(self.scopes.parents[parent], ())
            case ast.keyword():
                return self._argument(self._call(parent), node, parent.arg, path)
            case ast.Call():
                return self._argument(parent, node, None, path)
            case ast.Attribute():
                return self._attribute(parent, path)
            case ast.IfExp() if node is not parent.test:
                return self._flows(parent, path)
            case ast.NamedExpr():
                return self._flows(parent, path) + self._bound(parent.target, path)
            case ast.BoolOp() | ast.Starred():
                return self._flows(parent, path)
            case ast.BinOp() if isinstance(parent.op, (ast.Add, ast.BitOr)) or node is parent.left:
                return self._flows(parent, path)
            case ast.Tuple():
                return self._flows(parent, (parent.elts.index(node), *path))  # type: ignore[arg-type]
            case ast.List() | ast.Set() | ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self._flows(parent, ("*", *path))
            case ast.Dict() | ast.DictComp():
                keys = parent.keys if isinstance(parent, ast.Dict) else [parent.key]
                return self._flows(parent, ("k" if node in keys else "v", *path))
            case ast.Subscript() if node is parent.value:
                return self._subscript(parent, path)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
                return sum(self._bound(target, path) for target in targets)
            case ast.For() if node is parent.iter:
                return self._iterated(parent.target, path)
            case ast.comprehension() if node is parent.iter:
                return self._iterated(parent.target, path)
            case ast.Assert() if node is parent.msg:
                return 1
            case ast.Return():
                return self._returned(parent, path)
            case ast.Expr() if parent in self._last:
                return 1
        raise _Elsewhere

    def _call(self, keyword: ast.keyword) -> ast.Call:
        call = self.scopes.parents[keyword]
        if not isinstance(call, ast.Call):
            raise _Elsewhere  # of a class
        return call

    def _argument(self, call: ast.Call, node: ast.AST, keyword: str | None, path: Path) -> int:
        """What a call does with an argument."""
        name = ast.unparse(call.func)
        method = name.rpartition(".")[2]
        if name in _ALL_OF or method in _ALL_OF:
            if path[:2] == ("*", "k"):
                raise _Elsewhere  # a question's entry of that name
            return 1
        if keyword is None and node not in call.args:
            raise _Elsewhere  # **options
        number = call.args.index(node) if keyword is None else None  # type: ignore[arg-type]
        places, keywords = _BY_NAME.get(method, (set(), set()))
        if (keyword in keywords) if keyword else (places & {-1, number}):
            return 1
        if keyword in _BY_KEYWORD and method not in _NOT_SHOWN and "." in name:
            return 1
        if isinstance(call.func, ast.Name) and (function := self._function(call.func)):
            return self._parameter(function, number, keyword, path)
        if method in ("append", "extend") and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            return self._held(call.func.value, ("*", *path) if method == "append" else path)
        if method == "DataFrame":
            return self._flows(call, self._in_table(keyword, path))
        if keyword:
            if name == "dict":
                return self._flows(call, ("v", *path))
            raise _Elsewhere
        match method:
            case "enumerate" if path:
                return self._flows(call, ("*", 1, *path[1:]))
            case "zip" if path:
                return self._flows(call, ("*", number, *path[1:]))
            case "len":
                return 0
            case "get" if number == 1:  # what it gives where a key is not there
                return self._flows(call, path)
            case "str" if not path:
                return self._flows(call, ())
            case "join" if path and isinstance(call.func, ast.Attribute):
                return self._flows(call, ())
            case "format" if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant):
                return self._flows(call, ())
            case _ if method in _SAME:
                return self._flows(call, path)
        raise _Elsewhere

    def _in_table(self, keyword: str | None, path: Path) -> Path:
        if path and (keyword in ("columns", "index") or (keyword is None and path[0] in ("*", "k", "v"))):
            self._in_head = self._in_head or bool(keyword) or "k" in path
            return ("table",)
        raise _Elsewhere

    def _attribute(self, node: ast.Attribute, path: Path) -> int:
        """What a method does with the value that it is called on."""
        call = self.scopes.parents.get(node)
        if path == ("table",) and node.attr in ("T", "style"):
            return self._flows(node, path)
        if not (isinstance(call, ast.Call) and call.func is node):
            raise _Elsewhere
        if path == ("table",) and node.attr in _TABLE:
            return self._flows(call, path)
        if node.attr == "format" and any(keyword.arg is None for keyword in call.keywords):
            raise _Elsewhere  # a template that a mapping fills is a prompt that is shown
        if not path and node.attr in _TEXT:
            return self._flows(call, ())
        match node.attr, path[:1]:
            case "items", ("k" | "v" as part,):
                return self._flows(call, ("*", 0 if part == "k" else 1, *path[1:]))
            case ("keys", ("k",)) | ("values", ("v",)):
                return self._flows(call, ("*", *path[1:]))
            case ("keys", ("v",)) | ("values", ("k",)) | ("append" | "extend" | "update", _):
                return 0
            case "get", ("v",):
                return self._flows(call, path[1:])
        raise _Elsewhere

    def _subscript(self, node: ast.Subscript, path: Path) -> int:
        if not isinstance(node.ctx, ast.Load):
            raise _Elsewhere
        if isinstance(node.slice, ast.Slice) and path and path[0] == "*":
            return self._flows(node, path)
        if isinstance(node.slice, ast.Slice) or not path or path[0] in ("k", "table"):
            raise _Elsewhere
        if isinstance(path[0], int) and isinstance(node.slice, ast.Constant) and node.slice.value != path[0]:
            return 0
        return self._flows(node, path[1:])

    def _iterated(self, target: ast.expr, path: Path) -> int:
        if path[:1] == ("v",):
            return 0  # a loop over a mapping sees its keys
        if not path or path == ("table",):
            raise _Elsewhere
        return self._bound(target, path[1:])

    def _bound(self, target: ast.AST, path: Path) -> int:
        """Where a value goes that is stored in a target."""
        if isinstance(target, (ast.Tuple, ast.List)) and path:
            if isinstance(path[0], int) and not any(isinstance(part, ast.Starred) for part in target.elts):
                return self._bound(target.elts[path[0]], path[1:]) if path[0] < len(target.elts) else 0
            if path[0] == "*":
                return sum(self._bound(part, path[1:]) for part in target.elts)
        if isinstance(target, ast.Name):
            return self._used(target, target.id, path)
        raise _Elsewhere

    def _used(self, store: ast.AST, name: str, path: Path) -> int:
        if self.scopes.scope(store, name) is None and name in self._opaque:
            raise _Elsewhere
        return sum(self._flows(load, path) for load in self.scopes.uses(store, name))

    def _held(self, variable: ast.Name, path: Path) -> int:
        """Where a value goes that was put into a list."""
        scope = self.scopes.scope(variable, variable.id)
        if scope is None and variable.id in self._opaque:
            raise _Elsewhere
        seen = [
            store
            for store in self.scopes.variables[scope, variable.id].stores
            if variable in self.scopes.uses(store, variable.id)
        ]
        if not seen:
            raise _Elsewhere
        return sum(self._used(store, variable.id, path) for store in seen)

    def _function(self, name: ast.Name) -> ast.FunctionDef | None:
        """The notebook's own function that a call names; None for another, or where a student may write it."""
        variable = self.scopes.variables.get((self.scopes.scope(name, name.id), name.id))
        stores = variable.stores if variable else []
        if len(stores) != 1 or not isinstance(stores[0], ast.FunctionDef) or stores[0].decorator_list:
            return None
        return None if self.scopes.cells[stores[0]] in self._closed else stores[0]

    def _parameter(self, function: ast.FunctionDef, number: int | None, keyword: str | None, path: Path) -> int:
        arguments = [*function.args.posonlyargs, *function.args.args]
        if number is not None:
            parameter = arguments[number] if number < len(arguments) else None
        else:
            parameter = next((a for a in [*arguments, *function.args.kwonlyargs] if a.arg == keyword), None)
        if parameter is None:
            raise _Elsewhere
        return self._used(parameter, parameter.arg, path)

    def _returned(self, node: ast.Return, path: Path) -> int:
        function = next(outer for outer in self.scopes.above(node) if isinstance(outer, (ast.FunctionDef, ast.Lambda)))
        if not isinstance(function, ast.FunctionDef) or function.decorator_list:
            raise _Elsewhere
        if self.scopes.cells[function] in self._closed:
            raise _Elsewhere
        if self.scopes.scope(function, function.name) is None and function.name in self._opaque:
            raise _Elsewhere
        total = 0
        for load in self.scopes.uses(function, function.name):
            call = self.scopes.parents[load]
            if not (isinstance(call, ast.Call) and call.func is load):
                raise _Elsewhere
            total += self._flows(call, path)
        return total


def _is_docstring(node: ast.AST, outer: ast.AST) -> bool:
    return isinstance(outer, (ast.FunctionDef, ast.ClassDef)) and isinstance(node, ast.Expr) and _is_text(node.value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
