"""Why a layer has the figures it has: formulas in letters, then with its numbers."""
