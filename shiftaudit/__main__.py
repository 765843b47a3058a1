"""`python -m shiftaudit`, and the entry point for `torchrun -m shiftaudit`."""

from shiftaudit.cli.main import main

if __name__ == "__main__":
    main()
