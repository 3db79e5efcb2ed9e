"""How a gate is computed fast: by which path, and the arithmetic of each."""
