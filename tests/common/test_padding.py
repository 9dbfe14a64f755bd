import torch

from annealed_lm.common.padding import pad_ids


def test_rows_are_filled_to_the_longest_and_the_mask_says_what_is_real() -> None:
    ids, mask = pad_ids([[5, 6, 7], [8], [9, 9]], pad_id=1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1], [9, 9, 1]]
    assert mask.tolist() == [[True, True, True], [True, False, False], [True, True, False]]
    assert ids.dtype == torch.int64


def test_a_real_token_may_have_the_id_of_padding() -> None:
    ids, mask = pad_ids([[1, 1], [2]], pad_id=1)
    assert ids.tolist() == [[1, 1], [2, 1]]
    assert mask.tolist() == [[True, True], [True, False]]
