"""The parts of `make gpu-check`, each a program of its own: `python -m benchmarks.gpu.kernel_checks --json FILE`."""
