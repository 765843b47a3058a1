"""`shiftaudit`, `python -m shiftaudit`, and the entry point for `torchrun -m shiftaudit`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an interrupt while its modules are still being imported is an interrupt too."""
    try:
        from shiftaudit.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: no result was written\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
