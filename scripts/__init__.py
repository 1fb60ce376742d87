"""Entry points only: read arguments, call a package, print."""
