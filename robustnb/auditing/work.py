"""An audit at work: attacks and trials one after another, with the time to go; Ctrl-C ends it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from robustnb.attacks.common import Attack
from robustnb.auditing import probes, signs
from robustnb.auditing.comparisons import compared
from robustnb.auditing.efforts import (
    apgd,
    black_box,
    cost,
    from_sources,
    smoothed,
    through_stand_in,
    white_box,
)
from robustnb.auditing.outcome import Outcome, outcome
from robustnb.auditing.signs import Sign
from robustnb.auditing.subject import Subject
from robustnb.auditing.trials import Bench, trials
from robustnb.judging import attacker_draws
from robustnb.metrics import margin

AIMS = 2  # classes that a trial's attack aims at
FEW = 16  # images by which a stand-in is compared
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} to go"


@dataclass
class Work:
    """What an audit has found so far of its subject."""

    subject: Subject
    sources: Sequence[nn.Module]
    stand_in: nn.Module | None
    progress: bool
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    signs: list[Sign] = field(default_factory=list)
    interrupted: bool = False

    def run(self) -> None:
        """Look, attack, compare and try; an interruption keeps the attacks that are done."""
        self._look()
        own, others, through = self._attacks()
        every = own | others | through
        tests = trials(self._bench()) if own else {}
        bench = cost(self._bench().attack) * len(self.subject.probes) / len(self.subject.images)
        total = sum(map(cost, every.values())) + 2 * bench * len(tests)
        try:
            with tqdm(total=total, bar_format=BAR, disable=not self.progress) as bar:
                for name, attack in every.items():
                    bar.set_description(f"audit: {name}")
                    self._attack(name, attack, bar)
                self.signs.extend(compared(self.subject, *map(self._done, (own, others, through))))
                for name, trial in tests.items():
                    bar.set_description(f"audit: {name}")
                    self._try(name, trial)
                    bar.update(2 * bench)
        except KeyboardInterrupt:
            if not self.outcomes:
                raise
            self.interrupted = True
        tried = len(self.outcomes) + len(self.failures)
        self.signs.append(signs.FAILED.on(len(self.failures) / tried))

    def _look(self) -> None:
        subject, (images, labels) = self.subject, self.subject.probed
        draws = subject.effort.eot_samples
        of_outputs = probes.of_outputs(subject.network, images)
        near = subject.near(images)
        of_gradients = probes.of_gradients(subject.network, images, near, labels, draws)
        self.signs.extend(chain(of_outputs, of_gradients))

    def _attacks(self) -> tuple[dict[str, Attack], dict[str, Attack], dict[str, Attack]]:
        """Name the attacks along the network's own gradient, without one, and by a stand-in."""
        effort, eps, norm = self.subject.effort, self.subject.eps, self.subject.norm
        classes = self.subject.classes
        own = white_box(effort, eps, norm, classes) if self._has_gradient() else {}
        others = black_box(effort, eps, norm) | from_sources(effort, eps, norm, self.sources)
        through = through_stand_in(effort, eps, norm, classes, self.stand_in)
        if self.stand_in is None:
            through = {name: each for name, each in through.items() if self._differs(each.means)}
        return own, others, dict(through)

    def _has_gradient(self) -> bool:
        return not any(sign.raised and sign.rule is signs.MISSING for sign in self.signs)

    def _differs(self, means: bool) -> bool:
        """Tell whether a smooth stand-in that can be made has other gradients than the network."""
        if not self._has_gradient():
            return True
        network, (images, labels) = self.subject.network, self.subject.probed
        smooth = smoothed(network, means)
        for few in (images[:FEW], self.subject.near(images[:FEW])):
            one_pass = few, labels[:FEW], margin, 1, 0
            try:
                other = probes.mean_gradient(smooth, *one_pass)
                own = probes.mean_gradient(network, *one_pass)
            except ValueError:  # no stand-in can be made, or the gradient is NaN
                return False
            if not torch.allclose(own, other, rtol=1e-3, atol=1e-3 * own.abs().max().item()):
                return True
        return False

    def _done(self, attacks: Iterable[str]) -> list[Outcome]:
        return [self.outcomes[name] for name in attacks if name in self.outcomes]

    def _attack(self, name: str, attack: Attack, bar: "tqdm[Any]") -> None:
        subject = self.subject
        begun, passes = time.perf_counter(), subject.network.passes
        generator, size = attacker_draws(subject.seed), subject.batch_size
        found = []
        try:
            for images, labels in zip(
                subject.images.split(size), subject.labels.split(size), strict=True
            ):
                found.append(attack(subject.network, images, labels, generator))
                bar.update(cost(attack) * len(images) / len(subject.images))
        except ValueError as error:
            self.failures[name] = str(error)
            return
        spent = time.perf_counter() - begun, subject.network.passes - passes
        judged = subject.network, subject.labels, subject.effort.draws, size
        self.outcomes[name] = outcome(name, attack, torch.cat(found), *judged, *spent)

    def _try(self, name: str, trial: Callable[[], Iterator[Sign]]) -> None:
        try:
            self.signs.extend(trial())
        except ValueError as error:
            self.failures[name] = str(error)

    def _bench(self) -> Bench:
        subject = self.subject
        attack = apgd(subject.effort, subject.eps, subject.norm)
        attack = replace(attack, targets=min(AIMS, subject.classes - 1))
        draws, seed = subject.effort.draws, subject.seed + 1
        return Bench(subject.network, *subject.probed, attack, draws, seed)
