"""Training: recipes, losses, the loop, and runs that can be killed and resumed."""
