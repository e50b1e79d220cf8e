"""Which items do the tests of the service and of the command line search?

Short texts over a few topics, one long text of several passages, metadata of every type with some of it missing, and
ids that are awkward in a URL.
"""

from __future__ import annotations

from typing import Any

TYPES = {"day": "datetime"}

LONG_ID = "long"

_BEES = [
    "Beekeepers open each wooden hive in spring and look for the queen among thousands of workers.",
    "A strong colony fills the upper frames with honey long before the lime trees stop flowering.",
    "Smoke calms the bees, so that the combs can be lifted out without many stings.",
    "Varroa mites are counted on a board under the hive and treated with formic acid in late summer.",
]
_CLOCKS = [
    "The clockmaker takes the old pendulum clock apart and cleans every brass wheel with a soft brush.",
    "A worn escapement makes the clock stop at night, when the room grows cold and the oil thickens.",
    "Each pivot is polished, each bushing is measured, and the mainspring is wound by hand.",
    "After the repair the clock has to run for two weeks and lose no more than a minute.",
]
_SAILS = [
    "Before leaving the harbour the skipper reefs the mainsail, because strong wind is forecast.",
    "The yacht heels over, spray flies across the deck, and the crew trims the jib.",
    "At night they steer by the compass and watch for the lights of fishing boats.",
    "In the morning the anchor drops in a quiet bay behind the island.",
]

LONG_TEXT = "\n\n".join(
    " ".join(f"{sentence} This was noted in chapter {chapter}." for chapter in range(1, 5) for sentence in paragraph)
    for paragraph in (_BEES, _CLOCKS, _SAILS)
)


def _row(id: str, text: str, **metadata: Any) -> dict[str, Any]:
    return {"id": id, "text": text, **metadata}


ITEMS: list[dict[str, Any]] = [
    _row(
        "bread",
        "Bake a loaf of bread with flour, water, salt and yeast.",
        kind="food",
        n=1,
        price=2.5,
        fresh=True,
        day="2024-01-10T08:00:00Z",
        tags=["baking", "vegan"],
    ),
    _row(
        "soup",
        "Simmer carrots, onions and lentils into a thick vegetable soup.",
        kind="food",
        n=2,
        price=4.0,
        fresh=True,
        day="2024-02-11T12:30:00Z",
        tags=["vegan"],
    ),
    _row(
        "with/slash",
        "Melt butter and sugar into caramel sauce for a dessert.",
        kind="food",
        n=3,
        price=6.25,
        fresh=False,
        tags=["sweet"],
    ),
    _row("a b", "Grill marinated chicken over hot charcoal.", kind="food", n=4, fresh=True, tags=[]),
    _row("100%", "Orange juice pressed from fresh fruit for breakfast.", kind="food", n=5, price=3.1),
    _row("50%25", "Ferment cabbage in salt until it becomes sauerkraut.", kind="food", n=6, day="2023-10-01T00:00:00Z"),
    _row(
        "what?",
        "The spacecraft orbits Mars and photographs its volcanoes.",
        kind="space",
        n=10,
        price=1000.0,
        fresh=False,
        day="2021-02-18T20:55:00Z",
        tags=["mars", "orbit"],
    ),
    _row(
        "c#",
        "Astronauts repair the space telescope during a space walk.",
        kind="space",
        n=11,
        tags=["orbit", "telescope"],
    ),
    _row("c++", "A comet with a bright tail crosses the night sky.", kind="space", n=12, fresh=True),
    _row("🦊 fox", "Rings of ice and rock surround the planet Saturn.", kind="space", n=13, price=12.0),
    _row(
        "..",
        "The rover digs into the red soil and looks for traces of water.",
        kind="space",
        n=14,
        day="2020-07-30T11:50:00Z",
        tags=["mars"],
    ),
    _row("/leading", "A black hole bends the light of the stars behind it.", kind="space", n=15),
    _row("../up", "The rocket's first stage lands upright on a ship at sea.", kind="space", n=16, price=62.5),
    _row(
        "a//b",
        "The orchestra tunes its violins before the symphony.",
        kind="music",
        n=20,
        price=35.0,
        fresh=True,
        day="2024-05-05T19:30:00Z",
        tags=["classical"],
    ),
    _row(
        "trailing/",
        "A jazz trio improvises on piano, bass and drums.",
        kind="music",
        n=21,
        price=18.0,
        tags=["jazz", "live"],
    ),
    _row("x&y=z;", "The singer records a new album in a small studio.", kind="music", n=22, fresh=False),
    _row('"quoted"', "Children learn to play the recorder at school.", kind="music", n=23),
    _row("\\back", "The drummer counts in and the rock band begins to play.", kind="music", n=24, tags=["live"]),
    _row("é", "The cat sleeps on the warm windowsill all afternoon.", kind="animals", n=30, fresh=True, tags=["pet"]),
    _row(
        "e\u0301",
        "A kitten chases a ball of wool across the carpet.",
        kind="animals",
        n=31,
        price=0.0,
        fresh=True,
        tags=["pet", "vegan"],
    ),
    _row("search", "Wolves hunt in packs through the snowy forest.", kind="animals", n=32),
    _row(".", "The whale sings under water and dives for krill.", kind="animals", n=-7, day="2022-06-08T00:00:00Z"),
    _row("line\nbreak", "Swallows fly to Africa before the winter.", kind="animals", n=34),
    _row(
        "trailing",
        "The bank raises its interest rate on mortgages.",
        kind="money",
        n=40,
        price=5.5,
        fresh=False,
        day="2024-03-20T14:00:00Z",
        tags=["rates"],
    ),
    _row("trailing\n", "Investors sell their shares as the stock market falls.", kind="money", n=41, price=-3.0),
    _row("tab\tid", "The government lowers the tax on small companies.", kind="money", n=42),
    _row("%2F", "A pension fund buys government bonds.", kind="money", n=43, tags=["rates", "slow"]),
    _row("{id}", "The football team scores in the last minute of the match.", kind="sport", n=50, fresh=True),
    _row("id:1", "A runner finishes the marathon in just over two hours."),
    _row(LONG_ID, LONG_TEXT, kind="crafts", n=60, price=9.99, tags=["bees", "clocks", "sails"]),
]

AWKWARD = [row["id"] for row in ITEMS if not row["id"].isalpha() or not row["id"].isascii()]
