"""Memory, loading, first token and cold start: each in a process of its own, because a peak is one of a process.

    python -m skipwise.experiments.bench.memory MODEL DTYPE THREADS

loads a model, packs it, says the first token of a window, and prints what that took as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.timing import Work, take_turns

_COLD = {
    "import torch": "import torch",
    "skipwise --help": "import sys; sys.argv = ['skipwise', '--help']; from skipwise.cli.main import main; main()",
}


def measure_memory(folder: Path, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Return loading, packing, first token and peak memory of each precision, and cold starts; `folder` is a model."""
    children = {}
    for dtype in settings.dtypes:
        runs = [_child(folder, dtype, settings.threads) for _ in range(min(3, settings.rounds))]
        children[dtype] = {name: min(run[name] for run in runs) for name in runs[0]}
        on_round()
    works: dict[str, Work] = {name: _python(code) for name, code in _COLD.items()}
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "clip.wav"
        _write_clip(clip)
        works["skipwise transcribe"] = _python(
            f"import sys; sys.argv = ['skipwise', 'transcribe', {str(clip)!r}, '--language', 'de']; "
            "from skipwise.cli.main import main; main()"
        )
        rounds = take_turns(works, rounds=min(3, settings.rounds))
    on_round()
    return {"model_bytes": _size(folder), "by_dtype": children, "cold_start": rounds.to_dict()}


def _child(folder: Path, dtype: str, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "skipwise.experiments.bench.memory", str(folder), dtype, str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _python(code: str) -> Work:
    def work() -> Mapping[str, float]:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return {"total": time.perf_counter() - start}

    return work


def _write_clip(path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(2 * 16_000), 16_000)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def main(folder: Path, dtype: str, threads: int) -> None:
    """Measure in this process and print one line of JSON."""
    import torch

    from skipwise.models.owsm.engine import OwsmEngine
    from skipwise.models.owsm.loading import load_owsm
    from skipwise.models.precision import check_dtype

    torch.set_num_threads(threads)
    before_gb = _peak_gb()
    start = time.perf_counter()
    network = load_owsm(folder).network
    loaded = time.perf_counter()
    engine = OwsmEngine(network, check_dtype(dtype, torch.device("cpu"), num_weights=0))
    packed = time.perf_counter()
    packed_gb = _peak_gb()
    prompt = network.config.prompt(network.config.languages[0], network.config.tasks[0])
    with torch.inference_mode():
        encoded = engine.encode(engine.embed(network.extract([0.1 * torch.randn(10 * 16_000)])))
        encoded_at = time.perf_counter()
        engine.decoder.step(torch.tensor(prompt)[None, None], engine.decoder.start(encoded)).argmax()
    done = time.perf_counter()
    found = {
        "load_s": loaded - start,
        "pack_s": packed - loaded,
        "first_token_s": done - packed,
        "first_token_after_encoder_s": done - encoded_at,
        "peak_gb_packed": packed_gb,
        "peak_gb": _peak_gb(),
        "peak_gb_before": before_gb,
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _peak_gb() -> float:
    """The most that this process has had in memory, mapped pages included; ru_maxrss would have the parent's in it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes, on macOS
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak) * 1024 / 1e9


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
