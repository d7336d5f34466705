"""vLLM as a generator: `generator=vllm`, where it is installed (a CUDA machine; it is not among the requirements).

The engine runs in this process on the trainer's GPU, so weights are handed over in memory, and it holds its share of
the GPU's memory while the policy is trained, too: vLLM's sleep mode is not used. Written against vLLM's public
interface (LLM.generate, LLM.apply_model, SamplingParams) as of 0.11, and read against its sources of 0.20; where it
rounds otherwise than the trainer does, `sampler_gap` shows by how much.
"""

import os
from collections.abc import Sequence

import torch

from training.config import ConfigError
from training.models import load_config
from training.sampling import Completion


class VLLMGenerator:
    """As `generators.LocalGenerator`. `share`: of the GPU's memory for vLLM's weights and cache."""

    def __init__(self, policy, source: str, *, eos_id: int | Sequence[int], max_length: int, share: float, seed: int):
        # One process, or the engine would be another one that the weights had to be sent to.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        vllm = imported()
        self.policy, self.ends = policy, [eos_id] if isinstance(eos_id, int) else list(eos_id)
        # A row for a pad token that the tokenizer lacked is ours alone: the engine reads the source, which has none.
        self.vocabulary = load_config(source).get_text_config().vocab_size
        self.sampling_params = vllm.SamplingParams
        self.engine = vllm.LLM(
            model=source,
            dtype="bfloat16",
            max_model_len=max_length,
            gpu_memory_utilization=share,
            skip_tokenizer_init=True,
            logprobs_mode="processed_logprobs",  # of the distribution that is sampled from, temperature and all
            seed=seed % 2**32,  # it also seeds numpy, which takes no more
        )

    @torch.no_grad()
    def sync(self) -> None:
        words = [self.policy.get_input_embeddings().weight, self.policy.get_output_embeddings().weight]
        weights = [
            (name, weight.detach()[: self.vocabulary if any(weight is of for of in words) else None])
            for name, weight in self.policy.named_parameters()
        ]
        self.engine.apply_model(lambda model: len(model.load_weights(weights) or ()))
        self.engine.reset_prefix_cache()  # what was cached was computed by the old weights

    def sample(self, prompts, *, n, max_new_tokens, temperature, seed, places=None) -> list[list[Completion]]:
        parameters = [
            self.sampling_params(
                # vLLM gives sample k of a prompt the prompt's seed plus k, and a seed must be no one else's.
                n=n, seed=(seed + n * place) % 2**62, temperature=temperature, max_tokens=max_new_tokens, logprobs=0,
                top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0, detokenize=False,
                # Our own sampler's ends, whatever else the source may name.
                stop_token_ids=self.ends, ignore_eos=True,
            )
            for place in (range(len(prompts)) if places is None else places)
        ]  # fmt: skip
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts], parameters, use_tqdm=False
        )
        return [[self._completion(output) for output in request.outputs] for request in outputs]

    def _completion(self, output) -> Completion:
        ids = tuple(output.token_ids)
        logprobs = tuple(of_token[id].logprob for id, of_token in zip(ids, output.logprobs, strict=True))
        return Completion(ids, logprobs, truncated=ids[-1] not in self.ends)


def check(processes: int) -> None:
    """Raises ConfigError where this cannot work."""
    if processes > 1:
        raise ConfigError("generator=vllm has not been tried in several processes: use generator=transformers")
    imported()


def imported():
    """The module vllm. Raises ConfigError where it is not installed."""
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            "generator=vllm needs vLLM, which is not installed here: pip install vllm, or leave generator=transformers"
        ) from error
    return vllm
