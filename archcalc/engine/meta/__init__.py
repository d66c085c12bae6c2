"""Tensors without data: modules built of them, rules for their shapes, refusals, values that stay known."""
