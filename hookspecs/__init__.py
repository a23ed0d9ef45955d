"""The contract between the host and its plugins: all that a plugin author needs to import.

Hooks are plain functions, except `jidoteki_startup` and `jidoteki_shutdown`, which may be `async def`;
request handlers are always `async def`; job handlers are always plain functions.
"""

from jidoteki.hookspecs import validators
from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.credentials import Caller
from jidoteki.hookspecs.descriptions import DONE, JOB_STATUS, Described, previewing
from jidoteki.hookspecs.endpoints import PREFIX, Document, Endpoint, FileSource, Handler, Request, Upload, UploadedFile
from jidoteki.hookspecs.findings import Finding
from jidoteki.hookspecs.hooks import CONTRACT, PROJECT, Hooks, hookimpl, hookspec
from jidoteki.hookspecs.jobs import Event, Job, JobCancelledError, JobError, JobOutcome, JobRecord, JobType, StatusFiles
from jidoteki.hookspecs.live import LiveEvent, Service
from jidoteki.hookspecs.metrics import Distribution, Metric, Sample
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
    "Described",
    "Distribution",
    "Document",
    "EncodedJson",
    "Endpoint",
    "Event",
    "FileDownload",
    "FileSource",
    "Finding",
    "Handler",
    "Hooks",
    "Job",
    "JobCancelledError",
    "JobError",
    "JobOutcome",
    "JobRecord",
    "JobType",
    "JsonResponse",
    "LiveEvent",
    "Metric",
    "NoContent",
    "Request",
    "Response",
    "Sample",
    "Service",
    "StatusFiles",
    "StreamingResponse",
    "TextFile",
    "TextResponse",
    "Trial",
    "Upload",
    "UploadedFile",
    "hookimpl",
    "hookspec",
    "previewing",
    "validators",
]
