"""Makes the virtual environment that ESPnet runs in: `python tests/interop/environment.py .venv-espnet`.

ESPnet is no dependency of skipwise. Its environment borrows torch and what else there is from the one that runs this
script, through a `.pth` file, so that both sides compute with the same torch. Only the standard library is used, and
nothing but pip uses the network, neither here nor when ESPnet is imported.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements-espnet.txt"
# Imported by ESPnet, and not used by what is called here. g2p_en would download data when it is imported; pyworld needs
# a compiler.
EMPTY_MODULES = (
    "torchaudio/__init__.py",
    "torchaudio/functional.py",
    "torchaudio/transforms.py",
    "torchaudio/compliance/__init__.py",
    "torchaudio/compliance/kaldi.py",
    "g2p_en/__init__.py",
    "pyworld/__init__.py",
)
CHECK = "import espnet2.bin.s2t_inference, espnet2.bin.s2t_inference_language, espnetez"


def make(folder: Path) -> None:
    """Fill `folder` and check that ESPnet can be imported from it."""
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "-r", REQUIREMENTS], check=True)
    for name in EMPTY_MODULES:
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run([python, "-c", CHECK], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder.resolve())
    sys.exit(0)
