"""The `ce2p` command line. The only part of this package that imports the other two packages."""
