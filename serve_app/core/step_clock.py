"""How fast an engine is, and whether it gets on at all."""

from __future__ import annotations

MEMORY_STEPS = 10.0  # full steps that the running mean remembers; smaller steps count for less


class StepClock:
    """Told of every step's begin and end, on one steady clock in seconds. Any thread may ask."""

    def __init__(self, step_tokens: int) -> None:
        self._step_tokens = step_tokens
        self._began: float | None = None  # None between steps
        self._fruitless_s = 0.0  # length of the steps since the last one that computed anything
        self._weight = 0.0  # of what the mean is made of, in full steps: little until some were seen
        self.tokens_per_s = 0.0  # while it computes; 0.0 until it has

    def begin(self, now: float) -> None:
        self._began = now

    def end(self, now: float, tokens: int) -> None:
        """`tokens` are all that the step has computed, also of texts that go on."""
        seconds = now - (now if self._began is None else self._began)
        # Before the step is over: `is_stuck` must not see its time vanish.
        self._fruitless_s = 0.0 if tokens else self._fruitless_s + seconds
        self._began = None
        if tokens and seconds > 0:
            weight = min(1.0, tokens / self._step_tokens)
            self._weight = min(MEMORY_STEPS, self._weight + weight)
            self.tokens_per_s += weight / self._weight * (tokens / seconds - self.tokens_per_s)

    def is_stuck(self, now: float, after_s: float) -> bool:
        """The engine has worked for longer than `after_s` without computing anything.

        Only its own time counts: clients that give up and so empty a stuck engine do not make it look idle.
        """
        began = self._began
        return self._fruitless_s + (now - began if began is not None else 0.0) > after_s
