"""Where an ESPnet model's files lie: in an experiment's folder, in a packed archive, or in a repository of the Hub.

Source: ESPnet 202511, `espnet2.main_funcs.pack_funcs`: `meta.yaml` names the config and the weights, from the root on.
"""

from __future__ import annotations

import fnmatch
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

import yaml

from skipwise.errors import SkipwiseError

META_FILE = "meta.yaml"
TRAIN_CONFIG = "config.yaml"
MODEL_KEY, CONFIG_KEY = "s2t_model_file", "s2t_train_config"
ESPNET_PATTERNS = (META_FILE, f"*{TRAIN_CONFIG}", "*.pth", "*.model", "*stats.np[yz]", "*tokens.txt")
"""The files of a packed model that it needs, of all those that may lie in it."""

_CHOICES_NAMED = 6


@final
@dataclass(frozen=True, kw_only=True)
class EspnetFiles:
    """The two files that an ESPnet model is read from, and where the others, which its config names, are looked for."""

    config: Path
    weights: Path
    root: Path
    name: str
    """What the user called it."""

    @classmethod
    def find(cls, source: Path, *, name: str | None = None) -> EspnetFiles:
        """Return the files of an ESPnet folder, or those that belong to a `.pth` or a `config.yaml`.

        Raises:
            SkipwiseError: if one is missing, or if there are several to choose from.
        """
        name = name or str(source)
        if (source / META_FILE).is_file():
            return cls._of_meta(source, name)
        if source.suffix == ".pth":
            config = source.with_name(TRAIN_CONFIG)
            if not config.is_file():
                raise SkipwiseError(f"no ESPnet model at {name}: {TRAIN_CONFIG} is missing beside it.")
            return cls(config=config, weights=source, root=source.parent, name=name)
        if source.is_file():
            config, root = source, source.parent
        else:
            config, root = _only(source.rglob(TRAIN_CONFIG), TRAIN_CONFIG, name), source
        beside = sorted(config.parent.glob("*.pth")) or root.rglob("*.pth")
        return cls(config=config, weights=_only(beside, ".pth file", name), root=root, name=name)

    @classmethod
    def _of_meta(cls, root: Path, name: str) -> EspnetFiles:
        meta = read_yaml(root / META_FILE)
        named = {**(meta.get("files") or {}), **(meta.get("yaml_files") or {})}
        missing = [key for key in (MODEL_KEY, CONFIG_KEY) if key not in named]
        if missing:
            raise SkipwiseError(
                f"{name} is no speech-to-text model of ESPnet (s2t): its {META_FILE} lacks {', '.join(missing)} and "
                f"names {', '.join(named) or 'nothing'}."
            )
        config, weights = (root / str(named[key]) for key in (CONFIG_KEY, MODEL_KEY))
        for path in (config, weights):
            if not path.is_file():
                raise SkipwiseError(f"{name} is not a whole ESPnet model: {path.relative_to(root)} is missing.")
        return cls(config=config, weights=weights, root=root, name=name)

    def needed(self, option: str, value: str | None) -> Path:
        """Return the file that an option of the config names.

        The path in it began where the model was trained, and may begin anywhere now: the longest part that is found
        counts.

        Raises:
            SkipwiseError: if it is not there.
        """
        if not value:
            raise SkipwiseError(f"{self.name} is not a whole ESPnet model: {option} is missing in {self.config.name}.")
        parts = Path(value).parts
        for base in (self.root, *self.config.parents[:4]):
            if (base / value).is_file():
                return base / value
        for start in range(1, len(parts)):
            for base in (self.root, self.config.parent):
                if base.joinpath(*parts[start:]).is_file():
                    return base.joinpath(*parts[start:])
        raise SkipwiseError(
            f"{self.name} is not a whole ESPnet model: {value} ({option} in {self.config.name}) is missing. "
            "Copy it to that place in the model's folder, or beside the config."
        )


def has_espnet_files(folder: Path) -> bool:
    """Return whether a folder seems to hold a model in ESPnet's layout, perhaps not a whole one."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    named = (pattern for depth in depths for pattern in (f"{depth}{TRAIN_CONFIG}", f"{depth}*.pth"))
    return (folder / META_FILE).is_file() or any(True for pattern in named for _ in folder.glob(pattern))


@contextmanager
def unpacked(archive: Path, *, beside: Path) -> Iterator[Path]:
    """A folder with a packed model's files, until the block ends; it takes their space on the disk of `beside`.

    Raises:
        SkipwiseError: if the file is no archive, or a damaged one.
    """
    is_tar = tarfile.is_tarfile(archive)  # first: a tar that ends with a .pth, itself a zip, looks like a zip
    if not is_tar and not zipfile.is_zipfile(archive):
        raise SkipwiseError(
            f"{archive} is no packed ESPnet model: neither zip nor tar. Give one, a model's folder, its .pth file, or "
            "a Hub name."
        )
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=beside) as folder:
        try:
            if is_tar:
                with tarfile.open(archive) as packed:
                    _extract(packed, Path(folder))
            else:
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(folder, [name for name in packed.namelist() if _is_needed(name)])
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise SkipwiseError(f"cannot unpack {archive}: {error}. Copy it again.") from error
        yield Path(folder)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; libyaml reads a list of 50,000 tokens in a second.

    Raises:
        SkipwiseError: if it holds anything else.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        record = yaml.load(path.read_bytes(), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SkipwiseError(f"{path} is not YAML: {reason}. Copy the model again.") from error
    if not isinstance(record, Mapping):
        raise SkipwiseError(f"{path} must hold a mapping, got a {type(record).__name__}. Copy the model again.")
    return dict(record)


def _extract(packed: tarfile.TarFile, folder: Path) -> None:
    """The files that are needed and stay inside; tarfile's own filter for that is missing in Debian 12's Python."""
    for member in packed:
        place = PurePosixPath(member.name)
        content = packed.extractfile(member) if member.isfile() and _is_needed(member.name) else None
        if content is None or place.is_absolute() or ".." in place.parts:
            continue
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        with content, (folder / place).open("wb") as file:
            shutil.copyfileobj(content, file)


def _is_needed(member: str) -> bool:
    return any(fnmatch.fnmatch(member.removeprefix("./"), pattern) for pattern in ESPNET_PATTERNS)


def _only(paths: Iterator[Path] | list[Path], what: str, name: str) -> Path:
    """The one file among them; links to the same file count once."""
    found = list({path.resolve(): path for path in sorted(paths)}.values())
    if not found:
        raise SkipwiseError(f"no ESPnet model in {name}: there is no {what} in it.")
    if len(found) > 1:
        best = min(found, key=lambda path: (".ave" not in path.name, "best" not in path.name, path))
        names = ", ".join(path.name if what != TRAIN_CONFIG else str(path) for path in found[:_CHOICES_NAMED])
        more = f" and {len(found) - _CHOICES_NAMED} more" if len(found) > _CHOICES_NAMED else ""
        raise SkipwiseError(f"{name} holds more than one {what}: {names}{more}. Name one of them, such as {best}.")
    return found[0]
