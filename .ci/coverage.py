#!/usr/bin/env python3
"""Lines of src/ that tests run, module by module, from what `llvm-cov export --format=lcov` says on standard input.

Tests do not count: neither files of tests, nor what stands below `#[cfg(test)]` at the end of a file. With the name of a
file behind it each line that no test runs is shown: `.ci/coverage.py --missed FILE`.
"""

import collections
import os
import sys


def main() -> None:
    missed = open(sys.argv[2], "w", encoding="utf-8") if sys.argv[1:2] == ["--missed"] else None
    lines = collections.defaultdict(dict)
    file = None
    for record in sys.stdin:
        kind, _, rest = record.strip().partition(":")
        if kind == "SF":
            path = os.path.relpath(rest)
            file = path if path.startswith("src/") and not path.endswith("/tests.rs") else None
        elif kind == "DA" and file:
            number, count = map(int, rest.split(",")[:2])
            lines[file][number] = max(count, lines[file].get(number, 0))
    if not lines:
        sys.exit("error: no line of src/ in what llvm-cov said")

    modules = collections.defaultdict(lambda: [0, 0])
    for file in sorted(lines):
        with open(file, encoding="utf-8") as text:
            source = text.read().split("\n")
        tests = next((at for at, line in enumerate(source, 1) if line == "#[cfg(test)]"), len(source) + 1)
        of_tests = tests < len(source) and source[tests].startswith("mod tests {")
        row = modules[file.split("/")[1].removesuffix(".rs")]
        for number, count in sorted(lines[file].items()):
            if of_tests and number >= tests:
                continue
            row[0] += 1
            row[1] += count > 0
            if not count and missed:
                print(f"{file}:{number}: {source[number - 1]}", file=missed)

    print("| module | lines | run | % |\n|---|--:|--:|--:|")
    for module, (all_lines, run) in sorted(modules.items()):
        print(f"| `{module}` | {all_lines} | {run} | {100 * run / all_lines:.1f} |")
    all_lines, run = (sum(row[at] for row in modules.values()) for at in (0, 1))
    print(f"| all | {all_lines} | {run} | {100 * run / all_lines:.1f} |")


main()
