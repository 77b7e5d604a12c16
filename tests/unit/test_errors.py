"""The tree of errors: drawn whole, and each of them raised somewhere in the tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hippo_messenger import errors

TESTS = Path(__file__).parents[1]
CLASSES = [thing for name in errors.__all__ if isinstance(thing := getattr(errors, name), type)]
ERRORS = [thing for thing in CLASSES if issubclass(thing, Exception)]


def _named_in_tests() -> set[str]:
    """Every name that some test uses beside importing it."""
    names: set[str] = set()
    for path in TESTS.rglob("*.py"):
        if path != Path(__file__):
            tree = ast.parse(path.read_text())
            names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names


NAMED = _named_in_tests()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_provoked_by_a_test(error: type[Exception]) -> None:
    """A branch of the tree is provoked by what is below it."""
    below = [thing.__name__ for thing in ERRORS if issubclass(thing, error) and thing is not error]
    assert NAMED & {error.__name__, *below}, f"no test raises {error.__name__}"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_hangs_in_the_tree_where_it_is_drawn(error: type[Exception]) -> None:
    drawn = (errors.__doc__ or "").splitlines()
    (line,) = [line for line in drawn if line.lstrip("│ ├└─").split(" ")[0] == error.__name__]
    depth = line.index(error.__name__) // 4
    parents = [thing for thing in error.__mro__[1:] if thing in ERRORS]
    assert depth == len(parents), line


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_that_is_one_of_pythons_too_is_drawn_with_it(error: type[Exception]) -> None:
    drawn = [line.lstrip("│ ├└─") for line in (errors.__doc__ or "").splitlines()]
    (line,) = [line for line in drawn if line.split(" ")[0] == error.__name__]
    besides = [base.__name__ for base in error.__bases__ if base not in ERRORS and base is not Exception]
    assert re.findall(r"^\w+ \((\w+)\)", line) == besides
