import pytest

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.generation.reconstruction import NOISE_LEVELS, SHOWN_TEXTS, reconstruction_report, share_in_place
from annealed_lm.generation.reconstruction import TEXTS as MOST_TEXTS
from support.tiny import LAYOUTS, TEXTS, make_autoencoder


def test_a_perfect_reconstruction_has_every_token_in_its_place() -> None:
    assert share_in_place([0, 5, 6, 2], [0, 5, 6, 2]) == 1
    assert share_in_place([0, 5, 6, 2], [0, 6, 6, 2]) == 0.75
    assert share_in_place([0, 5, 6, 2], [0, 5]) == 0.5
    assert share_in_place([0, 5], [0, 5, 6, 2]) == 1
    assert share_in_place([0, 5, 6, 2], [9, 0, 5, 6]) == 0


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_a_trained_autoencoder_gives_texts_back_the_better_the_less_noise(
    latent_layout: str, trained_autoencoders: dict[str, Autoencoder]
) -> None:
    report = reconstruction_report(trained_autoencoders[latent_layout], TEXTS[:100], seed=0)
    exact, token = ([report[f"noise_{level}"][name] for level in NOISE_LEVELS] for name in ("exact", "token"))
    assert exact[0] > 0.8
    assert token[0] > 0.95
    for shares in (exact, token):
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < shares[0] - 0.1
    assert all(each <= all_tokens for each, all_tokens in zip(exact, token, strict=True))


def test_an_untrained_autoencoder_gives_none_back() -> None:
    report = reconstruction_report(make_autoencoder(), TEXTS[:50], seed=0)
    assert [report[f"noise_{level}"]["exact"] for level in NOISE_LEVELS] == [0] * len(NOISE_LEVELS)
    assert report["noise_0.0"]["token"] < 0.5


def test_texts_that_the_tokenizer_cannot_write_count_as_failures(trained_autoencoders: dict[str, Autoencoder]) -> None:
    unknown = [f"{text} indeed" for text in TEXTS[:20]]
    report = reconstruction_report(trained_autoencoders["compressed"], unknown, seed=0)
    assert report["noise_0.0"]["exact"] == 0


def test_the_decoders_own_texts_depend_on_the_seed_and_on_no_text(trained_autoencoders: dict[str, Autoencoder]) -> None:
    autoencoder = trained_autoencoders["compressed"]
    first, again, other = (reconstruction_report(autoencoder, TEXTS[:30], seed) for seed in (0, 0, 1))
    assert first == again
    assert len(first["pure_noise_texts"]) == SHOWN_TEXTS
    assert first["pure_noise_texts"] != other["pure_noise_texts"]
    assert first["pure_noise_texts"] != TEXTS[:SHOWN_TEXTS]


def test_few_texts_are_enough_and_many_are_cut(trained_autoencoders: dict[str, Autoencoder]) -> None:
    autoencoder = trained_autoencoders["compressed"]
    assert len(reconstruction_report(autoencoder, TEXTS[:3], seed=0)["pure_noise_texts"]) == 3
    many = (TEXTS * 2)[:MOST_TEXTS]
    assert reconstruction_report(autoencoder, [*many, "unknown"], 0) == reconstruction_report(autoencoder, many, 0)
