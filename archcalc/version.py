"""The version of archcalc, read by the package, by hatch and by every machine format."""

__version__ = "0.2.0"
