"""Times that can be compared: callables in turn, percentiles, and what the machine was doing."""
