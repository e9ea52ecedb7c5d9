"""Which names each cell of a notebook makes and needs, read from its code without running it."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from .chapters import Role, role, tags

ALWAYS = {*dir(builtins), "__name__", "__file__", "__doc__", "get_ipython", "display", "In", "Out", "_"}
JUDGE = {"np", "close"}  # what the grader gives to check() and check_visible()


@dataclass(frozen=True)
class Names:
    """The global names of a piece of code."""

    makes: frozenset[str]
    needs: frozenset[str]  # when it runs
    later: frozenset[str]  # when one of its functions is called


def python(source: str) -> str:
    """A cell as Python: lines for IPython (%pip, %matplotlib, !ls) are left out."""
    lines = source.split("\n")
    return "\n".join(
        line[: -len(line.lstrip())] + "pass" if line.lstrip().startswith(("%", "!")) else line for line in lines
    )


def names_of(source: str) -> Names:
    """The names of a cell.

    Raises:
        SyntaxError: it is not Python.
    """
    source = python(source)
    made: set[str] = set()
    needs: set[str] = set()
    later: set[str] = set()
    for statement in ast.parse(source).body:
        own_names = _of_statement(statement, source)
        # x = x + 1 needs an x; a loop, a with block or a function may use what it makes itself
        own = (
            made if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr) else made | own_names.makes
        )
        needs |= own_names.needs - own
        later |= own_names.later
        made |= own_names.makes
    return Names(frozenset(made), frozenset(needs), frozenset(later))


def _of_statement(statement: ast.stmt, source: str) -> Names:
    """Decorators belong to a function, but no segment holds them, so the statement is written anew."""
    table = symtable.symtable(ast.unparse(statement), "<cell>", "exec")
    made = {symbol.get_name() for symbol in table.get_symbols() if _bound(symbol)}
    needs = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    later: set[str] = set()
    for inner, called in _inside(table):
        globals_used = {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        made |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global() and _bound(symbol)}
        (later if called else needs).update(globals_used)
    return Names(frozenset(made), frozenset(needs), frozenset(later))


def _bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _inside(table: symtable.SymbolTable, called: bool = False) -> Iterator[tuple[symtable.SymbolTable, bool]]:
    """Every scope within a scope, and whether its code runs only when something is called."""
    for inner in table.get_children():
        comprehension = inner.get_name() in ("listcomp", "setcomp", "dictcomp", "genexpr")
        waits = called or (inner.get_type() == "function" and not comprehension)
        yield inner, waits
        yield from _inside(inner, waits)


def needed_for(cells: Sequence[NotebookNode], wanted: Container[str]) -> list[NotebookNode]:
    """The code cells whose ids are wanted, and those that make what these need, in order."""
    needed: set[str] = set()
    chosen = []
    for cell in reversed([cell for cell in cells if cell.cell_type == "code"]):
        names = names_of(cell.source)
        if names.makes & needed or cell.id in wanted:
            needed |= names.needs | names.later
            chosen.append(cell)
    return chosen[::-1]


@dataclass(frozen=True)
class Missing:
    """A name that a cell uses and that is not there for it."""

    cell: NotebookNode
    name: str
    why: str


def missing(cells: Sequence[NotebookNode]) -> list[Missing]:
    """What a notebook's cells use and no other gives them, in order.

    A graded cell runs without the experiments and without the other exercises' tests, so these give it nothing.
    """
    code = [(cell, names_of(cell.source), role(cell)) for cell in cells if cell.cell_type == "code"]
    shown = [(cell, cell_names) for cell, cell_names, part in code if not part or part.kind != "hidden"]
    kept = [(cell, cell_names) for cell, cell_names, part in code if _is_kept(cell, part)]
    answer = []
    for cell, cell_names, part in code:
        if "raises-exception" in tags(cell):
            continue
        givers = kept if part else shown
        earlier = [names for giver, names in givers if _place(giver, cells) < _place(cell, cells)]
        at_once = ALWAYS.union(*(names.makes for names in earlier))
        at_last = ALWAYS.union(cell_names.makes, *(names.makes for _, names in givers), JUDGE if part else ())
        for name in sorted((cell_names.needs - at_once) | (cell_names.later - at_last)):
            elsewhere = next((giver for giver, names, _ in code if giver is not cell and name in names.makes), None)
            answer.append(Missing(cell, name, _why(elsewhere)))
    return answer


def missing_in_mutants(cells: Iterable[NotebookNode], lab: Sequence[NotebookNode]) -> list[Missing]:
    """What wrong solutions use and the solved lab does not give them."""
    given = ALWAYS.union(*(names_of(c.source).makes for c in lab if c.cell_type == "code" and _is_kept(c, role(c))))
    answer = []
    for cell in cells:
        if cell.cell_type == "code":
            cell_names = names_of(cell.source)
            wanted = (cell_names.needs - given) | (cell_names.later - cell_names.makes - given)
            answer += [Missing(cell, name, _why(None)) for name in sorted(wanted)]
    return answer


def _is_kept(cell: NotebookNode, part: Role | None) -> bool:
    """Does a cell run where answers are judged?"""
    return (part is None or part.kind == "exercise") and not {"experiment", "raises-exception"} & set(tags(cell))


def _place(cell: NotebookNode, cells: Sequence[NotebookNode]) -> int:
    return next(i for i, other in enumerate(cells) if other is cell)


def _why(giver: NotebookNode | None) -> str:
    if giver is None:
        return "which nothing defines"
    giver_role = role(giver)
    if giver_role:
        return f"which only the {giver_role.kind} cell of {giver_role.exercise} defines"
    if "experiment" in tags(giver):
        return "which only an experiment defines, and graded cells run without these"
    return "which is defined only further down"
