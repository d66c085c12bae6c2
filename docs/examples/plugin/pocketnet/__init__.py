"""A package outside archcalc that adds a network and the formulas of its own ops."""
