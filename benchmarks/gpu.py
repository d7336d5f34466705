"""Everything that wants a GPU, in one command: are bfloat16 and CUDA graphs right there, and how fast is it?

    python benchmarks/gpu.py [--rows 512] [--rounds 3]      on a box with a GPU
    python benchmarks/gpu.py --device cpu --shape tiny --rows 64 --rounds 1      to try the script itself

Ends with code 1 if a check fails. Compares with TRL where that is installed.
"""

import argparse
import copy
import importlib.util
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import transformers  # noqa: E402

from benchmarks.training_material import SHAPES  # noqa: E402
from training import tree_attention  # noqa: E402
from training.batching import Example, collate  # noqa: E402
from training.decoder import FusedDecoder  # noqa: E402
from training.logprobs import completion_logprobs, logprobs_of_hidden, supports_shared_prefix  # noqa: E402
from training.sampling import sample  # noqa: E402
from training.static_decoder import StaticDecoder  # noqa: E402

VOCABULARY, HIDDEN = 1024, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--shape", default="qwen", choices=list(SHAPES))
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens-per-batch", type=int, default=16384)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; --device cpu --shape tiny tries the script itself")
    describe(options.device)
    failed = [check.__name__ for check in CHECKS if not report(check, options.device)]
    sys.stdout.flush()
    decoding(options)
    throughput(options)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def describe(device: str) -> None:
    chip = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {chip}", flush=True)


def report(check, device: str) -> bool:
    error, limit = check(device)
    ok = error <= limit
    print(f"{'ok  ' if ok else 'FAIL'} {check.__doc__.splitlines()[0]} {error:.2g} (limit {limit:g})", flush=True)
    return ok


def small_model(device: str):
    """Grouped heads and biases, as in the Qwen models."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True, pad_token_id=0,
        bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    return transformers.Qwen2ForCausalLM(config).to(device).eval()


def groups() -> list[Example]:
    generator = torch.Generator().manual_seed(0)

    def ids(low, high):
        length = int(torch.randint(low, high, (), generator=generator))
        return tuple(torch.randint(2, VOCABULARY, (length,), generator=generator).tolist())

    return [Example(ids(1, 120), tuple(ids(1, 50) for _ in range(1 + index % 4)), index) for index in range(4)]


def logprobs_and_gradient(model, device: str, *, shared: bool, half: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every completion token, and of the sum with fixed weights by all parameters, as one vector."""
    batch = collate(groups(), 0, shared=shared, device=device)
    with torch.autocast(device, torch.bfloat16, enabled=half):
        logprobs = completion_logprobs(model, batch)
    weigh = torch.linspace(-1, 1, len(logprobs), device=device)
    gradients = torch.autograd.grad((weigh * logprobs).sum(), list(model.parameters()))
    return logprobs.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def float32_agrees_with_the_cpu(device: str):
    """float32, packed, against plain rows on the CPU: largest difference of a log-probability"""
    model = small_model("cpu")
    expected, _ = logprobs_and_gradient(model, "cpu", shared=False, half=False)
    found, _ = logprobs_and_gradient(copy.deepcopy(model).to(device), device, shared=True, half=False)
    return float((found.cpu() - expected).abs().max()), 1e-4


def packed_bfloat16_is_as_near_as_plain_bfloat16(device: str):
    """bfloat16 packed: its mean error against float32 over that of plain rows"""
    model = small_model(device)
    exact, _ = logprobs_and_gradient(model, device, shared=False, half=False)
    plain, _ = logprobs_and_gradient(model, device, shared=False, half=True)
    packed, _ = logprobs_and_gradient(model, device, shared=True, half=True)
    return float((packed - exact).abs().mean() / (plain - exact).abs().mean()), 1.5


def bfloat16_gradient_points_the_same_way(device: str):
    """bfloat16 packed: one minus the cosine of its gradient with float32's in plain rows"""
    model = small_model(device)
    _, exact = logprobs_and_gradient(model, device, shared=False, half=False)
    _, packed = logprobs_and_gradient(model, device, shared=True, half=True)
    return 1 - float(torch.cosine_similarity(packed.double(), exact.double(), dim=0)), 1e-2


