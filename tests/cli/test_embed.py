"""`skipwise embed` adds embeddings to a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from skipwise.cli.embed import embed
from skipwise.data.manifest import read_manifest
from skipwise.errors import SkipwiseError
from tests.evaluation.corpus import write_corpus


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def run(manifest: Path, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(embed)
    return CliRunner().invoke(app, [str(manifest), *arguments])


def test_every_utterance_gets_the_embeddings_that_are_asked_for(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "with.jsonl"
    told = ["--speaker", "log_mel_statistics", "--event", "noise_statistics", "--output", str(out)]
    result = run(manifest, *told)
    assert result.exit_code == 0 and result.stdout == f"8 utterances in {out}\n", result.output
    utterances = read_manifest(out)
    assert {len(one.speaker_vector or ()) for one in utterances} == {160}
    assert {len(one.event_vector or ()) for one in utterances} == {35}
    assert len({one.speaker_vector for one in utterances}) == 8
    assert [one.transcript for one in utterances] == [one.transcript for one in read_manifest(manifest)]


def test_nothing_to_compute_and_an_unknown_extractor_say_so(manifest: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "with.jsonl")
    for arguments, message in (([], "name an extractor"), (["--speaker", "ears"], "an extractor is log_mel_")):
        result = run(manifest, "--output", out, *arguments)
        assert isinstance(result.exception, SkipwiseError) and message in str(result.exception)
    assert not Path(out).exists()
