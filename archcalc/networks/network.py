"""The former place of `archcalc.networks.spec`, for packages that import it from here; gone with the next release."""

from archcalc.networks.spec import Family, Input, Network, Paper, Published, at_least, image, one_of

__all__ = ["Family", "Input", "Network", "Paper", "Published", "at_least", "image", "one_of"]
