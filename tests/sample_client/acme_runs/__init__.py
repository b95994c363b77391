"""Runs tasks on the service: what a team that uses it would write for itself."""

from acme_runs.client import GaveUp, RunFailed, Runs

__all__ = ["GaveUp", "RunFailed", "Runs"]
