"""What everything stands on: files written whole, JSON and caches read with limits, text for people."""
