"""How far a proxy reward can be trusted: best of n and PPO against a small reward model, judged by the one it copies.

    python -m benchmarks.overoptimization [--plot FILE.png] [--json FILE] [--folder DIR]

The experiment of Gao, Schulman and Hilton (2023) on a laptop's scale. A gold reward model is trained on which of two
film reviews is the favourable one; a smaller proxy on pairs of the policy's own texts, labelled by gold. Best of n and
PPO then raise the proxy, and gold says what that is worth. With d = √KL(π ‖ π_init) it fits their two laws,
R_bon(d) = d(α − β d) and R_rl(d) = d(α − β log d), and reports R². Scores are in standard deviations of the initial
policy's texts, 0 at its mean. Everything runs through the command line of the trainer.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy  # noqa: E402
import torch  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from benchmarks.training_material import make_tokenizer  # noqa: E402

REVIEWS = ROOT.parent / "shared" / "data" / "sentence_polarity.jsonl.gz"
VOCABULARY = 2048
SHAPES = {
    "policy": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4},
    "small": {"hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": 2},
}
TOKENS = 32
POOL_PROMPTS, POOL_SAMPLES = 24, 512
PROXY_PAIRS = 30  # few, so that the proxy is easily fooled
BETAS = (0.0, 0.05, 0.2)
PPO = {
    "steps": 80, "prompts_per_step": 16, "samples": 4, "max_tokens": TOKENS, "learning_rate": 1.5e-4,
    "value_learning_rate": 1.5e-4, "precision": "fp32", "no_eos_penalty": 0, "sample_prompts": 0, "checkpoint_every": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Points of one optimisation, in the order of its strength: KL in nats, proxy and gold in units of π_init."""

    kl: numpy.ndarray
    proxy: numpy.ndarray
    gold: numpy.ndarray


@dataclass(frozen=True)
class Law:
    """R(d) = d(α − β f(d)) by least squares, and the share of the variance that it explains."""

    alpha: float
    beta: float
    r_squared: float
    shape: str

    @classmethod
    def fit(cls, kl: numpy.ndarray, reward: numpy.ndarray, shape: str) -> "Law":
        """`shape`: "bon" has f(d) = d, "rl" has f(d) = log d. Points at d = 0 say nothing and are left out."""
        d = numpy.sqrt(kl[kl > 0])
        reward = reward[kl > 0]
        columns = numpy.stack([d, -d * _bend(d, shape)], axis=1)
        (alpha, beta), *_ = numpy.linalg.lstsq(columns, reward, rcond=None)
        left = ((reward - columns @ [alpha, beta]) ** 2).sum()
        return cls(float(alpha), float(beta), float(1 - left / ((reward - reward.mean()) ** 2).sum()), shape)

    def __call__(self, kl: numpy.ndarray) -> numpy.ndarray:
        d = numpy.sqrt(numpy.maximum(kl, 1e-12))
        return d * (self.alpha - self.beta * _bend(d, self.shape))


def _bend(d: numpy.ndarray, shape: str) -> numpy.ndarray:
    return d if shape == "bon" else numpy.log(d)


def best_of_n_means(proxy: numpy.ndarray, gold: numpy.ndarray, n: int) -> tuple[float, float]:
    """Mean proxy and gold of the best of n by the proxy, from N ≥ n samples of each prompt: (prompts, N) both.

    Unbiased (Nakano et al. 2021, appendix I): in a random choice of n of the N, the k-th lowest is the best with
    probability C(k − 1, n − 1) / C(N, n).
    """
    size = proxy.shape[1]
    weights, chance = numpy.zeros(size), n / size  # the highest of all is in the choice with probability n / N
    for k in range(size, n - 1, -1):
        weights[k - 1] = chance
        chance *= (k - n) / (k - 1) if k > 1 else 0
    order = proxy.argsort(axis=1, kind="stable")
    return tuple(float((numpy.take_along_axis(of, order, axis=1) * weights).sum(1).mean()) for of in (proxy, gold))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="write the curves as a PNG file")
    parser.add_argument("--json", type=Path, help="write the curves' points")
    parser.add_argument("--folder", type=Path, help="keep the models here, and take those that are there already")
    parser.add_argument("--steps", type=int, default=PPO["steps"], help="rounds of PPO at each β")
    options = parser.parse_args()
    if not REVIEWS.is_file():
        print(f"Skipped: this measures on real data that is not part of the project, {REVIEWS}.")
        return
    with tempfile.TemporaryDirectory(prefix="prefloop-overoptimization-") as passing:
        folder = options.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        curves = Experiment(folder, options.steps).run()
    laws = {name: Law.fit(c.kl, c.gold, "bon" if name == "best of n" else "rl") for name, c in curves.items()}
    print(table(curves, laws))
    if options.json:
        points = {name: {key: column.tolist() for key, column in vars(c).items()} for name, c in curves.items()}
        options.json.write_text(json.dumps(points, indent=1))
    if options.plot:
        plot(curves, laws, options.plot)


