"""Experiments on models: what a paper or a benchmark table is made of. In the package, so that they work installed."""
