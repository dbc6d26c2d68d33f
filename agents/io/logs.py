"""JSON logs on standard error, for the journal: one object a line with `ts`, `level`, `event`, `daemon`, scrubbed.

Touches standard error and the root logger of `logging`, whose records take the same way.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from agents.io.scrub import scrub

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FIRST = ("ts", "level", "event", "daemon", "node")


def configure(daemon: str, level: str = "info", *, stream: TextIO | None = None) -> FilteringBoundLogger:
    """Sets up logging of the whole process and returns its logger, bound to `daemon`. `level`: a key of LEVELS."""
    threshold = LEVELS[level]
    processors: list[Any] = [
        structlog.processors.add_log_level,
        _timestamp,
        structlog.processors.format_exc_info,
        _scrub,
        _render,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logger: FilteringBoundLogger = structlog.get_logger().bind(daemon=daemon)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward(logger))
    root.setLevel(max(threshold, logging.INFO))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return logger


class _Forward(logging.Handler):
    """Hands records of the standard library's loggers to structlog."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the record with its logger's name."""
        try:
            self._logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a broken record must not stop the daemon
            self.handleError(record)


def _timestamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["ts"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _scrub(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {str(key): value for key, value in scrub(event).items()}


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    ordered = {key: event[key] for key in _FIRST if key in event} | dict(event)
    return msgspec.json.encode(ordered).decode()
