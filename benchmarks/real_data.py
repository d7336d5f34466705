"""How well a reward model started from the starter model agrees with real people, beside rules that read nothing.

    python benchmarks/real_data.py [STARTER_MODEL]

Imports Anthropic's harmless pairs and the UKP votes on arguments with `manage.py import`, trains on two thirds of them
and prints the accuracy on the others, which share no prompt (HH) or no debate (UKP) with them. Without a model it
builds the starter first.
"""

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.intervals import rate  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
# One third of the groups is held out; of the others so many pairs are learned from, which keeps it to ten minutes.
THIRDS = 3
LEARNED_PAIRS = 3000
TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 3e-4, "max_length": 768, "heldout": 0}


@dataclass(frozen=True)
class Source:
    title: str
    format: str
    file: Path


SOURCES = (
    Source("HH harmless", "hh", DATA / "hh_rlhf_harmless.jsonl.gz"),
    Source("UKP arguments", "ukp", DATA / "ukp_convincing_votes.jsonl.gz"),
)


def main() -> None:
    missing = [source.file for source in SOURCES if not source.file.is_file()]
    if missing:
        raise SystemExit(f"This measures on real data that is not part of the project; there is no {missing[0]}.")
    with tempfile.TemporaryDirectory(prefix="prefloop-real-") as folder:
        os.environ["PREFLOOP_VAR"] = folder
        starter = sys.argv[1] if len(sys.argv) > 1 else _starter(Path(folder))
        _run("manage.py", "migrate", "--verbosity", "0")
        print(
            "Accuracy on held-out pairs that share no prompt (HH) or debate (UKP) with the at most "
            f"{LEARNED_PAIRS:,} pairs learned from, with 95 % intervals by drawing prompts or debates anew:\n"
        )
        print("| data | pairs | reward model | longer one wins | side that won more often |")
        print("| --- | ---: | --- | --- | --- |")
        for source in SOURCES:
            for name, judged in _measure(source, starter, Path(folder)):
                groups = [pair.group for pair in judged]
                columns = [
                    str(rate([getattr(pair, rule) for pair in judged], groups)) for rule in ("model", "longer", "side")
                ]
                print(f"| {name} | {len(judged):,} | {' | '.join(columns)} |", flush=True)


@dataclass(frozen=True)
class JudgedPair:
    """1 where a rule chose the response that people chose, ½ where it cannot tell, else 0.

    `side` is the alphabetical order of the two texts, which is blind to the label, as it won in training.
    """

    model: float
    longer: float
    side: float
    group: str
    strict: bool


def _measure(source: Source, starter: str, folder: Path) -> list[tuple[str, list[JudgedPair]]]:
    """(name of the rows, held-out pairs): all of the source's, and for the UKP votes the strict ones alone too."""
    _run("manage.py", "import", source.format, str(source.file), "--format", source.format, "--create")
    exported = folder / f"{source.format}.jsonl"
    _run("manage.py", "export", source.format, "--kind", "preferences", "--format", "jsonl", "--out", str(exported))
    rows = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
    strict = _strict_pairs(source)
    held = held_out([row["group"] for row in rows])
    learned = [row for row, out in zip(rows, held, strict=True) if not out]
    learned = random.Random(0).sample(learned, min(LEARNED_PAIRS, len(learned)))
    heldout = [row for row, out in zip(rows, held, strict=True) if out]
    scores = _train_and_score(starter, learned, heldout, folder / source.format)
    first_wins = sum(_text(row, "chosen") < _text(row, "rejected") for row in learned) > len(learned) / 2
    judged = []
    for row, (chosen, rejected) in zip(heldout, scores, strict=True):
        texts = _text(row, "chosen"), _text(row, "rejected")
        judged.append(
            JudgedPair(
                model=_won(chosen, rejected),
                longer=_won(len(texts[0]), len(texts[1])),
                side=float((texts[0] < texts[1]) == first_wins),
                group=row["group"],
                strict=frozenset(texts) in strict,
            )
        )
    parts = [(source.title, judged)]
    if strict:
        parts.append((f"{source.title}, strict pairs", [pair for pair in judged if pair.strict]))
    return parts


def held_out(groups: list[str]) -> list[bool]:
    """Whether each row is held out: whole groups, dealt out the largest first so that about a third of the rows are."""
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: (-sizes[group], random.Random(group).random()))
    third_of, loads = {}, [0] * THIRDS
    for group in order:
        third_of[group] = loads.index(min(loads))
        loads[third_of[group]] += sizes[group]
    return [third_of[group] == 0 for group in groups]


def _train_and_score(starter: str, learned: list[dict], heldout: list[dict], folder: Path) -> list[tuple[float, float]]:
    """(score of the chosen, score of the rejected response) for each held-out row."""
    folder.mkdir()
    for name, rows in (("learned", learned), ("heldout", heldout)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = [f"{key}={value}" for key, value in TRAINING.items()]
    _run("-m", "training", "reward", "--output", str(folder / "reward"), f"model={starter}",
         f"data={folder / 'learned.jsonl'}", *settings)  # fmt: skip
    _run("-m", "training", "score", "--output", str(folder / "scores"), f"model={folder / 'reward' / 'model'}",
         f"data={folder / 'heldout.jsonl'}")  # fmt: skip
    scored = (folder / "scores" / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    return [tuple(response["score"] for response in json.loads(line)["responses"]) for line in scored]


def _strict_pairs(source: Source) -> set[frozenset[str]]:
    """The pairs that the authors call strict: clear majorities whose order contradicts no other pair's."""
    with gzip.open(source.file, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {frozenset((row["a1"].strip(), row["a2"].strip())) for row in rows if row.get("strict")}


def _starter(folder: Path) -> str:
    _run("-m", "training", "starter", "--output", str(folder / "starter"))
    return str(folder / "starter" / "model")


def _run(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:3])} failed: {done.stderr.strip() or done.stdout.strip()}")


def _text(row: dict, side: str) -> str:
    return row[side][0]["content"]


def _won(chosen: float, rejected: float) -> float:
    return 0.5 if chosen == rejected else float(chosen > rejected)


if __name__ == "__main__":
    main()
