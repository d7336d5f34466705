"""A reward model's low-rank updates and head as a directory of their own, in PEFT's format, beside the merged model.

Merged, an update is a whole model. Kept apart, it is a reward model over weights that a policy holds anyway
(`training.shared_trunk`), provided that they are the very weights it was trained on: it names them by their SHA-256.
"""

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training.config import ConfigError
from training.files import fsync_tree, permit_like, replace_directory
from training.logprobs import trunk_of

DIRECTORY = "adapter"
_WEIGHTS = "adapter_model.safetensors"
_OF_MODEL = "base_model.model."
_HEAD = f"{_OF_MODEL}score.weight"


@dataclass(frozen=True, eq=False)
class Adapter:
    lora: LoraConfig
    tensors: dict[str, torch.Tensor]
    """by PEFT's names: low-rank updates of the trunk's linear layers, and the head (1, hidden); on the CPU"""
    base: str
    """`trunk_digest` of the model that they update"""

    @property
    def head(self) -> torch.Tensor:
        return self.tensors[_HEAD]

    def with_head(self, weight: torch.Tensor) -> "Adapter":
        return dataclasses.replace(self, tensors=self.tensors | {_HEAD: weight.detach().cpu().clone()})

    def updates(self, trunk: str) -> dict[str, torch.Tensor]:
        """By the names that they have within the trunk, which its model calls `trunk` (its base_model_prefix)."""
        prefix = f"{_OF_MODEL}{trunk}."
        return {
            name.removeprefix(prefix).removesuffix("weight") + "default.weight": tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def trunk_digest(model) -> str:
    """SHA-256 of the trunk's weights and their names, the same for a language model and a classifier made from it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trunk_of(model).state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def taken_from(model, base: str) -> Adapter:
    """The updates of a PEFT model as they are now, before it is merged."""
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in get_peft_model_state_dict(model).items()}
    return Adapter(model.peft_config["default"], tensors, base)


def save(adapter: Adapter, directory: Path) -> None:
    """The directory appears by one rename, replacing an older one; PEFT loads it over the model trained from."""
    aside = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        adapter.lora.save_pretrained(aside)
        tensors = {name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
        save_file(tensors, aside / _WEIGHTS, metadata={"format": "pt", "base": adapter.base})
        permit_like(aside / _WEIGHTS, aside / "adapter_config.json")
        fsync_tree(aside)
        replace_directory(aside, directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def beside(model: str) -> Adapter | None:
    """What the run that trained the model left beside it. Raises ConfigError where that cannot be read."""
    directory = Path(model).parent / DIRECTORY
    if not (directory / _WEIGHTS).is_file():
        return None
    try:
        with safe_open(directory / _WEIGHTS, framework="pt") as file:
            tensors, base = {}, (file.metadata() or {}).get("base")
            for name in file.offset_keys():
                tensors[name] = file.get_tensor(name)
        lora = LoraConfig.from_pretrained(directory)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ConfigError(f"the adapter in {directory} cannot be loaded: {error}") from error
    return Adapter(lora, tensors, base) if base and _HEAD in tensors else None
