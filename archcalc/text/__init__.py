"""Numbers and settings as text, and read back. Imports nothing of archcalc but its errors."""
