"""The Jenkins controller: jobs, queue, builds, consoles and answers, over python-jenkins."""

from jenkins_release.jenkins.controller import Controller
from jenkins_release.jenkins.errors import AnswerRefused, ItemNotFound
from jenkins_release.jenkins.model import (
    Build,
    ConsolePart,
    FolderEntry,
    JobInfo,
    Parameter,
    PendingInput,
    QueueItem,
)

__all__ = [
    "AnswerRefused",
    "Build",
    "ConsolePart",
    "Controller",
    "FolderEntry",
    "ItemNotFound",
    "JobInfo",
    "Parameter",
    "PendingInput",
    "QueueItem",
]
