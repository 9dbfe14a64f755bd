import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion.model import DiffusionModel, ProcessSettings, kept_models
from support.tiny import denoiser_settings

SETTINGS = denoiser_settings(dropout=0.5)
PROCESS = ProcessSettings(
    "tan", timesteps=50, tan_d=3, objective="pred_v", loss_type="l1", normalize_latent=True, first_timestep=20
)


def make(settings: DenoiserSettings = SETTINGS, labels: tuple[str, ...] = ()) -> DiffusionModel:
    denoiser = DenoisingTransformer(settings)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter)
    return DiffusionModel(denoiser, PROCESS, labels)


def test_a_saved_model_keeps_its_guide(tmp_path: Path) -> None:
    model = dataclasses.replace(make(), guide=make().denoiser)
    model.save(tmp_path / "diffusion")
    loaded = DiffusionModel.load(tmp_path / "diffusion")
    assert model.guide is not None
    assert loaded.guide is not None
    for name, weight in loaded.guide.state_dict().items():
        assert torch.equal(weight, model.guide.state_dict()[name])
    assert not torch.equal(loaded.guide.input.weight, loaded.denoiser.input.weight)
    assert not loaded.guide.training


def test_kept_models_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for name in ("1000000", "250000", "750000", "000500"):
        (tmp_path / name).mkdir()
    assert [each.name for each in kept_models(tmp_path)] == ["000500", "250000", "750000", "1000000"]


@pytest.mark.parametrize("changes", [{}, {"scale_shift": False}, {"self_condition": False}])
def test_a_saved_model_gives_the_same_output_without_dropout(changes: dict[str, bool], tmp_path: Path) -> None:
    model = make(dataclasses.replace(SETTINGS, **changes))
    model.save(tmp_path / "diffusion")
    loaded = DiffusionModel.load(tmp_path / "diffusion")
    inputs = torch.randn(2, 6, 4), torch.tensor([0.1, 1.0]), torch.ones(2, 6, dtype=torch.bool), torch.randn(2, 6, 4)
    assert loaded.process == PROCESS
    assert loaded.labels == ()
    assert loaded.guide is None
    assert loaded.denoiser.settings == model.denoiser.settings
    assert torch.equal(loaded.denoiser(*inputs), model.denoiser.eval()(*inputs))


def test_a_saved_model_knows_its_classes_by_name(tmp_path: Path) -> None:
    labels = ("World", "Sports", "Science/Technology", "Économie")
    model = make(dataclasses.replace(SETTINGS, num_classes=4), labels)
    model.save(tmp_path / "diffusion")
    loaded = DiffusionModel.load(tmp_path / "diffusion")
    assert loaded.labels == labels
    inputs = (
        torch.randn(5, 6, 4),
        torch.full((5,), 0.5),
        torch.ones(5, 6, dtype=torch.bool),
        torch.randn(5, 6, 4),
        torch.arange(5),
    )
    assert torch.equal(loaded.denoiser(*inputs), model.denoiser.eval()(*inputs))


def test_the_process_has_the_settings_of_the_model() -> None:
    process = PROCESS.diffusion("cpu")
    assert process.timesteps == len(process.alphas_cumprod) == 50
    assert process.objective == "pred_v"
    assert float(process.alphas_cumprod[24]) == pytest.approx(1 / (1 + 9))  # tan(pi / 4) = 1


def test_saving_replaces_the_model_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "diffusion").mkdir()
    (tmp_path / "diffusion" / "stale").touch()
    make().save(tmp_path / "diffusion")
    assert {path.name for path in (tmp_path / "diffusion").iterdir()} == {"denoiser.safetensors", "diffusion.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["diffusion"]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no diffusion model"):
        DiffusionModel.load(tmp_path)
