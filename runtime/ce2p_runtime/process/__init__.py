"""What concerns the whole process: threads, signals, forks, and libraries that report their use."""
