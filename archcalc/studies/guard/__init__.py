"""A project's budgets, baselines and differences."""
