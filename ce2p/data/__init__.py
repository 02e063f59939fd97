"""Data sets: folder layouts, annotations, and what is wrong with them."""
