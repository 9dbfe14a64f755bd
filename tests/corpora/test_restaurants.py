import random
import re
from functools import cache

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.corpora import restaurants
from annealed_lm.corpora.restaurants import (
    GRAMMARS,
    LABELS,
    PATTERNS,
    PRICES,
    RULES,
    SLOT,
    Grammar,
    Restaurant,
    alternatives,
    derive,
    is_grammatical,
    label_of,
    make_corpus,
    to_regex,
)

WORD = re.compile(r"\w+")


@cache
def sample() -> list[Restaurant]:
    return make_corpus([4000], seed=3)[0]


@cache
def vocabulary() -> list[str]:
    return sorted({word for restaurant in sample() for word in WORD.findall(restaurant.text)})


def replace_one_word(text: str, rng: random.Random) -> str:
    """The text with one of its words replaced by another of the vocabulary."""
    word = rng.choice(list(WORD.finditer(text)))
    other = rng.choice([each for each in vocabulary() if each != word[0]])
    return text[: word.start()] + other + text[word.end() :]


def ends(grammar: Grammar, template: str, text: str, start: int) -> set[int]:
    """Where a derivation of `template` that begins at `start` can end: the grammar read without regular expressions."""
    starts = {start}
    for i, part in enumerate(SLOT.split(template)):
        if i % 2 == 0:
            starts = {at + len(part) for at in starts if text.startswith(part, at)}
        else:
            starts = {end for at in starts for choice in alternatives(grammar, part) for end in ends(grammar, choice, text, at)}
    return starts


def test_every_text_is_accepted_with_the_label_that_it_was_made_for() -> None:
    assert [label_of(restaurant.text) for restaurant in sample()] == [restaurant.label for restaurant in sample()]


def test_the_recogniser_agrees_with_a_parse_on_texts_and_on_near_misses() -> None:
    rng = random.Random(0)
    texts = [restaurant.text for restaurant in sample()[:100]]
    edited = [replace_one_word(text, rng) for text in texts for _ in range(3)]
    cut = [" ".join(words[:i] + words[i + 1 :]) for words in map(str.split, texts) for i in [rng.randrange(len(words))]]
    parsed = [any(len(text) in ends(GRAMMARS[label], "{text}", text, 0) for label in LABELS) for text in texts + edited + cut]
    assert [is_grammatical(text) for text in texts + edited + cut] == parsed
    assert True in parsed[len(texts) :]
    assert False in parsed


def test_the_recogniser_of_a_small_grammar_accepts_its_language_and_nothing_else() -> None:
    grammar: Grammar = {"text": ("{a thing} is {state}.", "{thing}?"), "thing": ("cat", "ox", "ox cart"), "state": ("in", "out")}
    language = {derive(grammar, "{text}", random.Random(seed)) for seed in range(500)}
    expected = {f"{thing} is {state}." for thing in ("a cat", "an ox", "an ox cart") for state in ("in", "out")}
    assert language == expected | {"cat?", "ox?", "ox cart?"}
    accepted = re.compile(to_regex(grammar, "{text}"))
    assert all(accepted.fullmatch(text) for text in language)
    for wrong in ("a ox is in.", "an cat is in.", "cat is in.", "a cat?", "a cat is in", "a cat is inX", "a cat is in.\n", ""):
        assert not accepted.fullmatch(wrong)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Cosmo is a cheap Thai pub near the river.", "cheap"),
        ("The Rusty Crown is an affordable Italian wine bar in the old town.", "cheap"),
        ("The Rusty Crown is a moderately priced Italian pub next to the castle.", "moderate"),
        ("The pies at The Wild Oak beside the park are pricey.", "expensive"),
        ("At Nutmeg, a lunch with tea costs a fortune.", "expensive"),
        ("Cosmo is an cheap Thai pub near the river.", None),
        ("Cosmo is a affordable Thai pub near the river.", None),
        ("Cosmo is a Thai pub near the river.", None),
        ("Cosmo is a cheap Thai pub near the river", None),
        ("cosmo is a cheap Thai pub near the river.", None),
        ("Cosmo is a cheap Thai pub near the river.\n", None),
        ("Cosmo is a cheap Thai pub near  the river.", None),
        ("Cosmo is a cheap Thai pub near the river. Cosmo is a cheap Thai pub near the river.", None),
        ("The pies at The Wild Oak beside the park is pricey.", None),
        ("At Nutmeg, lunches with tea costs a fortune.", None),
        ("", None),
    ],
)
def test_the_label_is_read_from_the_text(text: str, label: str | None) -> None:
    assert label_of(text) == label
    assert is_grammatical(text) == (label is not None)


def test_a_replaced_word_is_rarely_accepted() -> None:
    rng = random.Random(1)
    accepted = sum(is_grammatical(replace_one_word(restaurant.text, rng)) for restaurant in sample())
    assert 0 < accepted / len(sample()) < 0.08


def test_every_pattern_states_the_price_once() -> None:
    price_rules = {rule for prices in PRICES.values() for rule in prices}
    for pattern in PATTERNS:
        assert sum(slot.removeprefix("a ") in price_rules for slot in SLOT.findall(pattern)) == 1, pattern


def test_a_price_is_told_by_a_word_that_no_other_label_has() -> None:
    common = {word for options in RULES.values() for option in options for word in WORD.findall(SLOT.sub("", option))}
    said = {
        label: {word for options in rules.values() for text in options for word in text.split()}
        for label, rules in PRICES.items()
    }
    for label, rules in PRICES.items():
        elsewhere = common.union(*(said[other] for other in LABELS if other != label))
        for option in (option for options in rules.values() for option in options):
            assert set(option.split()) - elsewhere, option


def test_the_article_fits_the_next_word() -> None:
    articles = [match for restaurant in sample() for match in re.findall(r"\b(an?) (\w)", restaurant.text)]
    assert {article for article, _ in articles} == {"a", "an"}
    assert all((article == "an") == (letter.lower() in "aeiou") for article, letter in articles)


def test_size_of_the_language() -> None:
    lengths = [len(restaurant.text.split()) for restaurant in sample()]
    assert (min(lengths) >= 6, max(lengths) <= 16) == (True, True)
    assert 11 <= sum(lengths) / len(lengths) <= 13
    assert 250 <= len(vocabulary()) <= 300
    assert 20 <= len(PATTERNS) <= 24


def test_splits_are_disjoint_and_distinct_and_have_all_labels() -> None:
    splits = make_corpus([3000, 200, 100], seed=0)
    assert [len(split) for split in splits] == [3000, 200, 100]
    assert len({restaurant.text for split in splits for restaurant in split}) == 3300
    for label in LABELS:
        assert 0.3 < sum(restaurant.label == label for restaurant in splits[0]) / 3000 < 0.37


def test_the_seed_decides() -> None:
    assert make_corpus([50, 5], seed=7) == make_corpus([50, 5], seed=7)
    assert make_corpus([50, 5], seed=7) != make_corpus([50, 5], seed=8)


def test_more_texts_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restaurants, "GRAMMARS", {label: {"text": (f"{label} {{x}}",), "x": ("1", "2")} for label in LABELS})
    assert len(make_corpus([6], seed=0)[0]) == 6
    with pytest.raises(InputError, match="has not 7 texts: ask for at most 6"):
        make_corpus([7], seed=0)
