"""The Jenkins controller: jobs, queue, builds, consoles and answers, over python-jenkins."""

from jenkins_release.jenkins.controller import Controller
from jenkins_release.jenkins.errors import AnswerRefused, ItemNotFound
from jenkins_release.jenkins.protocol import (
    Build,
    BuildServer,
    ConsolePart,
    FolderEntry,
    JobInfo,
    JobStore,
    Parameter,
    PendingInput,
    QueueItem,
)

__all__ = [
    "AnswerRefused",
    "Build",
    "BuildServer",
    "ConsolePart",
    "Controller",
    "FolderEntry",
    "ItemNotFound",
    "JobInfo",
    "JobStore",
    "Parameter",
    "PendingInput",
    "QueueItem",
]
