"""Two features of the package at a time, from what `cargo metadata` says: every set of features that two names stand for, once, and not
those that one name stands for already."""

import json
import sys
from itertools import combinations

packages = json.load(sys.stdin)["packages"]
FEATURES = next(package["features"] for package in packages if package["name"] == "stonework")


def together(names):
    """These and all that they bring."""
    found, ahead = set(), list(names)
    while ahead:
        name = ahead.pop()
        if name in FEATURES and name not in found:
            found.add(name)
            ahead += FEATURES[name]
    return frozenset(found)


alone = {together([name]) for name in FEATURES}
pairs = {}
for pair in combinations(sorted(FEATURES), 2):
    both = together(pair)
    if both not in alone:
        pairs.setdefault(both, pair)
for pair in sorted(pairs.values()):
    print(",".join(pair))
