"""`python -m archcalc`."""

import sys

from archcalc.cli import process

if __name__ == "__main__":
    sys.exit(process())
