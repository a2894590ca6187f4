"""How fast an engine is, and whether it gets on at all."""

from __future__ import annotations

MEMORY_STEPS = 10.0  # full steps that the running mean remembers; smaller steps count for less


class StepClock:
    """Told of every step's begin and end, on one steady clock in seconds. Any thread may ask."""

    def __init__(self, step_tokens: int) -> None:
        self._step_tokens = step_tokens
        self._began: float | None = None  # None between steps
        self._unfinished_s = 0.0  # length of the steps since the last one that finished a text
        self._weight = 0.0  # of what the mean is made of, in full steps: little until some were seen
        self.tokens_per_s = 0.0  # while it computes; 0.0 until a text has been finished

    def begin(self, now: float) -> None:
        self._began = now

    def end(self, now: float, tokens: int) -> None:
        """`tokens` are those of the texts finished: of one longer than a step, the time of all its steps counts."""
        began = now if self._began is None else self._began
        self._unfinished_s += now - began  # before the step is over: `is_stuck` must not see the time vanish
        self._began = None
        if not tokens:
            return
        seconds, self._unfinished_s = self._unfinished_s, 0.0
        if seconds > 0:
            weight = min(1.0, tokens / self._step_tokens)
            self._weight = min(MEMORY_STEPS, self._weight + weight)
            self.tokens_per_s += weight / self._weight * (tokens / seconds - self.tokens_per_s)

    def is_stuck(self, now: float, after_s: float) -> bool:
        """The engine has worked for longer than `after_s` without finishing a text.

        Only its own time counts: clients that give up and so empty a stuck engine do not make it look idle.
        """
        began = self._began
        return self._unfinished_s + (now - began if began is not None else 0.0) > after_s
