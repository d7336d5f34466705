"""Models and tokenizers from a local directory or a hub id, and to a directory, always in safetensors."""

import contextlib
import functools
import math
import os
import shutil
from pathlib import Path

import huggingface_hub
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from training.chat import PLAIN_TEMPLATE
from training.config import ConfigError, TrainingConfig
from training.events import EventLog
from training.files import fsync_tree, permit_like, replace_directory

transformers.logging.disable_progress_bar()

HEADS = "heads.safetensors"

# Reserved for padding by the families that have no pad token of their own set.
_PAD_TOKENS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "[PAD]")


class ModelLoadError(ConfigError):
    """A model or tokenizer cannot be had: one sentence that says which and why."""


def load_tokenizer(source: str):
    """The tokenizer, with a chat template and with a pad token that is not its end-of-sequence token.

    A pad equal to the end would make a plain loader of a reward model score the token before the end.
    """
    with _load_errors(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **_where(source))
    if tokenizer.eos_token_id is None:
        raise ModelLoadError(f"the tokenizer of {source} has no end-of-sequence token, so no response could end")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        vocabulary = tokenizer.get_vocab()
        pad = next((token for token in _PAD_TOKENS if token in vocabulary), "<|pad|>")
        tokenizer.add_special_tokens({"pad_token": pad})
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def load_policy(source: str, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32):
    """A causal language model in eval mode (dropout off)."""
    if is_reward_model(source):
        raise ModelLoadError(f"{source} is a reward model, which gives scores: a policy, which answers, is needed here")
    with _load_errors(source, "model"):
        model = AutoModelForCausalLM.from_pretrained(source, **_where(source), **_load_options(dtype))
    return _prepared(model, load_tokenizer(source), device)


def load_reward_model(
    source: str, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
):
    """A sequence classifier with one label, in eval mode.

    From a policy it gets a new head, drawn from N(0, 1/(d+1)) with d the hidden size (Stiennon et al. 2020).
    """
    has_head = is_reward_model(source)
    with _load_errors(source, "model"):
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=1, **_where(source), **_load_options(dtype)
        )
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise ModelLoadError(f"{source} cannot carry a reward head: {type(model).__name__} has no linear score layer")
    if not has_head:
        generator = torch.Generator().manual_seed(seed)
        std = 1 / math.sqrt(model.score.in_features + 1)
        with torch.no_grad():
            model.score.weight.copy_(torch.randn(model.score.weight.shape, generator=generator) * std)
    return _prepared(model, load_tokenizer(source), device)


def load_config(source: str):
    """The model's configuration; the first thing to load, since a missing model is noticed here at once."""
    with _load_errors(source, "model"):
        return AutoConfig.from_pretrained(source, **_where(source))


def is_reward_model(source: str) -> bool:
    """Whether the directory or hub id holds a sequence classifier of one label rather than a language model."""
    config = load_config(source)
    classifies = any("SequenceClassification" in name for name in config.architectures or [])
    if classifies and config.num_labels != 1:
        raise ModelLoadError(f"{source} is a classifier of {config.num_labels} labels, not a reward model of one")
    return classifies


def end_ids(model, tokenizer) -> tuple[int, ...]:
    """What ends an answer: the tokenizer's end of sequence, and the others where generation_config has a list of them.

    Gemma's and Llama's chat models end a turn by another token than a text.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return tuple(dict.fromkeys([tokenizer.eos_token_id, *(named if isinstance(named, list) else [])]))


def check_positions(model, tokens: int, log: EventLog) -> None:
    """Say that the model was never trained on sequences of so many tokens; ConfigError where it cannot read them.

    Rotary and relative positions go on past what a model was trained on, learned ones end there.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is None or tokens <= limit:
        return
    sentence = f"the longest prompt with max_tokens comes to {tokens} tokens, and the model has {limit} positions"
    words = model.get_input_embeddings()
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding) and module is not words]
    if any(limit <= table.num_embeddings < limit + 8 for table in tables):  # OPT's has two rows more
        raise ConfigError(f"{sentence}: lower max_tokens or max_prompt_length")
    log.message(f"{sentence}: beyond those its answers are not what it was trained for", "warning")


