import numpy as np
import pytest

from annealed_lm.encoding import encode_ids
from annealed_lm.tokenizer import tokenize
from tiny import COMPRESSED, LAYOUTS, MAX_TOKENS, TEXTS, make_autoencoder


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_each_text_has_its_own_latents_whatever_it_is_encoded_with(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS[:20], MAX_TOKENS)
    together = encode_ids(autoencoder, token_ids, batch_size=20)
    assert len({len(ids) for ids in token_ids}) > 1
    for batch_size in (1, 7):
        for one, other in zip(together, encode_ids(autoencoder, token_ids, batch_size), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(together[::-1], encode_ids(autoencoder, token_ids[::-1], batch_size=20), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert not np.allclose(together[0][:3], together[1][:3], atol=1e-3)


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_latents_have_the_shape_of_their_layout_and_no_padding(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS[:20], MAX_TOKENS)
    latents = encode_ids(autoencoder, token_ids, batch_size=8)
    lengths = [len(ids) for ids in token_ids] if latent_layout == "per_token" else [COMPRESSED.num_latents] * 20
    assert [each.shape for each in latents] == [(length, COMPRESSED.latent_dim) for length in lengths]
    assert {each.dtype for each in latents} == {np.dtype(np.float32)}
