"""A forward pass whose steps have the slope of a line, in any network's own code.

It is what a gradient needs that a network hides by rounding or by chance: the backward pass of each
step is that of the identity, or of a smooth function near it (backward pass differentiable
approximation; Athalye, Carlini & Wagner 2018, section 4.1).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]
Handler = Callable[[Function, tuple[Any, ...], dict[str, Any]], Any]

ROUNDING = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")
DIVISIONS = ("floor_divide", "__floordiv__", "__rfloordiv__")
DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
GREATER, LESS = ("gt", "ge", "greater", "greater_equal"), ("lt", "le", "less", "less_equal")
# How many arguments must be given by their places, for a step to be seen through: one, or so many.
TAKEN = dict.fromkeys(("randn", "normal"), 0) | dict.fromkeys((*DIVISIONS, *GREATER, *LESS), 2)
RESHAPING = ("__getitem__", "unsqueeze", "view", "reshape")
IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__")
# What is raised where only whole numbers will do, as for an index.
WHOLE_ALONE = (RuntimeError, TypeError, IndexError, ValueError)
SPREAD = 5.0  # how large what softmax, sigmoid and tanh get may be, for their slope to be seen
DATA = Tensor.data.__get__  # type: ignore[attr-defined]


class StraightThrough(TorchFunctionMode):
    """Let steps pass gradients on, in whatever runs inside the block.

    - Rounding, floor, ceil, trunc and sign pass them on as the identity does, casts to whole
      numbers and back too; a winner, as `one_hot` of `argmax` or by `scatter`, as softmax does.
    - With `means`, Gaussian numbers are at their mean, and dropout is off.
    - With `everything`, `detach` and `no_grad` do nothing, comparisons pass gradients on as the
      difference of what they compare, and softmax, sigmoid and tanh have the slope that they have
      where they do not saturate. It is for a network that has no gradient without: elsewhere it
      distorts true ones, such as that of `x * (x > 0)`.

    What torch does not see itself has no gradient here: NumPy, torch.inference_mode and compiled
    networks.
    """

    def __init__(self, means: bool = True, everything: bool = False) -> None:
        super().__init__()
        # By id, with the tensor itself, which keeps the id its own.
        self.smooth: dict[int, tuple[Tensor, Tensor]] = {}  # behind whole numbers and answers
        self.chances: dict[int, tuple[Tensor, Tensor]] = {}  # of all classes, behind a winner's
        self.handlers = _always(self) | (_means() if means else {})
        if everything:
            self.handlers |= _everything(self)

    def __torch_function__(
        self,
        func: Function,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run `func`, or what stands in for it."""
        named = dict(kwargs or {})
        if not args and "input" in named:
            args = (named.pop("input"),)
        handler = self.handlers.get(_name(func), self.carried)
        if len(args) < TAKEN.get(_name(func), 1):  # the others by their names
            handler = self.carried
        return handler(func, args, named)

    def carried(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `func`; where an argument stands for a smooth number, its result has the slope."""
        if not any(_found(self.smooth, each) is not None for each in _flat(args)):
            return func(*args, **kwargs)
        if _in_place(_name(func)):
            return self._changed(func, args, kwargs)
        value = func(*args, **kwargs)
        if not isinstance(value, Tensor):
            return value
        slope = self._slope(func, args, kwargs)
        return self.remembered(value, slope) if _fits(slope, value) else value

    def _changed(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Change a tensor in place."""
        if self.smooth.pop(id(args[0]), None) is not None:  # it no longer is what was remembered
            return func(*args, **kwargs)
        try:
            return func(*_replaced(args, self._as_number), **kwargs)
        except WHOLE_ALONE:
            return func(*args, **kwargs)

    def _slope(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return func(*_replaced(args, self._as_number), **kwargs)
        except WHOLE_ALONE:
            return None

    def remembered(self, value: Tensor, slope: Tensor) -> Tensor:
        """Return `value` with the gradient of `slope`, for whole numbers once they are none."""
        if value.is_floating_point():
            return straight(slope, value)
        self.smooth[id(value)] = value, slope
        return value

    def _as_number(self, value: Any) -> Any:
        slope = _found(self.smooth, value)
        return value if slope is None else straight(slope, value.to(slope.dtype))

    def rounded(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Pass the gradient on as if the numbers were not rounded."""
        x = args[0]
        if not _smooth(x):
            return self.carried(func, args, kwargs)
        if not _in_place(_name(func)):
            return straight(x, func(*args, **kwargs))
        before, value = x.clone(), func(x.detach().clone(), *args[1:], **kwargs)
        return x.copy_(straight(before, value))

    def divided(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Pass the gradient of a division on as if its result was not rounded."""
        value, numbers = func(*args, **kwargs), _replaced(args[:2], self._as_number)
        if not any(map(_smooth, numbers)):
            return value
        one, other = reversed(numbers) if _name(func) == "__rfloordiv__" else numbers
        return self.remembered(value, one / other)

    def div(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Divide; with a rounding_mode, as in `divided`."""
        rounds = kwargs.get("rounding_mode") is not None and len(args) > 1
        return (self.divided if rounds else self.carried)(func, args, kwargs)

    def cast(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Remember what whole numbers were before they were cut."""
        value = func(*args, **kwargs)
        whole = isinstance(value, Tensor) and not value.is_floating_point()
        if whole and _smooth(args[0]) and value.dtype is not torch.bool:
            return self.remembered(value, args[0])
        return self.carried(func, args, kwargs)

    def winner(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Remember of which chances the index of a largest number is the winner."""
        value, x = func(*args, **kwargs), args[0]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        index = value[1] if isinstance(value, tuple) else value
        if isinstance(dim, int) and _smooth(x) and not index.is_floating_point():
            self.chances[id(index)] = index, x.softmax(dim).movedim(dim, -1)
        return value

    def reshaped(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give a winner's index another shape."""
        value, chances = self.carried(func, args, kwargs), _found(self.chances, args[0])
        if chances is not None:
            self.chances[id(value)] = value, chances
        return value

    def one_hot(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Pass the gradient of a winner's one-hot vector on as that of its chances."""
        value, chances = func(*args, **kwargs), _found(self.chances, args[0])
        if chances is None or not _fits(chances, value):
            return value
        return self.remembered(value, chances)

    def scattered(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do the same where a number is scattered to the winner's place."""
        value = func(*args, **kwargs)
        if len(args) < 4 or (chances := _found(self.chances, args[2])) is None:
            return value
        placed = chances.movedim(-1, args[1])
        if not value.is_floating_point() or not _fits(placed, value):
            return value
        source = args[3].detach() if isinstance(args[3], Tensor) else args[3]
        result = straight(placed * source, value.detach())
        return value.copy_(result) if _in_place(_name(func)) else result

    def compared(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Remember by how much one number is above the other."""
        value, (one, other) = func(*args, **kwargs), args[:2]
        if not any(map(_smooth, (one, other))):
            return value
        return self.remembered(value, one - other if _name(func) in GREATER else other - one)

    def chosen(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Choose by a comparison, whose gradient is weighed by what is chosen between."""
        value = func(*args, **kwargs)
        slope = _found(self.smooth, args[0])
        if slope is None or len(args) < 3 or not value.is_floating_point():
            return value
        apart = torch.as_tensor(args[1] - args[2]).detach().nan_to_num(0.0, 0.0, 0.0)
        return straight(value + apart * straight(slope, torch.zeros_like(slope)), value)


def _always(mode: StraightThrough) -> dict[str, Handler]:
    handlers: dict[str, Handler] = dict.fromkeys(_both(ROUNDING), mode.rounded)
    handlers |= dict.fromkeys(DIVISIONS, mode.divided)
    handlers |= dict.fromkeys(("div", "divide"), mode.div)
    casts = ("long", "int", "short", "char", "byte", "to", "type", "type_as")
    handlers |= dict.fromkeys(casts, mode.cast)
    handlers |= dict.fromkeys(("argmax", "max"), mode.winner)
    handlers |= dict.fromkeys(RESHAPING, mode.reshaped)
    handlers |= dict.fromkeys(_both(("scatter",)), mode.scattered)
    return handlers | {"one_hot": mode.one_hot, "register_hook": _without_effect}


def _means() -> dict[str, Handler]:
    handlers: dict[str, Handler] = dict.fromkeys(_both(DROPOUTS), _kept)
    handlers |= dict.fromkeys(("randn", "randn_like"), _zeros)
    return handlers | {"normal": _centre, "normal_": _centre_in_place}


def _everything(mode: StraightThrough) -> dict[str, Handler]:
    handlers: dict[str, Handler] = dict.fromkeys((*GREATER, *LESS), mode.compared)
    handlers |= dict.fromkeys(("detach", "detach_", "data"), _itself)
    handlers |= dict.fromkeys(("numpy", "__array__"), _detached)
    handlers |= dict.fromkeys(("softmax", "sigmoid", "tanh"), _warm)
    return handlers | {"where": mode.chosen, "_set_grad_enabled": _enabled}


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, slope: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight(slope: Tensor, value: Tensor) -> Tensor:
    """Return `value`, to the last bit, with the gradient of `slope`, which has the same shape."""
    result: Tensor = _Straight.apply(slope.to(value.dtype), value.detach())
    return result


def _kept(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    func(args[0].detach().clone(), *args[1:], **kwargs)  # what is drawn after it stays the same
    return args[0]


def _zeros(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return torch.zeros_like(func(*args, **kwargs))


def _centre(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    mean = kwargs.get("mean", args[0] if args else 0.0)
    return torch.zeros_like(func(*args, **kwargs)) + mean


def _centre_in_place(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    mean = kwargs.get("mean", args[1] if len(args) > 1 else 0.0)
    return func(*args, **kwargs).fill_(mean)


def _without_effect(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Hook a copy, so that the hook changes no gradient on its way back."""
    return func(args[0].clone(), *args[1:], **kwargs)


def _itself(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


def _detached(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(args[0].detach(), *args[1:], **kwargs)


def _enabled(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(True)


def _warm(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value, x = func(*args, **kwargs), args[0]
    if not _smooth(x):
        return value
    each = tuple(range(min(1, x.dim() - 1), x.dim()))  # of one image
    size = x.detach().abs().nan_to_num(0.0, 0.0, 0.0).amax(each, keepdim=True)
    return straight(func(x / (size / SPREAD).clamp(min=1), *args[1:], **kwargs), value)


def _both(names: Iterable[str]) -> list[str]:
    """Return names of functions, and of those that change a tensor in place."""
    return [each for name in names for each in (name, f"{name}_")]


def _name(func: Function) -> str:
    return "data" if func == DATA else getattr(func, "__name__", "")


def _in_place(name: str) -> bool:
    changes = name.endswith("_") and not name.endswith("__")
    return changes or name in IN_PLACE


def _smooth(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.requires_grad


def _fits(slope: Any, value: Tensor) -> bool:
    return _smooth(slope) and slope.shape == value.shape


def _found(known: dict[int, tuple[Tensor, Tensor]], value: Any) -> Tensor | None:
    return known[id(value)][1] if id(value) in known else None


def _flat(args: Iterable[Any]) -> Iterable[Any]:
    for each in args:
        yield from each if isinstance(each, tuple | list) else (each,)


def _replaced(args: tuple[Any, ...], by: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple(
        type(each)(map(by, each)) if type(each) in (tuple, list) else by(each) for each in args
    )
