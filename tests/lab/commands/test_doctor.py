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
