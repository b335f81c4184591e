"""Gradients of single examples in LoRA adapters, a whole batch from one backward pass.

A LoRA layer computes y = W x + s B A x. With d_t the gradient of an example's loss at the output of B
(which holds the factor s) and e_t = B^T d_t that at the output of A, summed over its tokens t

    dB = sum_t d_t (A x_t)^T        dA = sum_t e_t x_t^T

so hooks on A and B see all it takes, and a batched matrix product keeps the examples of a batch apart
at the cost of the ordinary weight gradient. No weight requires a gradient itself: what flows back are
the gradients of activations, from the embeddings' output on, and autograd forms no second dA and dB.

One layer's gradients are handed over and let go before the next layer's are made, so memory holds
batch x largest matrix, whatever the number of layers.

The loss of an example is the mean cross entropy of its own response tokens, and the batch's is the
sum of these; a mean over the batch would scale every example by the company that it is in. Padding is
on the right: a causal model's real tokens do not see it, its own gradients are zero.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.errors import UserError
from curate.core.lazy import lazy_module
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.training import pad_batch

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

# Called with the name of an adapter matrix and its gradients, float32 [examples, *shape].
GradientCallback = Callable[[str, "torch.Tensor"], None]
BETAS = (0.9, 0.999)
EPS = 1e-8
HEAD_ROWS = 256


@dataclass(frozen=True)
class LoraLayer:
    """A layer with a plain LoRA adapter: the module, its A and B, and the names of their weights."""

    module: Any
    down: Any
    up: Any
    down_name: str
    up_name: str


def lora_layers(model: Any) -> list[LoraLayer]:
    """Return the adapted layers of a peft model.

    Raises:
        UserError: something else is trained too, or an adapter is not plain LoRA on a linear layer.
    """
    from peft.tuners.lora import Linear  # noqa: PLC0415

    layers: list[LoraLayer] = []
    for name, module in model.named_modules():
        if not isinstance(module, Linear):
            continue
        active = list(module.active_adapters)
        if len(active) != 1 or module.lora_variant or module.merged:
            raise _unsupported(name)
        adapter = active[0]
        names = [f"{name}.lora_{side}.{adapter}.weight" for side in "AB"]
        layers.append(LoraLayer(module, module.lora_A[adapter], module.lora_B[adapter], *names))
    adapter_names = {name for layer in layers for name in (layer.down_name, layer.up_name)}
    for name, weight in model.named_parameters():
        if name not in adapter_names and (weight.requires_grad or "lora_" in name):
            raise _unsupported(name)
    head = model.get_output_embeddings()
    if not layers or head is None:
        raise _unsupported("a model without adapters or without a vocabulary head")
    if any(layer.module is head for layer in layers):
        raise _unsupported("the vocabulary head")
    return layers


def _unsupported(name: str) -> UserError:
    return UserError(
        f"gradients by example: {name} is not supported; only one plain LoRA adapter on linear layers "
        "is (no DoRA, no biases, no embeddings or vocabulary head, no modules_to_save)"
    )


def has_response(example: TokenizedExample) -> bool:
    """Return whether the example has a response token to take a loss of."""
    return any(token != IGNORED for token in example.labels[1:])


def example_gradients(
    model: Any, batch: Sequence[TokenizedExample], take: GradientCallback
) -> None:
    """Hand over the gradients of every example of a batch, one adapter matrix at a time.

    The order of the matrices is that of the backward pass: the last layer first.

    Args:
        model: a peft model with LoRA adapters, in evaluation mode.
        batch: examples with at least one response token each.
        take: called once for each adapter matrix.
    """
    layers = lora_layers(model)
    ids, following = pad_batch(batch)
    response_mask = following != IGNORED
    shares = (1 / response_mask.sum(dim=1, keepdim=True)).expand_as(response_mask)[response_mask]
    gold = following[response_mask].to(model.device)
    with torch.enable_grad(), _frozen(model), _hooks(model, layers, response_mask, take):
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits
        pull = _loss_gradient(logits.detach()[0], gold, shares.to(model.device))
        torch.autograd.backward([logits], [pull.unsqueeze(0)])


def _loss_gradient(
    logits: "torch.Tensor", gold: "torch.Tensor", shares: "torch.Tensor"
) -> "torch.Tensor":
    """Return the gradient at logits [n, V] of the sum over n of share x cross entropy.

    That is share x (softmax - one-hot), here in pieces: autograd would hold three float32 arrays of
    the size of the logits, the largest there are.
    """
    pull = torch.empty_like(logits)
    for start in range(0, len(logits), HEAD_ROWS):
        part = slice(start, start + HEAD_ROWS)
        chance = logits[part].float().softmax(dim=-1)
        chance[torch.arange(len(chance), device=chance.device), gold[part]] -= 1
        pull[part] = chance * shares[part, None]
    return pull


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


@contextmanager
def _hooks(
    model: Any, layers: Sequence[LoraLayer], response_mask: "torch.Tensor", take: GradientCallback
) -> Iterator[None]:
    """Hook the adapters for `take`; the head, to run where a response token follows; embeddings."""

    def start_of_gradients(_: Any, __: Any, output: "torch.Tensor") -> None:
        output.requires_grad_(True)

    def select_response_positions(
        _: Any, args: "tuple[torch.Tensor, ...]"
    ) -> "tuple[torch.Tensor]":
        where = response_mask.to(args[0].device)
        return (args[0][:, :-1][where].unsqueeze(0),)

    handles = [
        model.get_input_embeddings().register_forward_hook(start_of_gradients),
        model.get_output_embeddings().register_forward_pre_hook(select_response_positions),
    ]
    for layer in layers:
        handles += _hook_layer(layer, take)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook_layer(layer: LoraLayer, take: GradientCallback) -> list[Any]:
    """Hook one layer; what its forward pass saw is kept until its backward pass.

    The input is kept as it enters the layer: q, k and v share it, and peft's float32 copies of a
    bfloat16 one need not live so long.
    """
    seen: dict[str, torch.Tensor] = {}

    def enter(module: Any, args: "tuple[torch.Tensor, ...]") -> None:
        if seen:
            raise UserError(
                f"gradients by example: {layer.down_name} is used more than once in a pass"
            )
        seen["x"] = args[0].detach()

    def after_down(_: Any, __: Any, output: "torch.Tensor") -> None:
        seen["u"] = output.detach()
        _on_gradient(output, lambda pull: take(layer.down_name, _outer(pull, seen.pop("x"))))

    def after_up(_: Any, __: Any, output: "torch.Tensor") -> None:
        _on_gradient(output, lambda pull: take(layer.up_name, _outer(pull, seen.pop("u"))))

    return [
        layer.module.register_forward_pre_hook(enter),
        layer.down.register_forward_hook(after_down),
        layer.up.register_forward_hook(after_up),
    ]


def _on_gradient(output: "torch.Tensor", receive: "Callable[[torch.Tensor], None]") -> None:
    output.register_hook(receive)  # type: ignore[no-untyped-call]


def _outer(pull: "torch.Tensor", entered: "torch.Tensor") -> "torch.Tensor":
    """Return sum over t of pull [B, t, out] times entered [B, t, in], float32 [B, out, in]."""
    return pull.float().transpose(1, 2) @ entered.float()


@dataclass
class AdamDirection:
    """LESS's feature of a training example: the direction in which Adam would move the adapter.

    With the state m, v of the optimizer at a checkpoint, after `steps` steps, and a gradient g

        m' = 0.9 m + 0.1 g      v' = 0.999 v + 0.001 g^2

        less_code:  m' / sqrt(v' + 1e-8)
        adamw:      (m' / (1 - 0.9^t)) / (sqrt(v' / (1 - 0.999^t)) + 1e-8),  t = steps + 1

        sgd:        g

    `less_code` is the authors' code, with which the published figures were made. Where v' is far
    below 1e-8 its denominator is a constant, so it does not precondition there. `adaptive` of `seen`
    coordinates had v' > 1e-8. 0.9 m is the same for all rows: `inertia` sums its squares over rows,
    `pull` those of 0.1 g, and where the first is the larger, all rows point the same way.
    """

    exp_avg: Mapping[str, "torch.Tensor"]
    exp_avg_sq: Mapping[str, "torch.Tensor"]
    steps: int
    eps_mode: str
    adaptive: int = 0
    seen: int = 0
    inertia: float = 0.0
    pull: float = 0.0

    def __call__(self, name: str, gradient: "torch.Tensor") -> "torch.Tensor":
        """Return the directions of examples [B, *shape] from their gradients in one matrix."""
        if self.eps_mode == "sgd":
            return gradient
        first, second = BETAS
        self.inertia += len(gradient) * first**2 * _squares(self.exp_avg[name])
        self.pull += (1 - first) ** 2 * _squares(gradient)
        momentum = gradient.mul(1 - first).add_(self.exp_avg[name], alpha=first)
        scale = gradient.square().mul_(1 - second).add_(self.exp_avg_sq[name], alpha=second)
        self.adaptive += int((scale > EPS).sum())
        self.seen += scale.numel()
        if self.eps_mode == "less_code":
            return momentum.div_(scale.add_(EPS).sqrt_())
        time = self.steps + 1
        root = scale.div_(1 - second**time).sqrt_().add_(EPS)
        return momentum.div_(1 - first**time).div_(root)


def _squares(values: "torch.Tensor") -> float:
    return float(values.double().square().sum())
