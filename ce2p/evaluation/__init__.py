"""How good a parsing is: scores of label maps, of people and their parts, and what was published. Imports no torch."""
