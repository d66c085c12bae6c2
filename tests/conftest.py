"""Settings of every test: stored traces are off, so that no test reads or writes the user's."""

import os

os.environ["ARCHCALC_CACHE"] = "off"