class Experiment:
    """The models and files of one run, in `folder`."""

    def __init__(self, folder: Path, steps: int):
        self.folder, self.steps = folder, steps

    def run(self) -> dict[str, Curve]:
        """"best of n", and "PPO β=…" for each β."""
        self.make_material()
        for size in SHAPES:
            self.train(
                "sft", f"sft-{size}", model=self.folder / size, data=self.folder / "demonstrations.jsonl",
                epochs=4, learning_rate=2e-3, batch_size=64, sample_prompts=0,
            )  # fmt: skip
        self.train(
            "reward", "gold", model=self.model("sft-policy"), data=self.folder / "gold.jsonl",
            epochs=2, learning_rate=5e-4, batch_size=64,
        )  # fmt: skip
        self.label_for_the_proxy()
        self.train(
            "reward", "proxy", model=self.model("sft-small"), data=self.folder / "proxy.jsonl",
            epochs=4, learning_rate=1e-3, batch_size=32, heldout=0,
        )  # fmt: skip
        best_of_n, units = self.best_of_n()
        return {"best of n": best_of_n} | {f"PPO β={beta:g}": self.ppo(beta, units) for beta in BETAS}

    def make_material(self) -> None:
        """The reviews that begin with a word which many begin with: a prompt is that word, a completion the rest."""
        with gzip.open(REVIEWS, "rt", encoding="utf-8") as file:
            reviews = [json.loads(line) for line in file]
        tokenizer = make_tokenizer(
            [{"prompt": [], "chosen": [{"content": row["text"]}], "rejected": []} for row in reviews], VOCABULARY
        )
        torch.manual_seed(0)
        for name, shape in SHAPES.items():
            config = LlamaConfig(
                vocab_size=len(tokenizer), num_attention_heads=4, max_position_embeddings=256, pad_token_id=0,
                eos_token_id=1, bos_token_id=None, tie_word_embeddings=True, initializer_range=0.05, **shape,
            )  # fmt: skip
            LlamaForCausalLM(config).save_pretrained(self.folder / name)
            tokenizer.save_pretrained(self.folder / name)
        rests: dict = defaultdict(lambda: ([], []))
        for row in reviews:
            word, _, rest = row["text"].strip().partition(" ")
            if rest:
                rests[word][row["label"]].append(rest)
        usable = {word: of for word, of in rests.items() if min(map(len, of)) >= 8}
        draw = random.Random(0)
        write(
            self.folder / "demonstrations.jsonl",
            [{"prompt": word, "completion": rest} for word, of in usable.items() for rest in (*of[0], *of[1])],
        )
        pairs = []
        for word, (bad, good) in usable.items():
            for _ in range(2):
                draw.shuffle(bad), draw.shuffle(good)
                pairs += [{"prompt": word, "chosen": g, "rejected": b} for g, b in zip(good, bad, strict=False)]
        write(self.folder / "gold.jsonl", pairs)
        self.words = sorted(usable, key=lambda word: -sum(map(len, usable[word])))
        write(self.folder / "prompts.jsonl", [{"prompt": word} for word in self.words[:POOL_PROMPTS]])

    def label_for_the_proxy(self) -> None:
        """A pair of the initial policy's texts for each prompt, the one that gold likes better as the chosen one."""
        words = self.words[:PROXY_PAIRS]
        texts = self.sampled(words, 2, seed="proxy")
        gold = self.scores("gold", words, texts)
        rows = [
            {"prompt": word, "chosen": pair[int(of.argmax())], "rejected": pair[int(of.argmin())]}
            for word, pair, of in zip(words, texts, gold, strict=True)
            if of[0] != of[1] and all(pair)
        ]
        write(self.folder / "proxy.jsonl", rows)

    def best_of_n(self) -> tuple[Curve, "Units"]:
        """n = 1, 2, 4, …: its KL is log n − (n − 1)/n (exact for continuous scores)."""
        words = self.words[:POOL_PROMPTS]
        texts = self.sampled(words, POOL_SAMPLES, seed="pool")
        raw = {name: self.scores(name, words, texts) for name in ("proxy", "gold")}
        units = Units({name: (of.mean(), of.std()) for name, of in raw.items()})
        proxy, gold = (units(name, raw[name]) for name in ("proxy", "gold"))
        sizes = [2**power for power in range(POOL_SAMPLES.bit_length())]
        points = [(numpy.log(n) - (n - 1) / n, *best_of_n_means(proxy, gold, n)) for n in sizes]
        return Curve(*numpy.array(points).T), units

    def ppo(self, beta: float, units: "Units") -> Curve:
        """Every round's own completions, sampled before its update, scored by both."""
        name = f"ppo-{beta:g}"
        rewards = [
            {"source": "model", "path": str(self.model("proxy")), "name": "proxy"},
            {"source": "model", "path": str(self.model("gold")), "name": "gold", "weight": 0},
        ]
        self.train(
            "ppo", name, model=self.model("sft-policy"), prompts=self.folder / "prompts.jsonl",
            rewards=json.dumps(rewards), value_model=self.model("proxy"), beta=beta, **PPO | {"steps": self.steps},
        )  # fmt: skip
        events = [json.loads(line) for line in (self.folder / name / "events.jsonl").read_text().splitlines()]
        rounds = [event["values"] for event in events if event["kind"] == "metrics" and "kl" in event["values"]]
        columns = {key: numpy.array([of[key] for of in rounds]) for key in ("kl", "reward_proxy", "reward_gold")}
        return Curve(
            # The estimate of a KL of zero scatters around it.
            smoothed(columns["kl"]).clip(min=0),
            smoothed(units("proxy", columns["reward_proxy"])),
            smoothed(units("gold", columns["reward_gold"])),
        )

    def model(self, run: str) -> Path:
        return self.folder / run / "model"

    def train(self, recipe: str, name: str, **settings) -> None:
        """One run of the trainer's command line, once a folder. Raises SystemExit with its last words."""
        if (self.folder / name / "metrics.json").exists():
            return
        words = [f"{key}={value}" for key, value in settings.items()]
        command = [sys.executable, "-m", "training", recipe, "--output", str(self.folder / name), *words]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if child.returncode:
            raise SystemExit(f"{name} failed:\n{child.stderr[-2000:]}")
        metrics = json.loads((self.folder / name / "metrics.json").read_text())
        shown = {key: round(value, 3) for key, value in metrics.items() if isinstance(value, float)}
        print(name, shown, file=sys.stderr, flush=True)

    def sampled(self, words: list[str], count: int, *, seed: str) -> list[list[str]]:
        """`count` texts of the initial policy for each prompt, by `best_of_n`'s own sampler."""
        from training.answering import Answerer
        from training.models import load_policy

        source = str(self.model("sft-policy"))
        answerer = Answerer(source, self._machine(), _Quiet(), max_tokens=TOKENS, temperature=1.0)
        answers = answerer.answers(load_policy(source), _prompts(words), count, seed=seed)
        return [[answer.text for answer in group] for group in answers]

    def scores(self, name: str, words: list[str], texts: list[list[str]]) -> numpy.ndarray:
        """(prompts, texts)"""
        from training.rewards.combine import Rewards, Weighted
        from training.rewards.model import RewardModelSource

        source = RewardModelSource(str(self.model(name)))
        rewards = Rewards({name: Weighted(source)}, self._machine(), log=_Quiet())
        return rewards.groups(_prompts(words), texts).total.numpy()

    def _machine(self):
        from training import runtime
        from training.config import BaseConfig

        return runtime.start(BaseConfig(output=str(self.folder), precision="fp32"), _Quiet())


