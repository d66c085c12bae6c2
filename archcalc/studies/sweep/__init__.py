"""A grid of members, measured one by one or in parallel."""
