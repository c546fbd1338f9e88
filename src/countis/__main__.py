"""`python -m countis` and the command `countis`."""

from __future__ import annotations

import os
import sys

from countis.cli.main import main as command
from countis.words.errors import CountisError


def main() -> int:
    """Run the command; an error of ours is one line on stderr and exit code 2."""
    try:
        return command(sys.argv[1:])
    except CountisError as error:
        print(f"countis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