class Units:
    """Scores in standard deviations above the mean of the initial policy's texts."""

    def __init__(self, of: dict[str, tuple[float, float]]):
        self.of = of

    def __call__(self, name: str, scores: numpy.ndarray) -> numpy.ndarray:
        mean, deviation = self.of[name]
        return (scores - mean) / deviation


class _Quiet:
    """An event log for what is computed outside of a run."""

    def message(self, *args, **kwargs): ...

    def progress(self, *args, **kwargs): ...


def _prompts(words: list[str]) -> list:
    from training.records import Prompt

    return [Prompt([{"role": "user", "content": word}]) for word in words]


def smoothed(values: numpy.ndarray, width: int = 5) -> numpy.ndarray:
    """Means over `width` neighbours, fewer at the ends."""
    kernel = numpy.ones(width)
    return numpy.convolve(values, kernel, "same") / numpy.convolve(numpy.ones(len(values)), kernel, "same")


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(curves: dict[str, Curve], laws: dict[str, Law]) -> str:
    lines = [
        "| optimised by | proxy at the end | gold at its best | at KL | gold at the end | at KL | α | β | R² |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, curve in curves.items():
        best, law = int(curve.gold.argmax()), laws[name]
        lines.append(
            f"| {name} | {curve.proxy[-1]:+.2f} | {curve.gold[best]:+.2f} | {curve.kl[best]:.1f} "
            f"| {curve.gold[-1]:+.2f} | {curve.kl[-1]:.1f} | {law.alpha:.2f} | {law.beta:.2f} | {law.r_squared:.2f} |"
        )
    return "\n".join(lines)


def plot(curves: dict[str, Curve], laws: dict[str, Law], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, names, title in (
        (axes[0], [name for name in curves if name == "best of n"], "Best of n"),
        (axes[1], [name for name in curves if name != "best of n"], "PPO"),
    ):
        for colour, name in zip(("tab:blue", "tab:orange", "tab:green"), names, strict=False):
            curve, label = curves[name], name.removeprefix("PPO ")
            d = numpy.sqrt(curve.kl)
            axis.plot(d, curve.proxy, color=colour, linestyle="--", linewidth=1.2, label=f"{label}: proxy")
            axis.plot(d, curve.gold, ".", color=colour, markersize=4, label=f"{label}: gold")
            line = numpy.linspace(0.02, max(d), 200)
            fit = f"{label}: fit, R² = {laws[name].r_squared:.2f}"
            axis.plot(line, laws[name](line**2), color=colour, linewidth=2, label=fit)
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.set(title=title, xlabel="√KL from the initial policy (√nats)")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("score (standard deviations of the initial policy)")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
