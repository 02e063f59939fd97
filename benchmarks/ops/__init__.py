"""Benchmarks of the fused ops, one module for each: `cpu_cases` for bench_ops.py, `gpu_sources` and `gpu_cases` for the
GPU check's kernel_times.py. A wrong result raises AssertionError there, so its times are never taken."""
