"""The inference engine: what a family's decoder is packed into, and how its steps run under plans."""
