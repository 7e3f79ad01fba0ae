"""Models written as formulas: their grammar, what is made of their equations, and code for engines."""
