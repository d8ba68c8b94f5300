"""The clinical rules, one module a family, and their catalogue. Pure functions of windows and clock."""
