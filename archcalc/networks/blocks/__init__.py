"""The blocks of the papers by themselves."""
