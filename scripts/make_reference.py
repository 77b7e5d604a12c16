"""Writes the reference pages from the code: docs/reference/{api,errors,testing,command}.md and docs/settings.md.

python scripts/make_reference.py            # writes them
python scripts/make_reference.py --check    # says which of them have drifted, and fails
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import hippo_messenger
import hippo_messenger_pytest
from hippo_messenger import errors, testing
from hippo_messenger.catalogue import golden_hippo
from hippo_messenger.cli.main import app
from hippo_messenger.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Made by scripts/make_reference.py; `make reference` makes it anew. -->"
API = """
Everything here is imported from `hippo_messenger`. The errors have [a page of their own](errors.md), and so have the \
[settings](../settings.md).
""".strip()
ERRORS = """
Every error of the package is a `HippoError`. A message says what was expected, what came and what to do; none holds a \
password. The command prints it as one line, with exit code 2 for a mistake in what it was asked and 1 for all else. \
[FieldError](#fielderror), which comes last, is no error itself: one of them holds it.
""".strip()
TESTING = """
Everything here but the fixtures is imported from `hippo_messenger.testing`. The [guide](../guides/testing.md) shows \
it at work.
""".strip()
FIXTURES = """
They come with the package, by a pytest plugin. `hippo` needs pytest-asyncio; it and `hippo_redis_url` need the extra \
`embedded`, or a server that `HIPPO_TEST_REDIS_URL` names.
""".strip()
SETTINGS = """
Every setting is a field of `Settings`, given as `settings=Settings(call_timeout=3)`, or a variable of the \
environment. Durations are seconds, sizes are bytes. All processes on one prefix should share \
the deduplication window, the registration interval and the largest event.
""".strip()
BESIDE = (
    "Beside them: `HIPPO_REDIS_URL` (then `REDIS_URL`) says where Redis is, `HIPPO_CATALOGUE` which catalogue to use."
)
COMMAND = """
`hippo --help` says the same in a terminal. Results go to stdout, logs and complaints to stderr. Without a terminal \
tables become plain aligned lines. Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted. \
`hippo --install-completion` teaches your shell the commands, event types and services.
""".strip()
FOR_OTHER_ROOMS = {"HippoMessenger.connection"}
"""What other rooms of the package alone may rely on: users can't import its type."""
_SECTION = re.compile(r"^(Args|Raises|Returns):$")
_ENTRY = re.compile(r"^(\S[^:]*): (.*)$")


def pages() -> dict[Path, str]:
    """Every page, by where it stands."""
    return {
        DOCS / "reference" / "api.md": api_page(),
        DOCS / "reference" / "errors.md": errors_page(),
        DOCS / "reference" / "testing.md": kit_page(),
        DOCS / "reference" / "command.md": command_page(),
        DOCS / "settings.md": settings_page(),
    }


def api_page() -> str:
    """Every public name but the errors and the shipped catalogue's models."""
    elsewhere = {*errors.__all__, *golden_hippo.__all__}
    names = [name for name in hippo_messenger.__all__ if name not in elsewhere]
    parts = [
        "# API",
        NOTE,
        API,
        _contents(names),
        *(part for name in names for part in _thing(name, hippo_messenger)),
        *_shipped_catalogue(),
    ]
    return "\n\n".join(parts) + "\n"


def _contents(names: Iterable[str]) -> str:
    return "\n".join(f"- [`{name}`](#{name.lower().replace(' ', '-')})" for name in names)


def _shipped_catalogue() -> Iterator[str]:
    yield "## The shipped catalogue"
    yield (
        "`HippoService` and `HippoEvent` are its enums; each event type has one model of event data. "
        "`hippo events EVENT` shows the fields of one."
    )
    rows = ["| event type | event data | meaning | since |", "|---|---|---|---|"]
    catalogue = golden_hippo.CATALOGUE
    for event_type in catalogue.event_types:
        model = catalogue.model(event_type)
        deprecated = ""
        if model.deprecation is not None:
            instead = model.deprecation.replaced_by
            remedy = f"; send `{instead.value}` instead" if instead is not None else ""
            deprecated = f" **Deprecated:** {model.deprecation.reason}{remedy}."
        rows.append(f"| `{event_type.value}` | `{model.__name__}` | {model.meaning}{deprecated} | {model.since} |")
    yield "\n".join(rows)
    yield "Services: " + ", ".join(f"`{service.name}`" for service in catalogue.services) + "."


def _thing(name: str, package: ModuleType) -> Iterator[str]:
    thing = getattr(package, name)
    yield f"## {name}"
    if inspect.isclass(thing):
        yield from _class(name, thing)
    elif inspect.isfunction(thing):
        yield from _function(name, thing, is_method=False)
    else:
        yield from _alias(name, package)


def _alias(name: str, package: ModuleType) -> Iterator[str]:
    """A type as its module writes it, and the words that stand below."""
    imports = [node for node in ast.walk(_tree(package)) if isinstance(node, ast.ImportFrom)]
    (home,) = [node.module for node in imports if name in [alias.name for alias in node.names]]
    module = sys.modules[str(home)]
    (found,) = [(statement, words) for known, statement, words in _assigned(_tree(module).body) if known == name]
    yield f"```text\n{ast.get_source_segment(inspect.getsource(module), found[0])}\n```"
    yield found[1] or _wordless(name)


def _class(name: str, thing: Any) -> Iterator[str]:
    is_dataclass = "__dataclass_fields__" in vars(thing)
    constructor = vars(thing).get("__init__")
    if constructor is not None and not _is_made_otherwise(thing):
        yield f"```text\n{name}{_signature(constructor, is_method=True)}\n```"
    yield _prose(inspect.getdoc(thing) or "")
    if constructor is not None and constructor.__doc__ and not is_dataclass and not _is_made_otherwise(thing):
        yield _prose(inspect.cleandoc(constructor.__doc__))
    yield from _fields_of(thing) if is_dataclass else _attributes_of(thing)
    for member, value in vars(thing).items():
        if not member.startswith("_") and f"{name}.{member}" not in FOR_OTHER_ROOMS:
            yield from _member(name, member, value)


def _is_made_otherwise(thing: Any) -> bool:
    """Whether nobody calls its constructor, or with what a page of its own says."""
    return issubclass(thing, Enum) or hasattr(thing, "model_fields") or getattr(thing, "_is_protocol", False)


def _fields_of(thing: Any) -> Iterator[str]:
    """The fields of a dataclass, with the words that stand below each."""
    said = _said_in(thing)
    rows = [_row_of(f"{field.name}: {field.type}", said[field.name]) for field in thing.__dataclass_fields__.values()]
    if rows:
        yield "\n".join(rows)


def _attributes_of(thing: Any) -> Iterator[str]:
    """What else may be read of an object, with the words that stand below each; but what a base says already."""
    said = {} if hasattr(thing, "model_fields") or issubclass(thing, Enum) else _said_in(thing)
    above = getattr(thing, "__dataclass_fields__", ())
    rows = [_row_of(name, words) for name, words in said.items() if not name.startswith("_") and name not in above]
    if rows:
        yield "*Attributes:*"
        yield "\n".join(rows)


def _row_of(declared: str, words: str) -> str:
    return f"- `{declared}`" + (f": {words}" if words else "")


def _said_in(thing: Any) -> dict[str, str]:
    """What a class and its constructor give an object, each with the words that stand below it."""
    (tree,) = _tree(thing).body
    assert isinstance(tree, ast.ClassDef)
    made = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    own = [(f"self.{name}", words) for name, _, words in _assigned(tree.body)]
    own += [(name, words) for constructor in made for name, _, words in _assigned(constructor.body)]
    return {name.removeprefix("self."): words for name, words in own if name.startswith("self.")}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt, str]]:
    """Whatever is assigned, its statement, and the words that stand below."""
    for statement, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            words = ast.get_docstring(ast.Module([below], [])) or ""
            yield ast.unparse(target), statement, " ".join(words.split())


