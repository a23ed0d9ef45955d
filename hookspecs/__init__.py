"""The contract between the host and its plugins: all that a plugin author needs to import.

Hooks are plain functions, except `jidoteki_startup` and `jidoteki_shutdown`, which may be `async def`;
request handlers are always `async def`; job handlers are always plain functions.
"""

from jidoteki.hookspecs import validators
from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.credentials import Caller
from jidoteki.hookspecs.descriptions import DONE, JOB_STATUS, Described, Label, previewing
from jidoteki.hookspecs.endpoints import PREFIX, Document, Endpoint, FileSource, Handler, Request, Upload, UploadedFile
from jidoteki.hookspecs.findings import Finding
from jidoteki.hookspecs.hooks import CONTRACT, PROJECT, Hooks, hookimpl, hookspec
from jidoteki.hookspecs.jobs import Event, Job, JobCancelledError, JobError, JobOutcome, JobRecord, JobType, StatusFiles
from jidoteki.hookspecs.live import LiveEvent, Service
from jidoteki.hookspecs.metrics import Distribution, Metric, Sample
from jidoteki.hookspecs.pages import Page, Visit
from jidoteki.hookspecs.responses import (
    ApiError,
    EncodedJson,
    FileDownload,
    JsonResponse,
    NoContent,
    Response,
    StreamingResponse,
    TextFile,
    TextResponse,
)
from jidoteki.hookspecs.screens import ChartPart, FormPart, LogPart, Screen, StatusPart, TablePart, TextPart
from jidoteki.hookspecs.trials import Trial

__all__ = [
    "CONTRACT",
    "DONE",
    "JOB_STATUS",
    "PREFIX",
    "PROJECT",
    "ApiError",
    "Appliance",
    "Caller",
    "ChartPart",
    "Described",
    "Distribution",
    "Document",
    "EncodedJson",
    "Endpoint",
    "Event",
    "FileDownload",
    "FileSource",
    "Finding",
    "FormPart",
    "Handler",
    "Hooks",
    "Job",
    "JobCancelledError",
    "JobError",
    "JobOutcome",
    "JobRecord",
    "JobType",
    "JsonResponse",
    "Label",
    "LiveEvent",
    "LogPart",
    "Metric",
    "NoContent",
    "Page",
    "Request",
    "Response",
    "Sample",
    "Screen",
    "Service",
    "StatusFiles",
    "StatusPart",
    "StreamingResponse",
    "TablePart",
    "TextFile",
    "TextPart",
    "TextResponse",
    "Trial",
    "Upload",
    "UploadedFile",
    "Visit",
    "hookimpl",
    "hookspec",
    "previewing",
    "validators",
]
