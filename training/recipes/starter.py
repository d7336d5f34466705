"""A small language model from nothing: tokenizer and Llama-architecture weights, trained on the demo world in a minute.

It stands in for a pretrained chat model where no hub is in reach. It first reads right and plain answers, which teach
it the world's facts, then answers of every quality, which teach it to be no better than a mixed crowd: it knows more
than it says, and is curt, long-winded or wrong as often as not. What people prefer is for later recipes to bring out.
"""

import dataclasses
from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training import runtime
from training.batching import Example
from training.chat import encode_completion, encode_prompt
from training.config import TrainingConfig
from training.events import EventLog
from training.loop import total_steps
from training.recipes import Outcome
from training.recipes.sft import fine_tune
from training.recipes.starter_config import StarterConfig
from training.records import Prompt
from training.showcase import Showcase
from world.answers import FACTS, STARTER, Mix
from world.corpus import conversations
from world.tasks import heldout_tasks

PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TOKENIZER_TEXTS = 20_000
LOG_EVERY = 20
EARLY_MANNERS = 0.3
"""Share of the second lesson that is mixed into the first, so that its kind of text comes as no surprise."""


def run(config: StarterConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    # 1. A tokenizer of the world's words, with every byte as a token, so that no text is unknown to it.
    log.message(f"training a tokenizer of {config.vocabulary} tokens")
    tokenizer = train_tokenizer(config.vocabulary, _texts(config.seed))

    # 2. A model that knows nothing.
    model = new_model(config, tokenizer).to(machine.device)
    log.message(f"{model.num_parameters() / 1e6:.2f} million parameters, drawn at random")
    prompts = [Prompt(task.messages) for task in heldout_tasks()[::60]]
    showcase = Showcase(model, tokenizer, prompts, count=8, max_new_tokens=64)

    # 3. Facts at a steady rate, with a taste of manners; then manners only, while the rate falls to zero.
    facts = _examples(tokenizer, "facts", config, FACTS, config.facts)
    manners = _examples(tokenizer, "manners", config, STARTER, config.manners)
    early = int(EARLY_MANNERS * len(manners))
    lessons = [
        (facts + manners[:early], {"schedule": "constant", "warmup": 0.05}),
        (manners[early:], {"schedule": "linear", "warmup": 0.0}),
    ]
    base = _loop_settings(config)
    total = sum(total_steps(len(examples), base) for examples, _ in lessons)
    log.start("starter", device=str(machine.device), total=total)
    done, metrics = 0, {}
    for examples, schedule in lessons:
        settings = dataclasses.replace(base, **schedule)
        model, metrics = fine_tune(model, tokenizer, examples, settings, machine, log, first_step=done, run_total=total)
        done += total_steps(len(examples), settings)
    showcase.show(model, log)
    return Outcome(metrics, model, tokenizer)


def train_tokenizer(vocabulary: int, texts: Iterator[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE (Radford et al. 2019) with a chat template; begin, end and padding are three different tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
    )


def new_model(config: StarterConfig, tokenizer) -> LlamaForCausalLM:
    """Random weights, a little larger than Llama's own start: a narrow model learns faster from there."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.positions,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="sdpa",
            dtype=torch.float32,
        )
    )


def _texts(seed: int) -> Iterator[str]:
    for messages, answer in islice(conversations(f"tokenizer/{seed}", STARTER), TOKENIZER_TEXTS):
        yield from (message["content"] for message in messages)
        yield answer


def _examples(tokenizer, lesson: str, config: StarterConfig, mix: Mix, count: int) -> list[Example]:
    drawn = islice(conversations(f"{lesson}/{config.seed}", mix), count)
    return [
        Example(tuple(encode_prompt(tokenizer, messages)), (tuple(encode_completion(tokenizer, answer)),), index)
        for index, (messages, answer) in enumerate(drawn)
    ]


def _loop_settings(config: StarterConfig) -> TrainingConfig:
    """The shared optimizer loop's settings. Without checkpoints: the whole run takes less than two minutes."""
    return TrainingConfig(
        output=config.output,
        model="",
        seed=config.seed,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=0.1,
        adam_beta2=0.98,
        heldout="0",
        log_every=LOG_EVERY,
        checkpoint_every=0,
    )
