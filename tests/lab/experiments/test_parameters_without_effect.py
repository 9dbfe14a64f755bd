from annealed_lab.experiments.parameters_without_effect import WITHOUT_EFFECT_ANYWHERE, irrelevant_parameters
from annealed_lm.config.effects import parameters_without_effect
from annealed_lm.config.yaml_files import value_at
from support.tiny import tiny_params


def test_how_a_run_is_watched_interrupted_and_spread_changes_nothing_in_it() -> None:
    assert {"trackers", "train_diffusion.num_processes", "train_diffusion.checkpoint_every"} <= WITHOUT_EFFECT_ANYWHERE
    for key in WITHOUT_EFFECT_ANYWHERE:
        value_at(tiny_params(), key)
    assert irrelevant_parameters(tiny_params()) == WITHOUT_EFFECT_ANYWHERE | parameters_without_effect(tiny_params())
