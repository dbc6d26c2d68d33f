"""Before a commit is applied: tells the nodes which images it needs, and waits for them. Touches two ConfigMaps.

Never a reason not to apply: what cannot be written or read is said, and the commit goes on its way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from structlog.typing import FilteringBoundLogger

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.images import KEY, NAMESPACE, NODES, WANTED, NodeImages, WantedImages
from agents.contracts.messages import Phase, Problem
from agents.core.errors import Rejected
from agents.core.ports import Clock, Object
from agents.io.kube import Kube, Resource
from vessel.images import Found, Verdict, judge, of_object, wanted
from vessel.keeper import Send
from vessel.model import Commit
from vessel.objects import Item
from vessel.plan import Action
from vessel.prepare import Prepared
from vessel.reports import WHOLE, Tally, report
from vessel.settings import PrepullSettings

MANAGER = "galley-vessel"
MAPS = Resource("v1", "ConfigMap", "configmaps", True)
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 60.0
"""Within which a node must have seen that images are asked for, or it is taken to be down."""
_NOTES = 20


class Prepull:
    """`fence`: as the writer's, before each write. `say(text)`: what is waited for."""

    def __init__(
        self,
        kube: Kube,
        settings: PrepullSettings,
        clock: Clock,
        *,
        fence: Callable[[], float],
        send: Send,
        say: Callable[[str], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._fence = fence
        self._send = send
        self._say = say
        self._log = log
        self._asked = ""
        self._over = ""

    async def before(
        self, prepared: Prepared, superseded: Callable[[], bool], between: Callable[[], Awaitable[object]]
    ) -> bool:
        """True when the commit may be applied now; False when it is to be looked at anew, as it waited, or a newer one
        came. `between` is awaited while it waits. Raises LostLease, and Retryable."""
        commit = prepared.atlas.commit
        if self._settings.mode == "off" or not changes_pods(prepared) or commit.revision == self._over:
            return True
        asked = wanted(commit.revision, _found(prepared.items()))
        # What was applied before is gone back to at once: the nodes had its images.
        if not await self._ask(asked) or self._settings.mode == "background" or prepared.again:
            return True
        began = self._clock.monotonic()
        verdict = await self._look(asked, 0.0)
        waited = not verdict.done
        while not verdict.done:
            spent = self._clock.monotonic() - began
            if spent >= self._settings.wait_seconds:
                late = f"not all images were there within {self._settings.wait_seconds:g} s: waited for {verdict.text}"
                verdict = Verdict(True, notes=(late, *verdict.notes))
                break
            self._say(f"{commit.revision[:12]} waits for images: {verdict.text}"[:500])
            await between()
            await self._clock.sleep(min(LOOK_SECONDS, max(0.05, self._settings.wait_seconds - spent)))
            self._fence()
            if superseded():
                return False
            verdict = await self._look(asked, self._clock.monotonic() - began)
        self._over = commit.revision
        await self._tell(commit, verdict, self._clock.monotonic() - began)
        return not waited

    async def _ask(self, asked: WantedImages) -> bool:
        """True when the nodes can know what is asked."""
        content = encode(asked).decode()
        if content == self._asked:
            return True
        body: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": WANTED, "namespace": NAMESPACE},
            "data": {KEY: content},
        }
        left = self._fence()
        try:
            await self._kube.apply(
                MAPS, NAMESPACE, WANTED, body, manager=MANAGER, timeout=min(10.0, left), gate=self._fence
            )
        except Rejected as error:  # rights that an older bootstrap did not give
            self._log.warning("images are not pulled ahead", cause=str(error))
            return False
        self._asked = content
        return True

    async def _look(self, asked: WantedImages, spent: float) -> Verdict:
        try:
            found = await self._kube.get(MAPS, NAMESPACE, NODES)
        except Rejected as error:
            return Verdict(True, notes=(f"what the nodes have cannot be read: {error}",))
        data = (found or {}).get("data") or {}
        return judge(asked, {name: _read(text) for name, text in data.items()}, spent, ANSWER_SECONDS)

    async def _tell(self, commit: Commit, verdict: Verdict, seconds: float) -> None:
        self._log.info(
            "images", revision=commit.revision, seconds=round(seconds, 1), notes=list(verdict.notes[:_NOTES])
        )
        if verdict.notes:
            problems = [Problem(cause=text[:4000]) for text in verdict.notes]
            tally = Tally(durations={"images": seconds})
            await self._send(report(WHOLE, "", commit, Phase.CHECKING, tally, problems))


def changes_pods(prepared: Prepared) -> bool:
    """Whether anything with images is made or changed: then all of the commit's images are asked for."""
    return any(_found([s.item]) for steps in prepared.steps.values() for s in steps if s.action in _NEWS)


_NEWS = (Action.CREATE, Action.CHANGE)


def _found(items: Iterable[Item]) -> list[Found]:
    return [found for item in items for found in of_object(item.ref.group, item.ref.kind, item.body)]


def _read(text: object) -> NodeImages | None:
    try:
        return decode(text, NodeImages) if isinstance(text, str) else None
    except ContractError:
        return None