def packed_rows_are_supported(device: str):
    """packed rows: 0 if the model's own check takes them here"""
    model = small_model(device)
    supported = supports_shared_prefix(model) and model.config._attn_implementation == tree_attention.NAME
    return float(not supported), 0.0


def chunks_agree_with_float64(device: str):
    """log-probabilities in chunks against float64: largest difference of values and gradients"""
    model = small_model(device)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, HIDDEN, generator=generator).to(device)
    targets = torch.randint(0, VOCABULARY, (300,), generator=generator).to(device)
    weight = model.lm_head.weight

    def values(states, chunked: bool):
        if chunked:
            return logprobs_of_hidden(model, states, targets, chunk_tokens=64)
        return (states @ weight.double().T).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)

    found = []
    for chunked in (True, False):
        states = (hidden if chunked else hidden.double()).detach().requires_grad_()
        logprobs = values(states, chunked)
        found.append([logprobs, *torch.autograd.grad(logprobs.sum(), [states, weight])])
    return max(float((a.double() - b.double()).detach().abs().max()) for a, b in zip(*found, strict=True)), 1e-3


def captured_steps_draw_the_same(device: str):
    """decoding by captured graphs: share of completions that are drawn otherwise than by steps of changing shapes"""
    model = small_model(device)
    prompts = [list(example.prompt_ids) for example in groups()]
    options = {"n": 8, "max_new_tokens": 60, "eos_id": 1, "pad_id": 0, "temperature": 1.0}
    decoders = FusedDecoder(model, torch.float32), StaticDecoder(model, torch.float32, capture=device == "cuda")
    pairs = []
    # The second and third find the first's graphs, the fourth needs more rows than any has.
    for seed, chosen in enumerate((prompts, prompts[:2], prompts, prompts * 3)):
        drawn = [sample(model, chosen, **options, seed=seed, decoder=decoder) for decoder in decoders]
        pairs += [pair for both in zip(*drawn, strict=True) for pair in zip(*both, strict=True)]
    if device == "cuda" and not decoders[1].capture:
        return 1.0, 0.02  # a warning has said why
    # A draw that lies between two tokens may fall on either side.
    return sum(one.ids != other.ids for one, other in pairs) / len(pairs), 0.02


CHECKS = (
    packed_rows_are_supported,
    float32_agrees_with_the_cpu,
    chunks_agree_with_float64,
    packed_bfloat16_is_as_near_as_plain_bfloat16,
    bfloat16_gradient_points_the_same_way,
    captured_steps_draw_the_same,
)


def decoding(options) -> None:
    """Tokens a second of 128 completions of 64 tokens, of which none ends early, with and without graphs."""
    from transformers import AutoModelForCausalLM

    config = SHAPES[options.shape]
    model = AutoModelForCausalLM.from_config(config).to(options.device).eval()
    prompts = torch.randint(2, config.vocab_size, (16, 16)).tolist()
    half = torch.bfloat16 if options.device == "cuda" else torch.float32
    for name, decoder in (
        ("step by step", FusedDecoder(model, half)),
        ("static shapes", StaticDecoder(model, half, capture=False)),
        ("captured", StaticDecoder(model, half, capture=True) if options.device == "cuda" else None),
    ):
        if decoder is None:
            continue
        for _ in range(2):  # the first sets up libraries and captures
            begin = time.perf_counter()
            drawn = sample(model, prompts, n=8, max_new_tokens=64, eos_id=-1, pad_id=0, decoder=decoder)
            seconds = time.perf_counter() - begin
        tokens = sum(len(completion.ids) for group in drawn for completion in group)
        print(f"decoding {name}: {tokens / seconds:,.0f} tokens/s", flush=True)


def throughput(options) -> None:
    """The table of `training_throughput`, on this device."""
    has_trl = importlib.util.find_spec("trl") is not None
    if not has_trl:
        print("TRL is not installed here: ours alone is measured")
    subprocess.run(
        [
            sys.executable, str(ROOT / "benchmarks" / "training_throughput.py"), "--device", options.device,
            "--shape", options.shape, "--rows", str(options.rows), "--rounds", str(options.rounds),
            "--tokens-per-batch", str(options.tokens_per_batch), "--made-up",
            "--against", "bf16/8,bf16/16,bf16/32" if has_trl else "",
        ],
        check=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
