"""Measurements beside other tools and real runs."""
