"""Where the command begins: says how to install what it needs, should that be missing."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; see `hippo_messenger.cli.main`."""
    try:
        from hippo_messenger.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("hippo_messenger"):
            raise
        print(
            f"hippo: the command needs {error.name}: pip install 'hippo-service-messenger[all]', or [cli] without a "
            "broker",
            file=sys.stderr,
        )
        sys.exit(1)
    run()