def _tree(thing: ModuleType | type) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(thing)))


def _wordless(name: str) -> str:
    raise SystemExit(f"{name} has no words below it")


def _member(owner: str, name: str, value: Any) -> Iterator[str]:
    if isinstance(value, property):
        yield f"### {owner}.{name}"
        yield _prose(inspect.getdoc(value) or "")
        return
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if inspect.isfunction(function):
        yield f"### {owner}.{name}()"
        yield from _function(name, function, is_method=not isinstance(value, staticmethod))


def _function(name: str, function: Callable[..., object], *, is_method: bool) -> Iterator[str]:
    prefix = "await " if inspect.iscoroutinefunction(function) else ""
    yield f"```text\n{prefix}{name}{_signature(function, is_method=is_method)}\n```"
    yield _prose(inspect.getdoc(function) or "")


def _signature(function: Callable[..., object], *, is_method: bool) -> str:
    """A signature, a line for each parameter where it gets long."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1 if is_method else 0 :]
    result = signature.return_annotation
    arrow = "" if result in (inspect.Signature.empty, "None") else f" -> {result}"
    words = _parameters(parameters)
    flat = f"({', '.join(words)}){arrow}"
    if len(flat) <= 90:
        return flat
    return "(\n" + "".join(f"    {word},\n" for word in words) + f"){arrow}"


def _parameters(parameters: Iterable[inspect.Parameter]) -> list[str]:
    words: list[str] = []
    is_starred = was_positional = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not is_starred:
            words.append("*")
            is_starred = True
        is_starred = is_starred or parameter.kind is parameter.VAR_POSITIONAL
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        kind = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        words.append(f"{star}{parameter.name}{kind}{default}")
        is_positional = parameter.kind is parameter.POSITIONAL_ONLY
        if was_positional and not is_positional:
            words.insert(-1, "/")
        was_positional = is_positional
    return [*words, "/"] if was_positional else words


def _prose(docstring: str) -> str:
    """A docstring as Markdown: its sections become lists, and what is indented becomes code."""
    lines: list[str] = []
    is_section = False
    for line in docstring.splitlines():
        section = _SECTION.match(line.strip())
        if section and not line.startswith("        "):
            lines += ["", f"*{section[1]}:*", ""]
            is_section = True
        elif is_section and line.strip():
            entry = _ENTRY.match(line.strip())
            starts = entry is not None and len(line) - len(line.lstrip()) <= 4
            lines.append(f"- `{entry[1]}`: {entry[2]}" if starts and entry is not None else f"  {line.strip()}")
        else:
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def errors_page() -> str:
    """The tree, and what each error means."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].strip()
    parts = ["# Errors", NOTE, ERRORS, f"```text\n{tree}\n```"]
    things = {name: getattr(errors, name) for name in errors.__all__}
    raised = [name for name, thing in things.items() if issubclass(thing, Exception)]
    parts += [part for name in raised for part in _error(name, things[name])]
    parts += [part for name in things if name not in raised for part in _thing(name, errors)]
    return "\n\n".join(parts) + "\n"


