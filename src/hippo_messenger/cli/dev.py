"""`hippo dev`."""

from __future__ import annotations

from hippo_messenger.broker import HippoBroker
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, read_catalogue, read_settings
from hippo_messenger.cli.output import console, run, show_logs
from hippo_messenger.queues.embedded import EmbeddedServer

__all__ = ["dev"]


def dev(catalogue: CatalogueOption = None, prefix: PrefixOption = None) -> None:
    """Run an embedded server and a broker for this project until Ctrl-C, and say how to connect."""
    show_logs()
    known, settings = read_catalogue(catalogue), read_settings(prefix)

    async def serve() -> None:
        async with EmbeddedServer.shared() as server:
            broker = HippoBroker(redis_connection=server.url, catalogue=known, settings=settings)
            _say_how_to_connect(server.url, settings.prefix)
            await broker.run()

    run(serve())


def _say_how_to_connect(url: str, prefix: str) -> None:
    path = url.removeprefix("unix://")
    terminal = console()
    terminal.print("[bold]A server and a broker for this project[/], until Ctrl-C; the data stays in .hippo/\n")
    for where, words in (
        ("Python", f'HippoMessenger(..., redis_connection="{url}")'),
        ("", 'or redis_connection="embedded", from anywhere in this project'),
        ("Shell", f"export HIPPO_REDIS_URL={url}"),
        ("Node", f"new IORedis('{path}', {{ maxRetriesPerRequest: null }})"),
        ("", f"new Queue('broker', {{ connection, prefix: '{prefix}' }})"),
        ("Look", "hippo services --redis embedded"),
    ):
        terminal.print(f"  [bold]{where:<8}[/]{words}", markup=True, soft_wrap=True)
    terminal.print()
