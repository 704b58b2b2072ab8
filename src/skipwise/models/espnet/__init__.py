"""Gates on a live ESPnet model, for people who train and decode with ESPnet. Nothing here imports ESPnet unasked."""
