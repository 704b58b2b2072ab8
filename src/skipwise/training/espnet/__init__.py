"""Gates trained by ESPnet's own trainer, or through espnetez. Asks for ESPnet: nothing else imports this package."""

from importlib.util import find_spec

from skipwise.errors import SkipwiseError

if find_spec("espnet2") is None:
    raise SkipwiseError(
        'training with ESPnet needs ESPnet, which is not installed: pip install "skipwise[espnet]", or as '
        "docs/espnet.md says."
    )
