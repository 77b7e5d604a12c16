"""The command `hippo`: puts the subcommands together, and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from hippo_messenger.cli.broker import broker
from hippo_messenger.cli.cancel import cancel
from hippo_messenger.cli.demo import demo
from hippo_messenger.cli.dev import dev
from hippo_messenger.cli.events import events
from hippo_messenger.cli.failed.group import failed
from hippo_messenger.cli.limit import limit
from hippo_messenger.cli.output import complain, package_version
from hippo_messenger.cli.pause import pause, resume
from hippo_messenger.cli.send import send
from hippo_messenger.cli.services import services
from hippo_messenger.cli.status import status
from hippo_messenger.cli.streams import complain_of, open_streams, write_out
from hippo_messenger.cli.tail import tail
from hippo_messenger.cli.unregister import unregister
from hippo_messenger.cli.worker import worker
from hippo_messenger.errors import ConfigurationError, EventError, HippoError

__all__ = ["app", "main"]

_DEBUG = "--debug"
_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's; typer brings a click of its own, or takes the installed one."""

app = typer.Typer(
    name="hippo",
    help="Typed events between services, over the Redis they already run.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    dev,
    broker,
    worker,
    send,
    tail,
    status,
    services,
    events,
    pause,
    resume,
    limit,
    unregister,
    cancel,
):
    app.command()(command)
app.add_typer(failed)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hippo {package_version()}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Typed events between services, over the Redis they already run."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(_MISUSED)


def main() -> None:
    """Run the command line; exit code 0 is done, 1 failed, 2 misused, 130 interrupted."""
    open_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what stands in a queue may be no text
    words = [word for word in sys.argv[1:] if word != _DEBUG]
    code = _code_of(words, debug=_DEBUG in sys.argv[1:])
    fault = write_out()
    if fault is not None and not code:
        code = _FAILED
        complain_of(fault)
    sys.exit(code)


def _code_of(words: list[str], *, debug: bool) -> int:
    """What a command ends with, once it has said what went wrong."""
    try:
        return app(words, prog_name="hippo", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except _UsageError as error:
        complain(_usage_of(error))
        return _MISUSED
    except HippoError as error:
        if debug:
            raise
        complain(str(error))
        return _MISUSED if isinstance(error, ConfigurationError | EventError) else _FAILED
    except OSError as error:
        if debug or error.errno is None:  # a TimeoutError of asyncio's has none, and is a fault of ours
            raise
        complain_of(error)
        return _FAILED


def _usage_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = "hippo" if context is None else context.command_path
    message = getattr(error, "format_message", error.__str__)()
    return f"{message.rstrip('.')}; see {command} --help"
