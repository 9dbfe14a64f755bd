"""The embedded corpus: restaurant descriptions from a probabilistic grammar, which also decides exactly what belongs to it.

Generator and recogniser are read off the same rules, so the share of grammatical samples is an exact measure of fluency. The
grammar is not recursive: its language is finite, far larger than any training set taken from it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from annealed_lm.common.errors import InputError

Grammar = dict[str, tuple[str, ...]]
"""Rule -> alternatives, chosen with equal probability; one listed twice is twice as likely. {rule} stands for one of the rule's
alternatives, {a rule} for one with a or an before it."""

PATTERNS = (
    "{name} is {a price} {cuisine} {venue} {place}.",
    "{name} is {a cuisine} {venue} with {level} prices and {a rating} rating.",
    "{name} serves {price} {cuisine} food. It is {trait}.",
    "{name} is {place}. It offers {mass} at {level} prices.",
    "{name} is {place}. Its {dish_is} {price}.",
    "{name} opens on {day} and serves {price} {meals} with {drink}.",
    "{name} has {opinion} {things} but {level} prices.",
    "{name} {place} is {trait} and {price}.",
    "{name} is {price}, but it is not {trait}.",
    "The {dish_is} {quality} and {price} at {name}.",
    "The {mass} at {name} {place} is {price}.",
    "The {plural} at {name} {place} are {price}.",
    "The prices at {name} are {level} and the {thing_is} {opinion}.",
    "The {cuisine} {venue} called {name} is {price} and the {thing_is} {opinion}.",
    "If you like {mass} and {plural}, try {name}, {a price} {venue}.",
    "You can eat {quality} {plural} at {name} for {a level} price.",
    "Although it is {price}, {name} has {a rating} rating.",
    "Looking for {a price} {venue} {place}? Try {name}.",
    "There is {a price} {venue} called {name} {place}.",
    "With its {level} prices, {name} is ideal for {a occasion}.",
    "On {day}, {name} offers {quality} {mass} at {level} prices.",
    "{people} love {name} because the {dish_is} {price}.",
    "At {name}, {a meal} with {drink} costs {amount}.",
    "At {name}, {meals} with {drink} cost {amount}.",
)

PRICES: dict[str, Grammar] = {
    "cheap": {
        "price": ("cheap", "affordable", "inexpensive"),
        "level": ("low", "tiny"),
        "amount": ("very little", "hardly anything"),
    },
    "moderate": {
        "price": ("reasonable", "fairly priced", "moderately priced"),
        "level": ("average", "fair"),
        "amount": ("a moderate sum", "an average sum"),
    },
    "expensive": {
        "price": ("expensive", "costly", "pricey"),
        "level": ("high", "steep"),
        "amount": ("a fortune", "too much"),
    },
}
"""The price rules by label: every pattern has exactly one of them, so that a text says its label, and only that one."""

RULES: Grammar = {
    "text": PATTERNS,
    "name": ("The {sign_adjective} {sign}", "The {sign_adjective} {sign}", "{word_name}"),
    "sign_adjective": (
        *("Rusty", "Golden", "Silver", "Crimson", "Dancing", "Sleepy", "Wild", "Hungry", "Quiet"),
        *("Lucky", "Merry", "Velvet", "Copper", "Wandering", "Gentle", "Frozen", "Laughing", "Hidden"),
    ),
    "sign": (
        *("Crown", "Lion", "Kettle", "Compass", "Dragon", "Lantern", "Anchor", "Fox", "Rose"),
        *("Oak", "Swan", "Plough", "Barrel", "Whistle", "Harp", "Eagle", "Raven", "Badger"),
    ),
    "word_name": (
        *("Bellavista", "Mirabel", "Cosmo", "Tamarind", "Saffron", "Juniper"),
        *("Marigold", "Basilico", "Paprika", "Rosemary", "Sesame", "Nutmeg"),
    ),
    "cuisine": (
        *("Italian", "Indian", "English", "American", "Ethiopian", "Irish"),
        *("French", "Chinese", "Greek", "Japanese", "Korean", "Mexican", "Thai", "Turkish"),
    ),
    "venue": ("pub", "restaurant", "bistro", "tavern", "diner", "brasserie", "inn", "eatery", "coffee shop", "wine bar"),
    "place": ("{beside} the {landmark}", "{beside} the {landmark}", "{beside} the {landmark}", "in the {area}"),
    "beside": ("near", "beside", "behind", "opposite", "next to", "close to", "not far from"),
    "landmark": (
        *("river", "castle", "museum", "station", "harbour", "cathedral", "market"),
        *("library", "theatre", "park", "bridge", "university", "airport", "stadium"),
    ),
    "area": ("city centre", "old town", "shopping mall", "suburbs", "docklands"),
    "dish_is": ("{mass} is", "{plural} are"),
    "mass": ("soup", "pasta", "curry", "pizza", "sushi", "stew", "rice", "seafood", "steak", "lamb", "chicken", "cheese"),
    "plural": (
        *("noodles", "dumplings", "pancakes", "burgers", "sandwiches", "tacos"),
        *("pies", "kebabs", "oysters", "sausages", "pastries", "meatballs"),
    ),
    "quality": ("tasty", "delicious", "fresh", "spicy", "creamy", "crispy", "homemade", "authentic"),
    "trait": (
        *("family friendly", "child friendly", "suitable for children", "suitable for large groups"),
        *("popular with students", "open every day", "open all night", "easy to find"),
    ),
    "rating": ("poor", "good", "decent", "mediocre", "excellent", "outstanding", "impressive"),
    "thing_is": ("{thing} is", "{things} are"),
    "thing": ("service", "view", "music", "garden", "decor", "terrace"),
    "things": ("waiters", "portions", "desserts", "seats", "cocktails", "starters"),
    "opinion": ("lovely", "superb", "dull", "disappointing", "wonderful", "terrible", "pleasant", "unusual"),
    "occasion": ("birthday", "wedding", "first date", "business lunch", "quick snack", "anniversary", "evening out", "party"),
    "people": ("Families", "Students", "Tourists", "Couples", "Locals", "Travellers", "Critics"),
    "day": ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"),
    "meal": ("meal", "lunch", "dinner", "breakfast", "supper", "evening meal"),
    "meals": ("meals", "lunches", "dinners", "breakfasts", "suppers", "evening meals"),
    "drink": ("wine", "beer", "coffee", "tea", "cider", "lemonade"),
}

LABELS: tuple[str, ...] = tuple(PRICES)
GRAMMARS: dict[str, Grammar] = {label: RULES | prices for label, prices in PRICES.items()}

SLOT = re.compile(r"\{([a-z_ ]+)\}")
PATIENCE = 1000
"""So many known texts in a row mean that nearly all that the grammar can say has been said."""


@dataclass(frozen=True)
class Restaurant:
    """A text and the price range, one of `LABELS`, that it states."""

    text: str
    label: str


def alternatives(grammar: Grammar, slot: str) -> tuple[str, ...]:
    """Return what may stand in {slot}; {a slot} takes words only, whose spelling decides between a and an."""
    if slot.startswith("a "):
        return tuple(f"{'an' if word[0] in 'AEIOUaeiou' else 'a'} {word}" for word in grammar[slot.removeprefix("a ")])
    return grammar[slot]


def derive(grammar: Grammar, template: str, rng: random.Random) -> str:
    """Fill every slot of `template` at random, and the slots in what fills it."""
    return SLOT.sub(lambda slot: derive(grammar, rng.choice(alternatives(grammar, slot[1])), rng), template)


def to_regex(grammar: Grammar, template: str) -> str:
    """Return the regular expression of all that `derive` can make of `template`, and of nothing else."""
    parts = SLOT.split(template)  # literal, slot, literal, slot, ..., literal
    for i, slot in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.escape(slot)
        else:
            choices = dict.fromkeys(alternatives(grammar, slot))
            parts[i] = f"(?:{'|'.join(to_regex(grammar, choice) for choice in choices)})"
    return "".join(parts)


@cache
def recogniser(label: str) -> re.Pattern[str]:
    """Return the regular expression of all texts that state this label."""
    return re.compile(to_regex(GRAMMARS[label], "{text}"))


def label_of(text: str) -> str | None:
    """Return the price range that `text` states; None if the grammar cannot say `text`."""
    return next((label for label in LABELS if recogniser(label).fullmatch(text)), None)


def is_grammatical(text: str) -> bool:
    """Return whether the grammar can say exactly this text."""
    return label_of(text) is not None


def make_corpus(sizes: Sequence[int], seed: int) -> list[list[Restaurant]]:
    """Make splits of these sizes; all texts differ, within and across splits; labels are equally likely.

    Raises:
        InputError: the grammar has not so many texts.
    """
    rng = random.Random(seed)
    drawn: dict[str, str] = {}
    repeats = 0
    while len(drawn) < sum(sizes):
        label = rng.choice(LABELS)
        text = derive(GRAMMARS[label], "{text}", rng)
        repeats = repeats + 1 if text in drawn else 0
        if repeats == PATIENCE:
            raise InputError(f"the grammar of the restaurants corpus has not {sum(sizes)} texts: ask for at most {len(drawn)}")
        drawn[text] = label
    restaurants = iter([Restaurant(text, label) for text, label in drawn.items()])
    return [[next(restaurants) for _ in range(size)] for size in sizes]
