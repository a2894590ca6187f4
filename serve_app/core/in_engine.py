"""What the engine holds: which texts, of which class, under which keys."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core.inbox import Feed, Job
from serve_app.core.types import Priority, TokenIds


@dataclass(slots=True, eq=False)
class HeldText:
    """A text in the engine."""

    job: Job
    row: int
    priority: Priority  # as the engine is told, which may be higher than that of the slice

    @property
    def ids(self) -> TokenIds:
        return self.job.text(self.row)

    @property
    def tokens(self) -> int:
        return self.job.length(self.row)


class InEngine:
    """The texts in the engine by key, and their tokens by class. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._texts: dict[int, HeldText] = {}
        self._next_key = 0
        self._bulk_moved_at = 0.0  # when the engine last got its first bulk text, or finished one
        self._begun: frozenset[int] = frozenset()  # keys of the texts that go on in the next step
        self.tokens = dict.fromkeys(Priority, 0)
        self.texts = dict.fromkeys(Priority, 0)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def get(self, key: int) -> HeldText | None:
        return self._texts.get(key)

    @property
    def held_tokens(self) -> int:
        return sum(self.tokens.values())

    def add(self, text: HeldText, now: float) -> int:
        """Its key."""
        key, self._next_key = self._next_key, self._next_key + 1
        priority = text.job.slice.priority
        if priority is Priority.BULK and not self.tokens[priority]:
            self._bulk_moved_at = now
        self._texts[key] = text
        self.tokens[priority] += text.tokens
        self.texts[priority] += 1
        return key

    def go_on(self, begun: frozenset[int]) -> None:
        """These have begun and go on in the next step, whatever else comes."""
        self._begun = begun

    def finish(self, key: int, now: float) -> HeldText | None:
        """The text under a key, which leaves; None if nobody waits for it any more."""
        if key not in self._texts:
            return None
        text = self._remove(key)
        if text.job.slice.priority is Priority.BULK:
            self._bulk_moved_at = now
        return text

    def forget_abandoned(self) -> list[int]:
        """The keys of texts that nobody waits for any more, which leave."""
        keys = [key for key, text in self._texts.items() if text.job.is_abandoned]
        for key in keys:
            self._remove(key)
        return keys

    def promote_stale(self, feed: Feed, quantum: int, now: float) -> dict[int, HeldText]:
        """A quantum of bulk texts that a full engine does not come to, by key: they leave, to be given to it anew.

        The engine orders what it has not begun by priority, so bulk texts from quieter times can starve inside it.
        """
        if any(self._texts[key].job.slice.priority is Priority.BULK for key in self._begun if key in self._texts):
            self._bulk_moved_at = now
        tokens, texts = self.tokens[Priority.INTERACTIVE], self.texts[Priority.INTERACTIVE]
        is_full = tokens >= feed.step_tokens or texts >= feed.step_texts
        if not is_full or not self.tokens[Priority.BULK] or now - self._bulk_moved_at <= feed.patience_s:
            return {}
        self._bulk_moved_at = now
        stale: dict[int, HeldText] = {}
        room = quantum
        for key, text in self._texts.items():
            if text.priority is Priority.BULK and room > 0:
                stale[key] = text
                room -= text.tokens
        for key, text in stale.items():
            self._remove(key)
            text.priority = Priority.INTERACTIVE
        return stale

    def drain(self) -> list[Job]:
        """Forget everything; the job of each text."""
        jobs = [text.job for text in self._texts.values()]
        self._texts.clear()
        self.tokens = dict.fromkeys(Priority, 0)
        self.texts = dict.fromkeys(Priority, 0)
        return jobs

    def _remove(self, key: int) -> HeldText:
        text = self._texts.pop(key)
        self.tokens[text.job.slice.priority] -= text.tokens
        self.texts[text.job.slice.priority] -= 1
        return text
