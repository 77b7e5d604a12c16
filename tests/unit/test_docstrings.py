"""Every public thing says what it is, as CONTRIBUTING asks: one sentence first, and what it raises."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

import hippo_messenger
from hippo_messenger import testing


def _things() -> Iterator[tuple[str, object]]:
    """Every public name, and every public member of our classes among them."""
    names = [(name, package) for package in (hippo_messenger, testing) for name in package.__all__]
    for name, package in names:
        thing = getattr(package, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing
        for member, value in vars(thing).items() if inspect.isclass(thing) else ():
            inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if not member.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property)):
                yield f"{name}.{member}", inner


THINGS = dict(_things())


@pytest.mark.parametrize("name", THINGS)
def test_it_has_a_docstring_that_begins_with_one_sentence(name: str) -> None:
    doc = inspect.cleandoc(getattr(THINGS[name], "__doc__", None) or "")
    assert doc, f"{name} has no docstring"
    first = " ".join(doc.split("\n\n")[0].split())
    assert first[0].isupper() or first[0] in "`\"'", first
    assert first.endswith((".", ":")), first


@pytest.mark.parametrize("name", [name for name, thing in THINGS.items() if inspect.isfunction(thing)])
def test_it_names_each_parameter_that_its_docstring_lists_and_no_other(name: str) -> None:
    thing = THINGS[name]
    assert inspect.isfunction(thing)
    doc = inspect.getdoc(thing) or ""
    listed = doc.partition("Args:\n")[2].partition("\n\n")[0] if "Args:" in doc else ""
    named = {
        line.strip().partition(":")[0] for line in listed.splitlines() if line.startswith("    ") and line[4] != " "
    }
    assert named <= set(inspect.signature(thing).parameters), named
