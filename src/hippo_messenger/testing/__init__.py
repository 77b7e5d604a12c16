"""The test kit: what a test of a service needs beside the service, on a real server."""

from __future__ import annotations

from hippo_messenger.testing.clock import advance
from hippo_messenger.testing.eventually import eventually
from hippo_messenger.testing.handmade_job import HandmadeJob, job
from hippo_messenger.testing.proxy import CrashPoint, Proxy
from hippo_messenger.testing.system import Crash, System

__all__ = ["Crash", "CrashPoint", "HandmadeJob", "Proxy", "System", "advance", "eventually", "job"]
