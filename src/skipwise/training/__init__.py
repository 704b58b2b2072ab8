"""Training: a base from scratch, and gates together with their base."""
