"""`python -m hippo_messenger` is the command `hippo`."""

from __future__ import annotations

from hippo_messenger.cli.entry import main

if __name__ == "__main__":
    main()
