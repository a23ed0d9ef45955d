"""An async client for the administration API of an appliance, this service's or the original's.

    async with Client("https://appliance:8443", token, cafile="enterprise.crt") as api:
        print(await api.get("/version"))
        await api.post("/update", files={"update": "software_package-1.1.0.enc"})
        await api.wait("/update", on_progress=lambda status: print(status["percentage"]))
        await api.download("/logs", "logs.tar.gz")

What it raises is a `ClientError`, or an `OSError` of a file of yours.
"""

from jidoteki.client.answers import Answer
from jidoteki.client.connection import Client
from jidoteki.client.errors import ApiResponseError, ClientError, JobOutcomeError, UnreachableError
from jidoteki.client.events import Event

__all__ = ["Answer", "ApiResponseError", "Client", "ClientError", "Event", "JobOutcomeError", "UnreachableError"]
