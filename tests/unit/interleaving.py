"""Code that stops before each of its ledger calls, so that a test decides whose call is next."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

_DEADLINE_SECONDS = 60
_here = threading.local()


class Actor:
    """Work on a thread of its own, which runs only while `step` waits for it: nothing happens at the same time."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.ended = False
        self.result: object = None
        self.error: BaseException | None = None
        self.next_call = ""
        self._work = work
        self._may_go, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, name=name, daemon=True).start()
        self._await()

    def step(self) -> str:
        """One call, and whatever follows it up to the next one; returns the call's name."""
        assert not self.ended, f"{self.name} has ended"
        called = self.next_call
        self._may_go.release()
        self._await()
        return called

    def finish(self) -> None:
        """All calls that are left."""
        while not self.ended:
            self.step()

    def pause(self, next_call: str) -> None:
        """Called on the actor's own thread, before each call."""
        self.next_call = next_call
        self._has_stopped.release()
        self._may_go.acquire()

    def _run(self) -> None:
        _here.actor = self
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001  the test's thread raises it
            self.error = error
        finally:
            self.ended = True
            self._has_stopped.release()

    def _await(self) -> None:
        assert self._has_stopped.acquire(timeout=_DEADLINE_SECONDS), f"{self.name} neither called nor ended"
        if self.error is not None:
            raise self.error


class Gated:
    """Passes calls on to `target`; an actor's call waits its turn first, a test's own goes through at once."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            actor: Actor | None = getattr(_here, "actor", None)
            if actor is not None:
                actor.pause(name)
            return found(*args, **options)

        return call


def every_order(play: Callable[[list[int]], list[int]]) -> Iterator[list[int]]:
    """Plays every order in which actors can take their turns, and yields it.

    `play` follows the turns given to it, then goes on as it likes, and returns how many actors could have been chosen
    at each turn it took; turn `0` is the first of them.
    """
    waiting: list[list[int]] = [[]]
    while waiting:
        turns = waiting.pop()
        choices = play(turns)
        yield turns + [0] * (len(choices) - len(turns))
        for place in range(len(turns), len(choices)):
            done = turns + [0] * (place - len(turns))
            waiting.extend([*done, other] for other in range(1, choices[place]))
