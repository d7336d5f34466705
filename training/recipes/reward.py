"""Reward model: a scalar for a prompt with a response, trained so that preferred responses get the larger one.

Bradley–Terry: P(y_w over y_l | x) = σ(r(x, y_w) − r(x, y_l)) (Ouyang et al. 2022, eq. 1; margins as in Llama 2). The
scalar is read off at the response's last real token, its end-of-sequence token.
"""

import math

import torch

from training import adapters, losses, runtime
from training.batching import Example
from training.calibration import baselines, calibration_error
from training.encoding import encode_examples, fitting_rows
from training.events import EventLog
from training.inference import per_completion
from training.labels import Label, accuracy, label_of
from training.logprobs import last_hidden, supports_shared_prefix, trunk_of
from training.loop import Objective, Trainer
from training.mixed_precision import in_float32
from training.models import HEADS, load_reward_model, load_tokenizer, prepare_training, trained_model
from training.ranking import RankedGroup, rank_groups
from training.recipes import Outcome
from training.recipes.configs import RewardConfig
from training.records import CRITERIA, Preference
from training.splits import read_split

# Responses whose rewards tell the mean and spread that the head is normalised to.
_NORMALIZE_ON = 2000


def run(config: RewardConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    split = read_split(config, "preferences", log)
    tokenizer = load_tokenizer(config.model)
    model = load_reward_model(config.model, device=machine.device, seed=config.seed)
    base = adapters.trunk_digest(model) if config.lora_rank else ""
    model = prepare_training(model, config)
    pad_id, shared = tokenizer.pad_token_id, supports_shared_prefix(model)

    groups: dict[int, RankedGroup] = {}

    def encoded(indices: list[int], name: str) -> list[Example]:
        told = {"max_length": config.max_length, "log": log, "name": name}
        rows = fitting_rows(tokenizer, [(index, split.rows[index]) for index in indices], **told)
        of_rows = rank_groups(rows, config.group_responses)
        groups.update({group.index: group for group in of_rows})
        return encode_examples(tokenizer, [(group.index, group.messages, group.responses) for group in of_rows], **told)

    examples, heldout = (
        encoded(indices, name) for indices, name in ((split.train, "training data"), (split.heldout, "held-out data"))
    )
    objective = RewardObjective(model, config, groups, split.rows)
    trainer = Trainer(
        objective, examples, config, machine, log, pad_id=pad_id, shared=shared, heldout=heldout, recipe="reward"
    )
    metrics = trainer.run()

    def score(some: list[Example]) -> torch.Tensor:
        return per_completion(objective.rewards, some, config, machine, pad_id=pad_id, shared=shared)

    metrics |= _calibration(score(heldout), heldout, objective)
    metrics |= baselines(split.of(split.train), split.of(split.heldout))
    metrics |= {"pairs": _rows_in(examples, groups), "pairs_heldout": _rows_in(heldout, groups)}
    some = examples[:: math.ceil(len(examples) / _NORMALIZE_ON)]
    mean, std = (float(value) for value in torch.std_mean(score(some))[::-1]) if config.normalize else (0.0, 1.0)
    adapter = adapters.taken_from(model, base) if config.lora_rank else None
    model, heads = objective.finish(mean, std or 1.0)
    adapter = adapter and adapter.with_head(model.score.weight)
    return Outcome(metrics, model, tokenizer, {HEADS: heads} if heads else {}, adapter)


def _rows_in(examples: list[Example], groups: dict[int, RankedGroup]) -> int:
    return sum(len(groups[example.index].comparisons) for example in examples)


class RewardObjective(Objective):
    """Weighted mean over rows of the Bradley–Terry loss (or its relative with ties), and of the criteria's.

    A batch's examples are groups of ranked responses, found again by their index. With several heads each has its own
    loss, over rows drawn for it with replacement (bootstrap: a row counts Poisson(1) times), and the reward is the
    heads' mean, which is itself a linear head.
    """

    def __init__(self, model, config: RewardConfig, groups: dict[int, RankedGroup], rows: list[Preference]):
        super().__init__()
        self.model, self.ties, self.criteria_weight = model, config.ties, config.criteria_weight
        self.groups = groups
        self.labels = [
            label_of(
                row,
                margin_better=config.margin_better,
                margin_slightly_better=config.margin_slightly_better,
            )
            for row in rows
        ]
        device = model.device
        columns = [(label.weight, label.probability, label.margin, label.tie) for label in self.labels]
        self.register_buffer("table", torch.tensor(columns, dtype=torch.float32, device=device), persistent=False)
        generator = torch.Generator().manual_seed(config.seed)
        self.members = self.criteria = None
        if config.heads > 1:
            self.members = _head(model, config.heads, generator).to(device)
            model.score.requires_grad_(False)
            draws = torch.poisson(torch.ones(len(rows), config.heads), generator).to(device)
            self.register_buffer("draws", draws, persistent=False)
        if config.criteria_weight:
            self.criteria = _head(model, len(CRITERIA), generator).to(device)
            verdicts = torch.tensor([[_verdict(row, name) for name in CRITERIA] for row in rows], device=device)
            self.register_buffer("verdicts", verdicts, persistent=False)
        if self.ties != "half" and any(label.tie for label in self.labels):
            self.tie_parameter = torch.nn.Parameter(torch.tensor([_first_tie_parameter(self.labels, self.ties)]))
            self.tie_parameter.data = self.tie_parameter.data.to(device)
            self.fast = ("tie_parameter",)
        else:
            self.ties = "half"

    def weight(self, example: Example) -> float:
        return sum(self.labels[row].weight for _, _, row in self.groups[example.index].comparisons)

    def rewards(self, batch) -> torch.Tensor:
        """(completions,)"""
        return self._overall(last_hidden(trunk_of(self.model), batch)).mean(-1)

    def forward(self, batch):
        hidden = last_hidden(trunk_of(self.model), batch)
        chosen, rejected, rows = self._comparisons(batch)
        weight, probability, margin, tie = self.table[rows].T
        overall = self._overall(hidden)
        of_rows = torch.stack(
            [
                self._loss(member[chosen], member[rejected], margin, probability, tie.bool())
                for member in overall.unbind(-1)
            ],
            -1,
        )
        if self.members is not None:
            of_rows = of_rows * self.draws[rows]
        loss = (weight * of_rows.mean(-1)).sum()
        reward = overall.mean(-1)
        lead = reward[chosen] - reward[rejected]
        metrics = {
            "accuracy": accuracy(lead, probability),
            "margin": (lead.sum(), len(lead)),
            "reward": (reward.sum(), len(reward)),
        }
        if self.criteria is not None:
            of_criteria = in_float32(self.criteria, hidden)
            lead = of_criteria[chosen] - of_criteria[rejected]
            verdict = self.verdicts[rows]
            given = ~verdict.isnan()
            per_criterion = losses.bradley_terry_loss(lead, torch.zeros_like(lead), probability=verdict.nan_to_num(0.5))
            loss = loss + self.criteria_weight * (weight[:, None] * per_criterion * given).sum()
            for place, name in enumerate(CRITERIA):
                of_name = accuracy(lead[:, place], verdict[:, place].nan_to_num(0.5))
                metrics[f"accuracy_{name}"] = of_name
        return loss, metrics

    @torch.no_grad()
    def finish(self, mean: float, std: float):
        """(a plain model whose rewards have spread 1, the further heads).

        A plain head has no bias, so the mean cannot be taken off in it: config.reward_shift says what to subtract, and
        config.reward_scale what to multiply a difference by to have Bradley–Terry's log-odds again.
        """
        model = trained_model(self.model)
        heads = {}
        if self.members is not None:
            heads["members"] = (self.members.weight / std).cpu().contiguous()
            model.score.weight.copy_(self.members.weight.mean(0, keepdim=True))
        if self.criteria is not None:
            heads["criteria"] = self.criteria.weight.detach().cpu().contiguous()
        model.score.weight /= std
        model.config.reward_shift, model.config.reward_scale = mean / std, std
        return model, heads

    def _overall(self, hidden: torch.Tensor) -> torch.Tensor:
        """(completions, hidden) → (completions, heads)"""
        return in_float32(self.model.score if self.members is None else self.members, hidden)

    def _comparisons(self, batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(rows,) each: which completions of the batch are the chosen and the rejected one, and the row's index."""
        triples, first = [], 0
        for index in batch.indices:
            group = self.groups[index]
            triples += [(first + chosen, first + rejected, row) for chosen, rejected, row in group.comparisons]
            first += len(group.responses)
        return torch.tensor(triples, device=self.table.device).T

    def _loss(self, chosen, rejected, margin, probability, tie):
        if self.ties == "davidson":
            return losses.davidson_loss(chosen, rejected, self.tie_parameter, tie=tie, probability=probability)
        if self.ties == "rao_kupper":
            return losses.rao_kupper_loss(chosen, rejected, self.tie_parameter, tie=tie, probability=probability)
        return losses.bradley_terry_loss(chosen, rejected, margin=margin, probability=probability)


def _head(model, outputs: int, generator: torch.Generator) -> torch.nn.Linear:
    """Linear, without bias, drawn from N(0, 1/(d+1))."""
    size = model.config.get_text_config().hidden_size
    head = torch.nn.Linear(size, outputs, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.randn(outputs, size, generator=generator) / math.sqrt(size + 1))
    return head


def _verdict(row: Preference, criterion: str) -> float:
    verdict = (row.criteria or {}).get(criterion)
    return {"chosen": 1.0, "rejected": 0.0, "tie": 0.5}.get(verdict, math.nan)


def _first_tie_parameter(labels: list[Label], ties: str) -> float:
    """Where to begin: the value at which equal rewards tie as often as the rows do."""
    share = min(0.9, sum(label.tie for label in labels) / len(labels))
    if ties == "davidson":  # ν / (2 + ν) = share
        return math.log(2 * share / (1 - share))
    return math.log(math.log((1 + share) / (1 - share)))  # 1 − 2σ(−θ) = share


def _calibration(rewards: torch.Tensor, heldout: list[Example], objective: RewardObjective) -> dict[str, float]:
    """How far σ(lead) is from the share of labels that agree, over decided held-out rows."""
    confidence, agrees, first = [], [], 0
    for example in heldout:
        group = objective.groups[example.index]
        for chosen, rejected, row in group.comparisons:
            label = objective.labels[row]
            if label.probability == 0.5:
                continue
            sure = float(torch.sigmoid(rewards[first + chosen] - rewards[first + rejected]))
            confidence.append(max(sure, 1 - sure))
            agrees.append(label.probability if sure >= 0.5 else 1 - label.probability)
        first += len(group.responses)
    if not confidence:
        return {}
    return {"calibration_error_heldout": calibration_error(torch.tensor(confidence), torch.tensor(agrees))}
