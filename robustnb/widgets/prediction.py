"""Ask what the reader expects, before a figure shows what came out."""

from collections.abc import Mapping
from html import escape
from math import isfinite
from typing import Any

import traitlets

from robustnb.widgets.settings import as_python
from robustnb.widgets.static import HERE, StaticWidget

PLACES = ("below", "near", "above")  # where a guessed number lies


class Prediction(StaticWidget):
    """Ask a question with choices or for a number, keep the guess, and tell what came out.

    `choices` has for each choice a sentence on why one would make it; `answer` is the choice that
    came out, `told` says what is seen, and `see` names what comes next on the page, where to look.
    With `within`, `answer` is a number: a guess that is off by no more is right, and `choices` has
    a sentence for each of PLACES. `said`, the guess as a text, stays in the reader's tab or kernel.
    Raises ValueError for an empty text and for an answer that is no choice.
    """

    _module = "prediction.js"
    _css = HERE / "prediction.css"

    question = traitlets.Unicode().tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)  # a dict may lose its order
    sentences = traitlets.List(traitlets.Unicode()).tag(sync=True)
    answer = traitlets.Any().tag(sync=True)
    within = traitlets.Any(None, allow_none=True).tag(sync=True)
    told = traitlets.Unicode().tag(sync=True)
    see = traitlets.Unicode().tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        question: str,
        choices: Mapping[str, str],
        *,
        answer: str | float,
        told: str,
        see: str,
        within: float | None = None,
        **traits: Any,
    ) -> None:
        answer, within = as_python(answer), as_python(within)
        if not isinstance(choices, Mapping):
            raise ValueError("choices must be a dict: a sentence for each choice.")
        _check_texts({"question": question, "told": told, "see": see, **choices})
        if within is None:
            _check_choices(choices, answer)
        else:
            _check_number(choices, answer, within)
            choices = {place: choices[place] for place in PLACES}
        super().__init__(
            question=question,
            labels=list(choices),
            sentences=list(choices.values()),
            answer=answer,
            within=within,
            told=told,
            see=see,
            **traits,
        )

    @property
    def came_out(self) -> str:
        """Return the answer as a text."""
        return self.answer if isinstance(self.answer, str) else f"{self.answer + 0.0:.6g}"

    def fallback(self) -> str:
        """Return the question, the choices and, folded, what came out."""
        if self.within is None:
            names = self.labels
            listed = "".join(f"<li>{escape(label)}</li>" for label in names)
            choices = f"<ul>{listed}</ul>"
        else:
            names = [f"A number {place} that" for place in PLACES]
            choices = ""
        why = "".join(
            f"<li><em>{escape(name)}</em>: {escape(sentence)}</li>"
            for name, sentence in zip(names, self.sentences, strict=True)
        )
        return (
            '<div class="prediction"><p><strong>Predict first.</strong> '
            f"{escape(self.question)}</p>{choices}"
            "<details><summary>What came out</summary>"
            f"<p><strong>{escape(self.came_out)}</strong>. {escape(self.told)}</p>"
            f"<ul>{why}</ul></details></div>"
        )

    def __repr__(self) -> str:
        return f"<prediction: {self.question}>"  # without the answer


def _check_texts(texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        if wrong := [each for each in (name, text) if not isinstance(each, str)]:
            raise ValueError(f"{wrong[0]!r} is no text: a prediction takes only texts.")
        if not name.strip() or not text.strip():
            raise ValueError(f"the text of {name!r} is empty: a prediction needs all its texts.")


def _check_choices(choices: Mapping[str, str], answer: object) -> None:
    if len(choices) < 2:
        raise ValueError(f"choices has {len(choices)}: a prediction needs two or more.")
    if answer not in list(choices):  # also what cannot be a key
        raise ValueError(f"answer is {answer!r}: it must be one of {', '.join(choices)}.")


def _check_number(choices: Mapping[str, str], answer: Any, within: float) -> None:
    if sorted(choices) != sorted(PLACES):
        raise ValueError(
            f"choices has {', '.join(choices)}: where a number is asked for (within), it must have "
            f"{', '.join(PLACES)}."
        )
    for name, number in (("answer", answer), ("within", within)):
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not isfinite(number):
            raise ValueError(f"{name} is {number!r}: with `within` it must be a finite number.")
    if within < 0:
        raise ValueError(f"within is {within!r}: it must be 0 or more.")
