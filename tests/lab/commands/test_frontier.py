"""Which settings a sweep tries."""

from argparse import Namespace

import pytest

from annealed_lab.commands.frontier import settings_of_run, swept_settings
from annealed_lm.config.config import parse_config
from annealed_lm.config.yaml_files import merge_preset, read_yaml
from support.tiny import ROOT


@pytest.mark.parametrize(("solver", "tried"), [("ddim", 2 * 2 + 1), ("dpm_solver", 2 + 1), ("sde_dpm_solver", 2 + 1)])
def test_a_way_of_sampling_is_tried_once(solver: str, tried: int) -> None:
    """Both eta of the one solver that reads it, and the run's own way among them; beside these one other noise level."""
    values = read_yaml(ROOT / "params.yaml")
    merge_preset(values, {"sample_texts": {"solver": solver, "sampling_timesteps": 50, "ddim_sampling_eta": 1}})
    config, args = parse_config(values), Namespace(sampling_timesteps=[10, 50], solvers=None, eta=[0.0, 1.0])
    found = swept_settings(config, args, levels=[0.0, 0.3])
    assert len(found) == tried
    assert settings_of_run(config) in found
    assert len({(each.sampling_timesteps, each.solver, each.decode_at, each.ddim_sampling_eta) for each in found}) == tried
