"""`skipwise bench`: how fast the engine is, dense and pruned, against named peers and against the ideal."""
