"""The training config: what the base is, from its own config, and how to train, from conf/train_gates.yaml.

python local/config.py BASE CONF FOLDER

writes FOLDER/train.yaml, FOLDER/tokens.txt, and the place of the base's weights into FOLDER/base.
"""

import argparse
from pathlib import Path

from skipwise.models.owsm.espnet_checkpoint import read_espnet
from skipwise.models.owsm.espnet_config import write_yaml
from skipwise.models.owsm.espnet_files import EspnetFiles, read_yaml

PARTS = ("frontend", "normalize", "preencoder", "encoder", "postencoder", "decoder", "model", "preprocessor")
OTHERS = ("token_type", "bpemodel", "input_size", "ctc_conf", "init")


def main(base: Path, conf: Path, folder: Path) -> None:
    """Write the files; the base's own files are named by their places here."""
    files = EspnetFiles.find(base)
    born = read_espnet(files).config
    config = {name: born[name] for part in PARTS for name in (part, f"{part}_conf") if name in born}
    config |= {name: born[name] for name in OTHERS if name in born}
    config["bpemodel"] = str(files.needed("bpemodel", born.get("bpemodel")).resolve())
    stats_file = files.needed("normalize_conf.stats_file", (born.get("normalize_conf") or {}).get("stats_file"))
    config["normalize_conf"] = {**(born.get("normalize_conf") or {}), "stats_file": str(stats_file.resolve())}
    config["token_list"] = str((folder / "tokens.txt").resolve())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in born["token_list"]), encoding="utf-8")
    (folder / "base").write_text(str(files.weights.resolve()), encoding="utf-8")
    with (folder / "train.yaml").open("w", encoding="utf-8") as file:
        write_yaml(file, config | read_yaml(conf))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("conf", type=Path)
    parser.add_argument("folder", type=Path)
    main(**vars(parser.parse_args()))
