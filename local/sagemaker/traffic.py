"""Which fleet answers which request of an endpoint, while there is one and while there are two."""

import random
import threading

from local.host import Scope
from local.sagemaker.fleet import Fleet

# Hosting draws each request's fleet at random. Here it is drawn from a shuffled hundred, so that the few requests of
# a short bake are shared as configured too.
_DECK = 100
Key = tuple[Scope, str]


class Route:
    """An endpoint's serving fleet and, while an update shifts traffic, the new one with its share."""

    def __init__(self, serving: Fleet) -> None:
        self.serving = serving
        self._coming: Fleet | None = None
        self._share = 0.0
        self._deck: list[bool] = []

    def shift(self, coming: Fleet | None, share: float) -> None:
        """From here on the coming fleet gets this share of the requests."""
        self._coming, self._share, self._deck = coming, share, []

    def draw(self) -> Fleet:
        """The fleet of the next request."""
        if self._coming is None:
            return self.serving
        if not self._deck:
            drawn = round(self._share * _DECK)
            self._deck = [True] * drawn + [False] * (_DECK - drawn)
            random.shuffle(self._deck)
        return self._coming if self._deck.pop() else self.serving


class Traffic:
    """The routes of all endpoints that can answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[Key, Route] = {}

    def enter(self, key: Key) -> Fleet | None:
        """The fleet that answers the next request, which it counts until `leave`; None when nothing serves."""
        with self._lock:
            route = self._routes.get(key)
            if route is None:
                return None
            fleet = route.draw()
            fleet.enter()
            return fleet

    def serve(self, key: Key, fleet: Fleet) -> Fleet | None:
        """All requests go to this fleet; answers the one that served before."""
        with self._lock:
            route = self._routes.get(key)
            self._routes[key] = Route(fleet)
            return route.serving if route else None

    def serving(self, key: Key) -> Fleet | None:
        """The fleet that an update would replace."""
        with self._lock:
            route = self._routes.get(key)
            return route.serving if route else None

    def shift(self, key: Key, coming: Fleet, share: float) -> None:
        """The coming fleet answers this share (0 to 1), the serving one the rest."""
        with self._lock:
            self._routes[key].shift(coming, share)

    def shift_back(self, key: Key) -> None:
        """The serving fleet answers everything again."""
        with self._lock:
            if route := self._routes.get(key):
                route.shift(None, 0.0)

    def end(self, key: Key) -> Fleet | None:
        """Nothing serves from here on; answers the fleet that did."""
        with self._lock:
            route = self._routes.pop(key, None)
            return route.serving if route else None

    def end_all(self) -> list[Fleet]:
        """The fleets of all routes, none of which exists any more."""
        with self._lock:
            routes, self._routes = self._routes, {}
            return [route.serving for route in routes.values()]
