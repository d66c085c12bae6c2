"""The least time of a model on one or several devices."""
