"""`python -m skipwise.training.espnet.train --config conf/train.yaml ...`: ESPnet's `s2t_train`, with gates."""

from skipwise.training.espnet.task import GatedS2TTask

if __name__ == "__main__":
    GatedS2TTask.main()
