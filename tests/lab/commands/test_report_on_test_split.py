from pathlib import Path

import pytest

from annealed_lab.commands.report_on_test_split import report_path, require_first_time
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_json

ONE, OTHER = "a" * 40, "b" * 40


def test_a_report_never_takes_the_place_of_one_on_another_commit(tmp_path: Path) -> None:
    for experiment, commit, name in (
        ("linear", ONE, "linear.json"),
        ("linear", OTHER, f"linear-{OTHER[:12]}.json"),
        ("user/linear", ONE, "user_linear.json"),
        ("user_linear", OTHER, f"user_linear-{OTHER[:12]}.json"),
    ):
        path = report_path(tmp_path, experiment, commit)
        assert path == tmp_path / name
        assert not path.exists()
        write_json(path, {"commit": commit})


def test_a_commit_is_reported_on_once_by_whatever_name(tmp_path: Path) -> None:
    write_json(report_path(tmp_path, "linear", ONE), {"commit": ONE})
    require_first_time(OTHER, "linear", tmp_path)
    for name in ("linear", "main", ONE):
        with pytest.raises(
            InputError, match=f"^{name} was evaluated on the test split already, .*: .*linear.json has the numbers$"
        ):
            require_first_time(ONE, name, tmp_path)
