"""Policies that others write: what they are asked, and programs and functions that answer. Knows no pipeline."""

from trio_relay.plugins.base import Action, ConnectionJudge, EventJudge, FilterJudge, Source, Verdict, refusal_of
from trio_relay.plugins.hook_modules import load_hooks, located, open_hooks, options_for
from trio_relay.plugins.hooks import FilterHookAnswer, HookAnswer, HookedRelay, Hooks, HooksRefused, Reject, Shadow
from trio_relay.plugins.judges import NO_JUDGES, Exemptions, Judges, open_judges
from trio_relay.plugins.options import PluginOptions
from trio_relay.plugins.processes import Program, ProgramStatistics
from trio_relay.plugins.program import ProgramRun
from trio_relay.plugins.strfry import (
    Answer,
    BadAnswer,
    Lines,
    event_line,
    read_answer,
    request_line,
    verdict_on_event,
    verdict_on_request,
)

__all__ = [
    "NO_JUDGES",
    "Action",
    "Answer",
    "BadAnswer",
    "ConnectionJudge",
    "EventJudge",
    "Exemptions",
    "FilterHookAnswer",
    "FilterJudge",
    "HookAnswer",
    "HookedRelay",
    "Hooks",
    "HooksRefused",
    "Judges",
    "Lines",
    "PluginOptions",
    "Program",
    "ProgramRun",
    "ProgramStatistics",
    "Reject",
    "Shadow",
    "Source",
    "Verdict",
    "event_line",
    "load_hooks",
    "located",
    "open_hooks",
    "open_judges",
    "options_for",
    "read_answer",
    "refusal_of",
    "request_line",
    "verdict_on_event",
    "verdict_on_request",
]
