"""``python -m roentmod``: the command line, where its script is not on the path."""

from roentmod.cli import main

if __name__ == "__main__":
    main()
