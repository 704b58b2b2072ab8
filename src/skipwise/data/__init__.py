"""What to train and test on: utterances, manifests, Europarl-ST, batches."""
