import csv
from pathlib import Path

import pytest

from lightning_modules.cli import main

DIGITS = str(Path(__file__).parents[2] / "configs" / "digits.yaml")


def test_attribute_writes_a_row_for_every_training_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    settings = [f"--config={DIGITS}", "--data.image_size=16", "--trainer.enable_progress_bar=false"]
    short = ["--trainer.max_epochs=3", "--run.compare=[]", "--run.wandb=disabled", f"--run.folder={tmp_path}"]
    main(["fit", *settings, *short])
    checkpoint = tmp_path / "digits" / "checkpoints" / "last.ckpt"

    cli = main(["attribute", *settings, f"--ckpt_path={checkpoint}"])

    folder = tmp_path / "digits" / "attribution"
    with (folder / "attribution.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = cli.datamodule.splits.train.everything()[1].tolist()
    assert [int(row["label"]) for row in rows] == labels
    for rank in ("harmful_rank", "helpful_rank", "mislabelled_rank"):
        assert sorted(int(row[rank]) for row in rows) == list(range(1, len(rows) + 1))
    most_harmful = max(rows, key=lambda row: float(row["influence"]))
    assert int(most_harmful["harmful_rank"]) == 1
    for picture in ("harmful.png", "helpful.png", "mislabelled.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_attribute_needs_a_checkpoint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(SystemExit):
        main(["attribute", f"--config={DIGITS}", "--ckpt_path=missing.ckpt"])
    assert "there is no checkpoint missing.ckpt" in capsys.readouterr().err
