"""Which uses of a name see what is stored in it, in the code of a whole notebook.

Read from top to bottom: a use sees the last store before it, those in branches that may not have run, and those further down
in a loop around both. A function that uses a global name sees every store of it.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Place = tuple[int, int, int]  # cell, line, column
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.ExceptHandler, ast.AsyncFor, ast.IfExp)
_LOOPS = (ast.For, ast.While, ast.AsyncFor)


@dataclass
class _Variable:
    stores: list[ast.AST] = field(default_factory=list)
    loads: list[ast.Name] = field(default_factory=list)


class Scopes:
    """Parents of all nodes, functions by name, and uses of names."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.parents: dict[ast.AST, ast.AST] = {}
        self.cells: dict[ast.AST, int] = {}
        self.nodes: list[ast.AST] = []  # of each cell, the outer ones first
        for number, tree in enumerate(trees):
            queue = deque[ast.AST]([tree])
            while queue:
                node = queue.popleft()
                self.nodes.append(node)
                self.cells[node] = number
                for child in ast.iter_child_nodes(node):
                    self.parents[child] = node
                    queue.append(child)
        self.variables: dict[tuple[ast.AST | None, str], _Variable] = {}
        self._since: dict[ast.AST, Place] = {}
        self._bind()
        for node in self.nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.variables.setdefault((self.scope(node, node.id), node.id), _Variable()).loads.append(node)

    def _bind(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self._store(self._holder(node), node.id, node)
            elif isinstance(node, ast.arg):
                self._store(self._holder(node), node.arg, node)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._store(self._holder(node), node.name, node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self._store(self._holder(node), (alias.asname or alias.name).split(".")[0], node)

    def _store(self, scope: ast.AST | None, name: str, node: ast.AST) -> None:
        self.variables.setdefault((scope, name), _Variable()).stores.append(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def _holder(self, node: ast.AST) -> ast.AST | None:
        """The scope that a store writes to; None for the notebook's own."""
        below = node
        for outer in self.above(node):
            if isinstance(outer, _COMPREHENSIONS) and not (isinstance(node, ast.Name) and self._is_walrus(node)):
                return outer
            if isinstance(outer, (*_FUNCTIONS, ast.ClassDef)) and below not in getattr(outer, "decorator_list", ()):
                return outer
            below = outer
        return None

    def _is_walrus(self, node: ast.AST) -> bool:
        return isinstance(self.parents.get(node), ast.NamedExpr)

    def scope(self, node: ast.AST, name: str) -> ast.AST | None:
        """The scope whose variable a name is, seen from a node."""
        first = True
        for outer in self.above(node):
            if isinstance(outer, (*_FUNCTIONS, *_COMPREHENSIONS)) or (isinstance(outer, ast.ClassDef) and first):
                if (outer, name) in self.variables:
                    return outer
                first = False
        return None

    def place(self, node: ast.AST, end: bool = False) -> Place:
        """Where a node begins or ends; what is inside of an f-string, where that does: Python 3.11 does not say it right."""
        node = next((o for o in reversed([*self.above(node)]) if isinstance(o, ast.JoinedStr)), node)
        line, column = (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return self.cells[node], line, column

    def _counts_from(self, store: ast.AST) -> Place:
        """Where a store has happened: after the statement, for a loop after what it iterates over."""
        if store not in self._since:
            self._since[store] = self._end_of(store)
        return self._since[store]

    def _end_of(self, store: ast.AST) -> Place:
        for outer in [store, *self.above(store)]:
            if isinstance(outer, (ast.For, ast.AsyncFor)):
                return self.place(outer.iter, end=True)
            if isinstance(outer, ast.stmt) and not isinstance(outer, (ast.FunctionDef, ast.ClassDef, ast.With)):
                return self.place(outer, end=True)
            if isinstance(outer, ast.stmt):
                break
        return self.place(store)

    def uses(self, store: ast.AST, name: str) -> list[ast.Name]:
        """The uses that may see what is stored here."""
        scope = self._holder(store)
        variable = self.variables[scope, name]
        if isinstance(scope, _COMPREHENSIONS) or len(variable.stores) == 1:
            return variable.loads
        return [load for load in variable.loads if self._sees(load, store, variable, scope)]

    def _sees(self, load: ast.Name, store: ast.AST, variable: _Variable, scope: ast.AST | None) -> bool:
        inside = next((o for o in self.above(load) if isinstance(o, (*_FUNCTIONS, ast.ClassDef))), None)
        if inside is not (scope if isinstance(scope, (*_FUNCTIONS, ast.ClassDef)) else None):
            return True  # runs when it is called
        around, here = list(self.above(load)), self.place(load)
        loops = {outer for outer in around if isinstance(outer, _LOOPS)}
        if self._counts_from(store) > here:
            return any(outer in loops for outer in self.above(store))
        others = [other for other in variable.stores if other is not store and not self._adds(other)]
        between = [other for other in others if self._counts_from(store) < self._counts_from(other) <= here]
        return not any(self._surely(other, around) for other in between)

    def _adds(self, store: ast.AST) -> bool:
        """Does a store keep what was there?"""
        return isinstance(self.parents.get(store), ast.AugAssign)

    def _surely(self, store: ast.AST, around: list[ast.AST]) -> bool:
        """Has a store happened whenever what stands inside of these nodes runs?"""
        return all(outer in around for outer in self.above(store) if isinstance(outer, _BRANCHES))