def prepare_training(model, config: TrainingConfig):
    """The model to train: dropout as configured, activations recomputed if asked for, LoRA updates if asked for."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = config.dropout
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = config.dropout
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not config.lora_rank:
        return model
    from peft import LoraConfig, get_peft_model

    is_classifier = isinstance(getattr(model, "score", None), torch.nn.Linear)
    lora = LoraConfig(
        task_type="SEQ_CLS" if is_classifier else "CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        modules_to_save=["score"] if is_classifier else None,
    )
    return get_peft_model(model, lora)


def trained_model(model):
    """A plain model again: LoRA updates merged into the weights, so that any loader reads what is saved."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def without_updates(model):
    """A context in which a model with low-rank updates is what it was before them; another stays as it is."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext()


def load_heads(source: str) -> dict[str, torch.Tensor]:
    """The further heads that lie beside a reward model of ours: "members" (heads, hidden), "criteria" (3, hidden)."""
    path = Path(source) / HEADS
    return load_file(path) if path.is_file() else {}


def save_model(model, tokenizer, directory: str | os.PathLike, *, tensors: dict | None = None) -> None:
    """A plain Hugging Face directory in safetensors that appears by one rename, replacing an older one.

    `tensors` {file name: {name: tensor}} lie beside the weights, where a plain loader passes them by.
    """
    directory = Path(directory)
    aside = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        for name, values in (tensors or {}).items():
            save_file(values, aside / name)
        for weights in aside.glob("*.safetensors"):
            permit_like(weights, aside / "config.json")
        fsync_tree(aside)
        replace_directory(aside, directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _load_options(dtype: torch.dtype) -> dict:
    return {"dtype": dtype, "attn_implementation": "sdpa", "use_safetensors": True}


def _prepared(model, tokenizer, device):
    """The model on its device, with a row of embeddings for every token and the ids that loaders look for."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = True
    return model.to(device).eval()


def _where(source: str) -> dict:
    """How to look for a source: a directory as it is; a hub id only in the cache where no hub answers."""
    if not source.strip():
        raise ModelLoadError("no model is named: give a local directory or a hub id")
    path = Path(source)
    if path.is_dir():
        if (path / "model" / "config.json").is_file() and not any(path.glob("*.safetensors")):
            raise ModelLoadError(f"{source} is a run directory: its model is {path / 'model'}")
        if not (path / "config.json").is_file():
            raise ModelLoadError(f"{source} is a directory but holds no model: there is no config.json in it")
        return {"local_files_only": True}
    if path.is_absolute() or source.startswith(("./", "../", "~")) or source.count("/") > 1:
        raise ModelLoadError(f"model {source} is not there: no such directory")
    return {"local_files_only": not _hub_answers()}


@functools.cache
def _hub_answers() -> bool:
    """Asked once, with a short wait: the library itself would try again for half a minute per file."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        huggingface_hub.utils.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=5)
    except Exception:
        return False
    return True


@contextlib.contextmanager
def _load_errors(source: str, what: str):
    """Turn what the loading libraries raise into one sentence, and keep them quiet meanwhile."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if Path(source).is_dir():
            raise ModelLoadError(f"the {what} in {source} cannot be loaded: {_reason(source, what, error)}") from error
        raise ModelLoadError(
            f"{source} is not a local directory, and the model hub does not give it or cannot be reached"
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)


def _reason(source: str, what: str, error: Exception) -> str:
    """What is missing, where that is plain to see, or else the first line of what the library says."""
    path = Path(source)
    if what == "tokenizer" and not any(path.glob("tokenizer*")):
        return "there is no tokenizer.json in it"
    if what == "model" and not any(path.glob("*.safetensors")):
        pickled = any(path.glob("*.bin")) or any(path.glob("*.pt"))
        return "there is no model.safetensors in it" + (", and pickled weights are never loaded" if pickled else "")
    if "ignore_mismatched_sizes" in str(error):
        return "its weights have other sizes than its config.json says"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
