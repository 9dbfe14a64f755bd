from annealed_lm.annealing import T_SCHEDULES, diffusion_range
from annealed_lm.reporting import SHOWN_STEPS, by_range, columns, compare_T_schedules, long_table, summary


def test_columns_are_numbers_in_the_order_of_the_rows() -> None:
    assert columns([{"step": "0", "loss": "1e-3", "x": "no"}, {"step": "5", "loss": "2"}], ("step", "loss")) == {
        "step": [0, 5],
        "loss": [0.001, 2],
    }


def test_each_range_of_t_has_its_curve() -> None:
    rows = [
        {"step": step, "t_range": t_range, "loss": loss}
        for step, t_range, loss in [("1", "0-9", "3"), ("1", "10-19", "4"), ("2", "0-9", "2")]
    ]
    assert by_range(rows) == {"0-9": {"step": [1, 2], "loss": [3, 2]}, "10-19": {"step": [1], "loss": [4]}}


def test_every_T_schedule_is_compared_at_the_settings_of_the_run() -> None:
    lines = compare_T_schedules(total_steps=1000, timesteps=500, power=3, start_fraction=0.1, anneal_fraction=0.8)
    assert set(lines) == set(T_SCHEDULES)
    for name, line in lines.items():
        assert SHOWN_STEPS <= len(line["step"]) <= 2 * SHOWN_STEPS
        assert line["T_now"] == [diffusion_range(name, int(step), 1000, 500, 3, 0.1, 0.8) for step in line["step"]]


def test_a_short_training_is_shown_at_every_step() -> None:
    assert compare_T_schedules(3, 10, 2, 0.2, 0.5)["linear"]["step"] == [0, 1, 2]


def test_long_table_names_the_line_of_each_row() -> None:
    assert long_table({"a": {"x": [1, 2], "y": [3, 4]}, "b": {"x": [5], "y": [6]}}, "line") == [
        {"line": "a", "x": 1, "y": 3},
        {"line": "a", "x": 2, "y": 4},
        {"line": "b", "x": 5, "y": 6},
    ]


def test_summary_has_a_line_for_each_set_and_a_dash_for_what_it_lacks() -> None:
    table = summary(
        {"generated": {"grammatical": 0.9, "perplexity": 12.3456, "mauve_valid": 0.8}, "train_valid": {"perplexity": 9.0}}
    )
    assert [line.split() for line in table.splitlines()] == [
        ["grammatical", "perplexity", "mauve_valid"],
        ["generated", "0.900", "12.346", "0.800"],
        ["train_valid", "-", "9.000", "-"],
    ]
    assert len({len(line) for line in table.splitlines()}) == 1
