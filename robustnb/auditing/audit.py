"""Audit a network: attack it as one who knows it would, and look for signs that this misleads."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from robustnb.attacks.common import NORMS, Attack, Norm, check_eps
from robustnb.attacks.gradient import in_ball, project
from robustnb.auditing import probes, signs
from robustnb.auditing.efforts import (
    EFFORTS,
    PLAIN,
    RANDOM,
    Effort,
    apgd,
    black_box,
    from_sources,
    smoothed,
    through_stand_in,
    white_box,
)
from robustnb.auditing.network import Network, Output, asked
from robustnb.auditing.outcome import COUNTED, Outcome, drop, outcome, right_answers, worst_of
from robustnb.auditing.report import Report
from robustnb.auditing.signs import Sign
from robustnb.auditing.trials import Bench, trials
from robustnb.checks import (
    check_images,
    check_labels,
    check_network,
    check_one_of,
    check_positive,
    check_whole,
)
from robustnb.judging import attacker_draws
from robustnb.metrics import margin
from robustnb.models import evaluating

Images = Tensor | Iterable[tuple[Tensor, Tensor]]
# What the report says in its own words.
TOLD = ("The gradient is exactly 0", "The network's outputs for", "The network answers")
FEW = 16  # images by which a stand-in is compared
AIMS = 2  # classes that a trial's attack aims at


def audit(
    model: nn.Module,
    images: Images,
    labels: Tensor | None = None,
    eps: float | None = None,
    norm: Norm = "linf",
    effort: str = "standard",
    *,
    output: Output | None = None,
    sources: Sequence[nn.Module] = (),
    stand_in: nn.Module | None = None,
    seed: int = 0,
    batch_size: int = 500,
    progress: bool = True,
) -> Report:
    """Attack a network in many ways, take the worst case, and look for signs that it misleads.

    `images` (N, C, H, W) in [0, 1] have int64 `labels` (N,); or `images` are batches of both, as
    from a DataLoader. `eps` bounds the perturbation in `norm`, in pixel units of [0, 1]. `effort`
    is "quick", "standard" or "thorough". The network may be random, also without a generator that
    is handed in, and may return more than logits: `output` is then the key or index of the logits,
    or a function of the answer. Attacks are also made on `sources`, other networks for the same
    task, and by the gradients of `stand_in`, a smooth network close to this one.

    The network is attacked where it is, in evaluation mode, in batches of `batch_size`; its mode,
    weights and gradients stay as they were. Ctrl-C ends the audit with a report of what was done.
    Raises ValueError for what cannot be audited.
    """
    network = Network(model, output)
    effort = _checked(network, effort, norm, sources, stand_in, seed, batch_size)
    images, labels, eps = _given(images, labels, eps, norm, network.device())
    work = _Work(network, images, labels, eps, norm, effort, seed, batch_size)
    begun = time.perf_counter()
    with _told_in_the_report(), evaluating(model), torch.inference_mode(False):
        work.begin()
        work.run(work.plan(sources, stand_in), progress)
    worst, which = worst_of(list(work.outcomes.values()))
    return Report(
        network=type(model).__name__,
        eps=eps,
        norm=norm,
        effort=effort,
        clean_right=work.clean,
        attacks=list(work.outcomes.values()),
        worst_right=worst,
        chosen=which,
        failures=work.failures,
        signs=work.signs,
        seconds=time.perf_counter() - begun,
        passes=network.passes,
        interrupted=work.interrupted,
    )


Stage = tuple[str, Callable[[], None]]


@dataclass
class _Work:
    """An audit at work: what it is given, and what it has found so far."""

    network: Network
    images: Tensor
    labels: Tensor
    eps: float
    norm: Norm
    effort: str
    seed: int
    batch_size: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    signs: list[Sign] = field(default_factory=list)
    interrupted: bool = False

    def begin(self) -> None:
        """Ask the network without an attack, and find out whether it is random."""
        few = self.images[: self.batch_size]
        logits = asked(self.network, few, COUNTED)
        check_labels(logits, self.labels[: len(few)])
        self.classes = logits.shape[1]
        check_labels(logits.new_zeros(len(self.labels), self.classes), self.labels)
        self.random = probes.is_random(self.network, few)
        self.plan_of: Effort = (RANDOM if self.random else PLAIN)[self.effort]
        arguments = self.network, self.images, self.labels, self.plan_of.draws, self.batch_size
        self.clean = right_answers(*arguments, COUNTED)
        right = (self.clean.float().mean(0) > 0.5).nonzero().squeeze(1)
        if not len(right):
            raise ValueError(
                f"the network reads none of the {len(self.images)} images rightly, so that there "
                "is nothing to attack: see that labels and pixels are as in its training."
            )
        shuffled = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(0))]
        self.probes = shuffled[: self.plan_of.probes].to(self.images.device)

    def plan(self, sources: Sequence[nn.Module], stand_in: nn.Module | None) -> Iterator[Stage]:
        """Yield what is to be done, each with its name."""
        chosen, eps, norm = self.plan_of, self.eps, self.norm
        yield "outputs and gradients", self._look
        own = white_box(chosen, eps, norm, self.classes) if self._has_gradient() else {}
        others = black_box(chosen, eps, norm) | from_sources(chosen, eps, norm, sources)
        through = through_stand_in(chosen, eps, norm, self.classes, stand_in)
        if stand_in is None:
            through = {name: each for name, each in through.items() if self._differs(each.means)}
        for name, attack in (own | others | through).items():
            yield name, partial(self._attack, name, attack)
        yield "comparison of attacks", lambda: self._compare(list(own), list(others), list(through))
        if own:
            for name, trial in trials(self._bench()).items():
                yield name, partial(self._try, name, trial)
        yield "end", self._sum_up

    def run(self, stages: Iterator[Stage], progress: bool) -> None:
        """Do one thing after another; an interruption keeps what is done."""
        bar = tqdm(desc="audit", disable=not progress, unit=" attacks and tests")
        with bar:
            try:
                for name, stage in stages:
                    bar.set_description(f"audit: {name}")
                    stage()
                    bar.update()
            except KeyboardInterrupt:
                if not self.outcomes:
                    raise
                self.interrupted = True

    def _look(self) -> None:
        images, labels = self.images[self.probes], self.labels[self.probes]
        self.signs.extend(probes.of_outputs(self.network, images))
        noisy = self._moved_by_chance(images)
        draws = self.plan_of.eot_samples
        self.signs.extend(probes.of_gradients(self.network, images, noisy, labels, draws))

    def _has_gradient(self) -> bool:
        return not any(sign.raised and sign.rule is signs.MISSING for sign in self.signs)

    def _differs(self, means: bool) -> bool:
        """Tell whether a smooth stand-in that can be made has other gradients than the network."""
        if not self._has_gradient():
            return True
        few, labels = self.images[self.probes[:FEW]], self.labels[self.probes[:FEW]]
        smooth = smoothed(self.network, means)
        for images in (few, self._moved_by_chance(few)):
            one_pass = images, labels, margin, 1, 0
            try:
                other = probes.mean_gradient(smooth, *one_pass)
            except ValueError:  # no stand-in can be made
                return False
            own = probes.mean_gradient(self.network, *one_pass)
            if not torch.allclose(own, other, rtol=1e-3, atol=1e-3 * own.abs().max().item()):
                return True
        return False

    def _moved_by_chance(self, images: Tensor) -> Tensor:
        """Return images at random places of the ball."""
        generator = attacker_draws(self.seed)
        offset = in_ball(images, self.eps, self.norm, generator)
        return project(images + offset, images, self.eps, self.norm)

    def _attack(self, name: str, attack: Attack) -> None:
        begun, passes = time.perf_counter(), self.network.passes
        generator = attacker_draws(self.seed)
        batches = zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        )
        try:
            found = torch.cat([attack(self.network, *batch, generator) for batch in batches])
        except ValueError as error:
            self.failures[name] = str(error)
            return
        cost = time.perf_counter() - begun, self.network.passes - passes
        judged = self.network, self.labels, self.plan_of.draws, self.batch_size
        self.outcomes[name] = outcome(name, attack, found, *judged, *cost)

    def _compare(self, own: list[str], others: list[str], through: list[str]) -> None:
        found = self.outcomes
        mine, black, smooth = (
            [found[name] for name in names if name in found] for names in (own, others, through)
        )
        if mine:
            white = worst_of(mine)[0]
            many = [each for each in mine if each.name != "one step"]
            if many and "one step" in found:
                lead = drop(worst_of(many)[0], found["one step"].right)
                self.signs.append(signs.ONE_STEP.on(*lead))
            if black:
                self.signs.append(signs.NO_GRADIENT_BEATS.on(*drop(white, worst_of(black)[0])))
            if smooth:
                self.signs.append(signs.STAND_IN.on(*drop(white, worst_of(smooth)[0])))
            self._blank(white)
        if found:
            self._rounded()

    def _sum_up(self) -> None:
        tried = len(self.outcomes) + len(self.failures)
        self.signs.append(signs.FAILED.on(len(self.failures) / tried))
        if self.random and self.outcomes:
            worst, _ = worst_of(list(self.outcomes.values()))
            undecided = worst.any(0) & ~worst.all(0)
            self.signs.append(signs.LUCK.on(undecided.float().mean().item()))

    def _blank(self, white: Tensor) -> None:
        withstood = (white.float().mean(0) > 0.5).nonzero().squeeze(1)[: self.plan_of.probes]
        if len(withstood):
            images, labels = self.images[withstood], self.labels[withstood]
            gradients = probes.mean_gradient(self.network, images, labels, margin, 1, 0)
            share = probes.blank(gradients).float().mean().item()
            self.signs.append(signs.BLANK.on(share))

    def _rounded(self) -> None:
        """See how many of the images that fool still do as pictures of 8 bits."""
        outcomes = list(self.outcomes.values())
        right, which = worst_of(outcomes)
        fools = ((right.float().mean(0) < 0.5) & (self.clean.float().mean(0) > 0.5)).nonzero()
        fools = fools.squeeze(1)[: self.plan_of.probes]
        if len(fools):
            found = torch.stack([outcomes[which[place]].found[place] for place in fools.tolist()])
            rounded = ((255 * found).round() / 255).to(self.images)
            labels = self.labels[fools.to(self.labels.device)]
            again = right_answers(
                self.network, rounded, labels, len(right), self.batch_size, COUNTED
            )
            more, _ = drop(again, right[:, fools])
            self.signs.append(signs.EIGHT_BITS.on(max(0.0, more)))

    def _try(self, name: str, trial: Callable[[], Iterator[Sign]]) -> None:
        try:
            self.signs.extend(trial())
        except ValueError as error:
            self.failures[name] = str(error)

    def _bench(self) -> Bench:
        aims = min(AIMS, self.classes - 1)
        attack = replace(apgd(self.plan_of, self.eps, self.norm), targets=aims)
        images, labels = self.images[self.probes], self.labels[self.probes]
        return Bench(self.network, images, labels, attack, self.plan_of.draws, self.seed + 1)


def _checked(
    network: Network,
    effort: str,
    norm: Norm,
    sources: Sequence[nn.Module],
    stand_in: nn.Module | None,
    seed: int,
    batch_size: int,
) -> str:
    check_one_of(EFFORTS, effort=effort)
    check_one_of(NORMS, norm=norm)
    check_whole(0, seed=seed)
    check_whole(1, batch_size=batch_size)
    if isinstance(sources, nn.Module):
        raise ValueError("sources is one network: it takes a list, as in sources=[network].")
    for other in (*sources, *(() if stand_in is None else (stand_in,))):
        check_network(other)
    return effort


def _given(
    images: Images, labels: Tensor | None, eps: float | None, norm: Norm, device: torch.device
) -> tuple[Tensor, Tensor, float]:
    """Return images and labels as tensors on a device, and the radius, all checked."""
    if eps is None:
        raise ValueError("eps is missing: say how far each pixel may move, such as eps=8/255.")
    check_eps(eps, norm)
    check_positive(eps=eps)
    if labels is None:
        images, labels = _collected(images)
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images are of the type {type(images).__name__} and labels are given: images must "
            "then be a tensor (N, C, H, W); leave labels out for batches of both."
        )
    check_images(images, labels)
    if not len(images):
        raise ValueError("there are no images: an audit needs some that the network reads rightly.")
    return images.to(device), labels.to(device), float(eps)


def _collected(batches: Images) -> tuple[Tensor, Tensor]:
    """Return the images and labels of all batches."""
    if isinstance(batches, Tensor):
        raise ValueError("labels are missing: there must be one for each image (N,), int64.")
    images, labels = [], []
    for number, pair in enumerate(batches):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(
                f"batch {number} is a {type(pair).__name__}: without labels, images must be "
                "batches of (images, labels), as a DataLoader gives them."
            )
        check_images(*pair)
        images.append(pair[0])
        labels.append(pair[1])
    if not images:
        raise ValueError("there are no batches: an audit needs images with their labels.")
    return torch.cat(images), torch.cat(labels)


@contextmanager
def _told_in_the_report() -> Iterator[None]:
    """Keep silent about what the report says."""
    with warnings.catch_warnings():
        for beginning in TOLD:
            warnings.filterwarnings("ignore", beginning)
        yield