def _error(name: str, thing: type[Exception]) -> Iterator[str]:
    yield f"## {name}"
    yield _prose(inspect.getdoc(thing) or "")
    yield from _attributes_of(thing)
    kin = [_with_article(base) for base in thing.__mro__[1:] if base.__module__ == errors.__name__]
    kin += [f"a `{base.__name__}`" for base in _builtins_of(thing)]
    if kin:
        yield "Is " + " and ".join([", ".join(kin[:-1]), kin[-1]] if kin[1:] else kin) + "."


def _with_article(error: type) -> str:
    """A link to an error, and what it brings."""
    name = error.__name__
    brings = ", ".join(f"`{attribute}`" for attribute in _said_in(error))
    article = "an" if name[0] in "AEIOU" else "a"
    return f"{article} [{name}](#{name.lower()})" + (f" (with {brings})" if brings else "")


def _builtins_of(error: type[Exception]) -> list[type]:
    """The errors of Python itself that an error was declared to be as well."""
    declared = [base for kin in error.__mro__ if kin.__module__ == errors.__name__ for base in kin.__bases__]
    return [base for base in dict.fromkeys(declared) if base.__module__ == "builtins" and base is not Exception]


def kit_page() -> str:
    """The test kit, and the fixtures of the pytest plugin."""
    parts = [
        "# Testing",
        NOTE,
        TESTING,
        _contents([*testing.__all__, "Fixtures"]),
        *(part for name in testing.__all__ for part in _thing(name, testing)),
        "## Fixtures",
        FIXTURES,
        "\n".join(["| fixture | gives | for | |", "|---|---|---|---|", *_fixtures()]),
    ]
    return "\n\n".join(parts) + "\n"


