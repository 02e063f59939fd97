"""Training: edge labels, losses, and the short run the demo needs."""
