"""``python -m reidlib …`` is ``reidlib …``."""

from reidlib.commands.table import main

if __name__ == "__main__":
    main()