def _fixtures() -> Iterator[str]:
    """A row for each fixture, from the source: pytest keeps the functions to itself."""
    for path in (Path(hippo_messenger_pytest.__path__[0]) / name for name in ("with_asyncio.py", "plugin.py")):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.decorator_list:
                assert function.returns is not None
                gives = re.sub(r"^(?:Async)?Iterator\[(.*)\]$", r"\1", ast.unparse(function.returns))
                span = "the whole run" if "session" in ast.unparse(function.decorator_list[0]) else "one test"
                words = " ".join((ast.get_docstring(function) or "").split()) or _wordless(function.name)
                yield f"| `{function.name}` | `{gives}` | {span} | {words} |"


def settings_page() -> str:
    """Every setting with its default and meaning."""
    said = _said_in(Settings)
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `HIPPO_{name.upper()}` | `{field.default}` | {said[name] or _wordless(name)} |")
    return "\n\n".join(["# Settings", NOTE, SETTINGS, "\n".join(rows), BESIDE]) + "\n"


def command_page() -> str:
    """`hippo` and every subcommand, with arguments and options."""
    commands = dict(_commands(typer.main.get_command(app), "hippo"))
    parts = ["# The command", NOTE, COMMAND, _contents(commands)]
    for name, (command, context) in commands.items():
        parts += [f"## {name}", _prose(inspect.cleandoc(command.help or ""))]
        usage = " ".join(word for piece in command.collect_usage_pieces(context) for word in piece.split())
        parts.append(f"```text\n{name} {usage}\n```")
        rows = [_row(parameter, context) for parameter in command.params if parameter.name != "help"]
        if rows:
            parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, name: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every subcommand, those of a group after each other, by all its words."""
    context: Any = typer.Context(group, info_name=name)
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", (command, context)


def _row(parameter: Any, context: Any) -> str:
    record = parameter.get_help_record(context)
    if record is None:
        return f"| `{parameter.make_metavar(context)}` | |"
    name, words = (" ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split()) for text in record)
    is_option = name.startswith("-")
    name = re.sub(
        r"\s*<(\w+)[^>]*>", lambda match: f" {match[1].upper()}" if is_option and match[1] != "bool" else "", name
    )
    words = re.sub(r"\s*\[(?:(default: [^;\]]*); )?x>=([^\]]*)\]", _least, words)
    words = re.sub(r"\s*\[(required|default: [^\]]*)\]", lambda match: f" ({match[1]})", words)
    return f"| `{name}` | {words} |"


def _least(match: re.Match[str]) -> str:
    return f" At least {match[2]}." + (f" [{match[1]}]" if match[1] else "")


def main() -> None:
    """Write the pages, or with --check only compare them."""
    drifted = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in drifted:
            print(f"{path.relative_to(DOCS.parent)} has drifted from the code: make reference", file=sys.stderr)
        sys.exit(1 if drifted else 0)
    for path in drifted:
        path.parent.mkdir(exist_ok=True)
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
