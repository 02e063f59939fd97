"""What stands in an exported file and beside an engine, read without the library that runs them."""
