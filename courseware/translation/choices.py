"""The strings of a prediction or a quiz that must be translated together, or not at all: its options and its answers.

A prediction's answer may be given where it is asked, or later, by `guess.reveal(…)`. An answer that code computes from data
is not known here: then the options stay English, so that it is still one of them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from .scopes import Scopes


def choices(scopes: Scopes, trees: Sequence[ast.Module]) -> Iterator[set[ast.AST]]:
    """For each prediction and each question of a quiz the strings of its options and answers.

    What is not known is in the set as it is, and is no string.
    """
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "widgets.predict" and (options := _argument(node, 1, "options")):
                answers = [_argument(node, 2, "answer"), *_revealed(scopes, node)]
                yield _together(scopes, options, answers)
            elif name == "widgets.quiz" and node.args:
                for options, answer in questions(node.args[0]):
                    yield _together(scopes, options, [answer])


def _argument(call: ast.Call, number: int, name: str) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named or (call.args[number] if number < len(call.args) else None)


def _together(scopes: Scopes, options: ast.expr, answers: Sequence[ast.expr | None]) -> set[ast.AST]:
    strings: set[ast.AST] = set(_options(scopes, options))
    return strings.union(*(_values(scopes, answer) for answer in answers if answer is not None))


def _revealed(scopes: Scopes, asked: ast.Call) -> Iterator[ast.expr]:
    """The answers that are shown later for a prediction that has a name."""
    made = scopes.parents.get(asked)
    if isinstance(made, ast.Assign) and isinstance(made.targets[0], ast.Name):
        for use in scopes.uses(made.targets[0], made.targets[0].id):
            method = scopes.parents[use]
            call = scopes.parents.get(method)
            shown = isinstance(call, ast.Call) and isinstance(method, ast.Attribute) and method.attr == "reveal"
            if shown and (answer := _argument(call, 0, "answer")):  # type: ignore[arg-type]
                yield answer


def questions(entries: ast.expr) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Options and answer of each question that has options."""
    for entry in entries.elts if isinstance(entries, (ast.List, ast.Tuple)) else []:
        given: dict[object, ast.expr] = {}
        if isinstance(entry, ast.Call):
            given = {keyword.arg: keyword.value for keyword in entry.keywords}
        elif isinstance(entry, ast.Dict):
            given = {k.value: v for k, v in zip(entry.keys, entry.values, strict=True) if isinstance(k, ast.Constant)}
        if "options" in given:
            yield given["options"], given.get("answer")


def _options(scopes: Scopes, node: ast.expr) -> Iterator[ast.AST]:
    """The strings that may be chosen; the node itself where they are not known."""
    match node:
        case ast.List() | ast.Tuple():
            for part in node.elts:
                yield from _options(scopes, part.value) if isinstance(part, ast.Starred) else _values(scopes, part)
        case ast.Dict():
            yield from (key if key is not None else node for key in node.keys)
        case ast.Call(func=ast.Name(id="list"), args=[ast.Call() | ast.Name() as held]):
            yield from _options(scopes, held)
        case ast.Call(func=ast.Attribute(value=held, attr="values"), args=[]):
            yield from _held(scopes, held)
        case _:
            yield from _stored_or_itself(scopes, node, _options)


def _held(scopes: Scopes, node: ast.expr) -> Iterator[ast.AST]:
    """The strings that a list, or the values of a mapping, may be; the node itself where they are not known."""
    match node:
        case ast.Dict(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
            for value in values:
                yield from _values(scopes, value)
        case _:
            yield from _stored_or_itself(scopes, node, _held)


def _values(scopes: Scopes, node: ast.expr) -> Iterator[ast.AST]:
    """The strings that an expression may be; the node itself where they are not known. Numbers are no strings."""
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            yield node
        case ast.Constant() | ast.UnaryOp():
            return
        case ast.IfExp():
            yield from _values(scopes, node.body)
            yield from _values(scopes, node.orelse)
        case ast.Subscript(value=held):
            yield from _held(scopes, held)
        case ast.Call(func=ast.Attribute(value=held, attr="get"), args=[_, default]):
            yield from _held(scopes, held)
            yield from _values(scopes, default)
        case _:
            yield from _stored_or_itself(scopes, node, _values)


def _stored_or_itself(
    scopes: Scopes, node: ast.expr, read: Callable[[Scopes, ast.expr], Iterator[ast.AST]]
) -> Iterator[ast.AST]:
    """What is read of all that a name may hold; the node itself where that is not known."""
    made = _stored(scopes, node) if isinstance(node, ast.Name) else []
    for value in made:
        yield from read(scopes, value)
    if not made:
        yield node


def _stored(scopes: Scopes, name: ast.Name) -> list[ast.expr]:
    """What a name may hold: the right sides of all its assignments that are seen here; none where one is no plain one."""
    variable = scopes.variables.get((scopes.scope(name, name.id), name.id))
    seen = [store for store in variable.stores if name in scopes.uses(store, name.id)] if variable else []
    values = []
    for store in seen:
        made = scopes.parents.get(store)
        if not (isinstance(made, ast.Assign) and store in made.targets):
            return []
        values.append(made.value)
    return values
