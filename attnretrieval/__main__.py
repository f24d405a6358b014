"""`python -m attnretrieval` is `attnretrieval`."""

import sys

from attnretrieval.cli import main

if __name__ == "__main__":
    sys.exit(main())
