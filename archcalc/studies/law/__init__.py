"""How figures grow with knobs, as exact formulas."""
