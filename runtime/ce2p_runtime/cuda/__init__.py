"""The GPU side of the runtime: kernels compiled, loaded and launched. Nothing here is imported before it is used."""
