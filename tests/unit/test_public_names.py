"""Whatever a public signature names can be imported from where its owner is."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass

import pytest

import hippo_messenger
from hippo_messenger import testing
from scripts.make_reference import FOR_OTHER_ROOMS


def _callables(name: str, thing: object) -> Iterator[tuple[str, Callable[..., object]]]:
    """A function, or the constructor and all public members of a class."""
    if inspect.isfunction(thing):
        yield name, thing
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        inner = inner.fget if isinstance(inner, property) else inner
        if inspect.isfunction(inner) and (member == "__init__" or not member.startswith("_")):
            yield f"{name}.{member}", inner


def _annotations(name: str, thing: object) -> Iterator[tuple[str, str, str]]:
    """Where, in which module, and how a public thing is annotated."""
    for where, function in _callables(name, thing):
        for annotation in function.__annotations__.values():
            yield where, function.__module__, str(annotation)
    if inspect.isclass(thing) and is_dataclass(thing):
        for field in fields(thing):
            if not field.name.startswith("_"):
                yield f"{name}.{field.name}", thing.__module__, str(field.type)


def _ours(module: str, annotation: str) -> Iterator[str]:
    """The names in an annotation that are neither Python's nor another package's."""
    for node in ast.walk(ast.parse(annotation)):
        if isinstance(node, ast.Name) and node.id in vars(sys.modules[module]):
            used = vars(sys.modules[module])[node.id]
            if inspect.isclass(used) and used.__module__.startswith("hippo_messenger"):
                yield node.id
            is_alias = not (inspect.isclass(used) or inspect.ismodule(used) or isinstance(used, typing.TypeVar))
            if is_alias and node.id not in typing.__all__:
                yield node.id


@pytest.mark.parametrize("name", hippo_messenger.__all__)
def test_what_a_public_signature_names_can_be_imported(name: str) -> None:
    for where, module, annotation in _annotations(name, getattr(hippo_messenger, name)):
        if where not in FOR_OTHER_ROOMS:
            assert set(_ours(module, annotation)) <= set(hippo_messenger.__all__), f"{where}: {annotation}"


@pytest.mark.parametrize("name", testing.__all__)
def test_what_a_signature_of_the_test_kit_names_can_be_imported(name: str) -> None:
    for where, module, annotation in _annotations(name, getattr(testing, name)):
        known = {*hippo_messenger.__all__, *testing.__all__}
        assert set(_ours(module, annotation)) <= known, f"{where}: {annotation}"
