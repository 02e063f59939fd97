"""The CUDA kernels against their NumPy references, on random cases that run on a GPU and on the CPU alike."""
