#!/usr/bin/env python3
"""Lists what the built-in guide does not know: unknown.py TABLES.json GUIDE.gguf [--strict]

An entry is known when the model was trained on exactly its present sentence; entries that the program has no more are
listed as well. With --strict, as before a release, anything listed ends with exit code 1.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guide_facts
import guide_gguf


def main():
    known = guide_facts.load(sys.argv[1])
    if not os.path.exists(sys.argv[2]):
        print(f"{sys.argv[2]}: there is no guide yet")
        return 1 if "--strict" in sys.argv else 0
    trained = set(guide_gguf.read_metadata(sys.argv[2])["guide.entries"])
    present = set(guide_facts.entries(known.facts))
    lines = ["the guide does not know: " + line.split("\t")[0] for line in sorted(present - trained)]
    ids = {line.split("\t")[0] for line in present}
    lines += ["the guide knows, but the program has no more: " + line.split("\t")[0]
              for line in sorted(trained - present) if line.split("\t")[0] not in ids]
    lines += ["people's questions are there, but the program has no: " + ident for ident in sorted(set(known.missing))]
    for line in lines:
        print(line)
    if lines:
        print("Train it again: tests/guide/README.md says how.")
    return 1 if lines and "--strict" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
