from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import colours
import scenes
from iem_xp import models
from iem_xp.config import IEMConfig
from iem_xp.models import ModelError, describe, is_begun, open_model, read_facts, settings_of, train_model
from iem_xp.runs.settings import Settings
from iem_xp.trainers import TrainerError

SETTINGS = Settings(IEMConfig(sigma=3.0, init_sides=(44, 78)), size=16, fit="squash")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> colours.Trainer:
    return colours.install(monkeypatch)


@pytest.fixture
def labels(tmp_path: Path, rng: np.random.Generator) -> Path:
    masks = np.stack([scenes.mask(rng, 16, 16) for _ in range(3)])
    colours.write_labels(tmp_path / "labels", np.where(masks[..., None], 200, 50).repeat(3, -1), masks)
    return tmp_path / "labels"


def train(folder: Path, labels: Path, **options: Any) -> dict[str, Any]:
    return train_model(folder, labels, describe("colours", SETTINGS, options), lambda *_: None)


def test_a_trained_network_is_opened_with_what_is_known_of_it(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    made = train(tmp_path / "model", labels, epochs=4)
    model, facts = open_model(tmp_path / "model")
    assert facts == made
    assert (facts["trainer"], facts["size"], facts["fit"]) == ("colours", 16, "squash")
    assert (facts["options"], facts["epochs"], facts["figures"]) == ({"epochs": 4}, 4, {"loss": 0.25})
    assert facts["history"] == [{"loss": 1.0}, {"loss": 0.5}, {"loss": pytest.approx(1 / 3)}, {"loss": 0.25}]
    assert settings_of(facts) == SETTINGS
    image = np.full((1, 16, 16, 3), 200, np.uint8)
    assert (model.predict(image) > 0.5).all()


def test_no_two_networks_have_the_same_id(tmp_path: Path, trainer: colours.Trainer, labels: Path) -> None:
    ids = {train(tmp_path / name, labels)["id"] for name in ("a", "b")}
    assert len(ids) == 2
    assert all(int(number, 16) >= 0 for number in ids)


@pytest.mark.parametrize("trained", [True, False])
def test_a_network_of_before_edges_is_one_without(
    tmp_path: Path, trainer: colours.Trainer, labels: Path, trained: bool
) -> None:
    made = train(tmp_path / "model", labels) | {"trained": trained}
    del made["edges"]
    (tmp_path / "model" / models.FILE).write_text(json.dumps(made))
    assert (train(tmp_path / "model", labels)["id"] == made["id"]) == trained
    assert settings_of(made).edges == "none"
    guided = describe("colours", replace(SETTINGS, edges="guided"), {})
    assert settings_of(guided).edges == "guided"
    with pytest.raises(ModelError, match='edges: "none" there, "guided" now'):
        train_model(tmp_path / "model", labels, guided, lambda *_: None)


def test_a_trained_network_is_left_as_it_is(tmp_path: Path, trainer: colours.Trainer, labels: Path) -> None:
    made = train(tmp_path / "model", labels)
    assert train(tmp_path / "model", labels) == made
    assert len(trainer.fits) == 1


def test_other_options_are_an_error_that_names_them(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    made = train(tmp_path / "model", labels, epochs=4)
    with pytest.raises(ModelError, match=r"another network\n  options.epochs: 4 there, null now\nremove"):
        train(tmp_path / "model", labels)
    assert read_facts(tmp_path / "model") == made


def test_progress_is_passed_on(tmp_path: Path, trainer: colours.Trainer, labels: Path) -> None:
    seen: list[tuple[Any, ...]] = []
    train_model(
        tmp_path / "model", labels, describe("colours", SETTINGS, {}), lambda *args: seen.append(args)
    )
    assert seen == [(1, 2, {"loss": 1.0}), (2, 2, {"loss": 0.5})]


def test_an_interrupted_training_is_known_as_begun_and_is_continued(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    trainer.interrupt_at = 1
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "model", labels)
    assert is_begun(tmp_path / "model")
    with pytest.raises(ModelError, match=r"training is not finished; the same iem-xp refine"):
        open_model(tmp_path / "model")
    assert trainer.loads == 0
    trainer.interrupt_at = None
    assert train(tmp_path / "model", labels)["trained"] is True


def test_an_option_that_the_trainer_refuses_leaves_nothing(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    with pytest.raises(ModelError, match=r"trainer colours: there is no option 'depth'"):
        train(tmp_path / "model", labels, depth=3)
    assert not is_begun(tmp_path / "model")


def test_a_folder_without_a_network_is_an_error_that_leads_to_one(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    with pytest.raises(ModelError, match=r"run: no network is there, .* iem-xp refine makes one"):
        open_model(tmp_path / "run")
    train(tmp_path / "run" / "models" / "colours", labels)
    with pytest.raises(ModelError, match=r"did you mean \S*run/models/colours\?"):
        open_model(tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "format_version"),
        ('{"format_version": 1}', "config"),
        ('{"format_version": 1, "config": {"sigma": -1}, "size": 16, "fit": "crop"}', "sigma"),
        ('{"format_version": 1, "config": {}, "size": 16, "fit": "crop", "trainer": "x"}', "trained"),
        (
            '{"format_version": 1, "config": {}, "size": 16, "fit": "crop", "trainer": 1, "trained": true}',
            "trainer",
        ),
        *(
            (
                '{"format_version": 1, "config": {}, "size": 16, "fit": "crop", "trainer": "x", '
                f'"trained": true, "history": {history}}}',
                "history",
            )
            for history in ("5", "[5]", '[{"loss": "low"}]')
        ),
    ],
)
def test_a_damaged_file_is_an_error_that_says_what_is_wrong(tmp_path: Path, content: str, cause: str) -> None:
    (tmp_path / models.FILE).write_text(content)
    with pytest.raises(ModelError, match=rf"iem-xp.json: cannot be read: .*{cause}.* refine --overwrite"):
        read_facts(tmp_path)


def test_a_newer_format_is_an_error_that_says_to_upgrade(tmp_path: Path) -> None:
    (tmp_path / models.FILE).write_text('{"format_version": 2}')
    with pytest.raises(ModelError, match=r"has format 2, .* pip install -U iem-xp"):
        read_facts(tmp_path)


def test_a_network_whose_files_are_gone_is_an_error(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    train(tmp_path / "model", labels)
    (tmp_path / "model" / colours.FILE).unlink()
    with pytest.raises(ModelError, match=r"trainer colours cannot open its network: FileNotFoundError"):
        open_model(tmp_path / "model")


def test_a_network_without_its_trainer_is_an_error_that_says_what_to_install(
    tmp_path: Path, trainer: colours.Trainer, labels: Path
) -> None:
    train(tmp_path / "model", labels)
    facts = read_facts(tmp_path / "model") | {"trainer": "kerass"}
    (tmp_path / "model" / models.FILE).write_text(json.dumps(facts))
    with pytest.raises(TrainerError, match=r"no trainer is named 'kerass'.*pip install"):
        open_model(tmp_path / "model")
