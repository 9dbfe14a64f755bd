from contextlib import nullcontext
from functools import partial

import pytest

from annealed_lab.commands import doctor
from annealed_lab.experiments import checkout


def test_every_check_of_a_checkout_is_made() -> None:
    checks = {check for name, check in vars(checkout).items() if name.startswith("check_")}
    assert set(doctor.CHECKS.values()) == checks


def test_what_was_found_stands_behind_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"sun": lambda: None, "rain": lambda: "it pours: take an umbrella"})
    with pytest.raises(SystemExit) as ended:
        doctor.main("lab.py doctor", [])
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == ["sun             ok", "rain            it pours: take an umbrella"]


def test_without_a_finding_it_ends_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"sun": lambda: None})
    doctor.main("lab.py doctor", [])
    assert capsys.readouterr().out.split() == ["sun", "ok"]


def checked(monkeypatch: pytest.MonkeyPatch, findings: dict[str, str]) -> None:
    """Put checks that find this, or nothing, in the place of all."""
    checks = {name: partial(findings.get, name) for name in doctor.CHECKS}
    for kind in ("DECISIVE", "TOLD"):
        monkeypatch.setattr(doctor, kind, tuple(checks[name] for name in checks if doctor.CHECKS[name] in getattr(doctor, kind)))
    monkeypatch.setattr(doctor, "CHECKS", checks)


@pytest.mark.parametrize(
    ("name", "status"), [("git repository", 1), ("other runs", 1), ("path", 0), ("packages", None), ("git stash", None)]
)
def test_before_a_run_only_what_concerns_it_is_told_and_only_what_would_lose_it_decides(
    name: str, status: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(monkeypatch, {name: "what was found"})
    with pytest.raises(SystemExit) if status else nullcontext():
        doctor.main("lab.py doctor", ["--before-run"])
    assert capsys.readouterr().out == ("" if status is None else f"{name:16}what was found\n")
    with pytest.raises(SystemExit):
        doctor.main("lab.py doctor", [])


def test_before_a_run_nothing_is_said_of_what_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(monkeypatch, {})
    doctor.main("lab.py doctor", ["--before-run"])
    assert capsys.readouterr().out == ""
