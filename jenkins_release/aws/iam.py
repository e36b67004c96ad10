"""The AWS IAM calls for customers' access: one method per call, with every error translated.

It is not an error if what the caller asked for already exists: each method can be called again after a run
that died in it. IAM is global and eventually consistent: a new key may be refused for some seconds (IAM user
guide, "Changes that I make are not always immediately visible").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from jenkins_release.aws.iam_calls import EXISTS, GONE, IamCalls, document_of
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError

_MOST_VERSIONS = 5
"""Maximum versions of a managed policy (IAM user guide, "IAM and AWS STS quotas")."""


@dataclass(frozen=True)
class AccessKey:
    """An access key as IAM lists it, without its secret.

    Attributes:
        key_id: Its id.
        active: Whether it works.
        created: When it was created.
        last_used: When it was last used, None if never or not asked for. IAM reports it with a delay.
    """

    key_id: str
    active: bool
    created: datetime
    last_used: datetime | None = None


@dataclass(frozen=True)
class Credentials:
    """An access key with its secret, which IAM shows once."""

    key_id: str
    secret: SecretStr


@dataclass(frozen=True)
class IamUser:
    """A user.

    Attributes:
        name: User name.
        arn: ARN.
        path: IAM path.
        created: When it was created.
        tags: Its tags.
        boundary: ARN of its permissions boundary; empty if it has none.
    """

    name: str
    arn: str
    path: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    boundary: str = ""


@dataclass(frozen=True)
class Attachments:
    """Everything that gives a user rights or access.

    Attributes:
        inline: Name to document of the inline policies.
        managed: ARNs of attached policies.
        groups: Names of groups.
        console: Whether it has a login profile, which is a password for the console.
    """

    inline: Mapping[str, Mapping[str, Any]]
    managed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    console: bool = False


class IamAccount(IamCalls):
    """IAM of one account: see :class:`IamCalls` for its arguments."""

    def quotas(self) -> Mapping[str, int]:
        """Return usage and quotas of the account (``GetAccountSummary``)."""
        answer = self.call("get_account_summary", "read the quotas of IAM")
        return {str(name): int(value) for name, value in answer["SummaryMap"].items()}

    def refused(self, principal: str, actions: Sequence[str], resource: str) -> list[str]:
        """Return the actions that the policies of a principal do not allow (``SimulatePrincipalPolicy``).

        Args:
            principal: ARN of a user or role.
            actions: The actions, such as ``ecr:PutImage``.
            resource: ARN of what they are for.
        """
        found = self.pages(
            "simulate_principal_policy",
            f"ask what {principal} may do",
            "EvaluationResults",
            PolicySourceArn=principal,
            ActionNames=list(actions),
            ResourceArns=[resource],
        )
        allowed = {each["EvalActionName"] for each in found if each["EvalDecision"] == "allowed"}
        return [action for action in actions if action not in allowed]

    def user(self, name: str) -> IamUser | None:
        """Return a user with its tags, None if there is none."""
        answer = self.call("get_user", f"read the user {name}", absent={}, UserName=name)
        return _user(answer["User"], self.tags(name)) if answer else None

    def users(self, path: str) -> list[IamUser]:
        """Return the users under a path, each with its tags and boundary, sorted by name."""
        found = self.pages("list_users", f"list the users under {path}", "Users", PathPrefix=path)
        users = [self.user(each["UserName"]) for each in found]
        return sorted((user for user in users if user is not None), key=lambda user: user.name)

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a user; empty if the user is gone."""
        found = self.pages("list_user_tags", f"read the tags of {name}", "Tags", UserName=name)
        return {each["Key"]: each["Value"] for each in found}

    def create_user(self, name: str, path: str, tags: Mapping[str, str], boundary: str) -> None:
        """Create a user with its boundary and tags in one call, unless it exists."""
        self.call(
            "create_user",
            f"create the user {name}",
            passing=(EXISTS,),
            UserName=name,
            Path=path,
            Tags=_tags(tags),
            PermissionsBoundary=boundary,
        )

    def delete_user(self, name: str) -> None:
        """Delete a user that has nothing left (``DeleteConflict`` otherwise), unless it is gone."""
        self.call("delete_user", f"delete the user {name}", passing=(GONE,), UserName=name)

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Set tags of a user, and keep others."""
        self.call("tag_user", f"tag the user {name}", UserName=name, Tags=_tags(tags))

    def untag(self, name: str, keys: Sequence[str]) -> None:
        """Remove tags of a user; they may be missing."""
        self.call("untag_user", f"remove tags of {name}", UserName=name, TagKeys=list(keys))

    def set_boundary(self, name: str, arn: str) -> None:
        """Set the permissions boundary of a user."""
        self.call(
            "put_user_permissions_boundary",
            f"bound the user {name}",
            UserName=name,
            PermissionsBoundary=arn,
        )

    def attachments(self, name: str) -> Attachments:
        """Read everything that gives a user rights."""
        inline = {}
        for policy in self.pages(
            "list_user_policies", f"list the policies of {name}", "PolicyNames", UserName=name
        ):
            answer = self.call(
                "get_user_policy",
                f"read the policy {policy} of {name}",
                absent={},
                UserName=name,
                PolicyName=policy,
            )
            if answer:
                inline[str(policy)] = document_of(answer["PolicyDocument"])
        attached = self.pages(
            "list_attached_user_policies",
            f"list what is attached to {name}",
            "AttachedPolicies",
            UserName=name,
        )
        groups = self.pages("list_groups_for_user", f"list the groups of {name}", "Groups", UserName=name)
        return Attachments(
            inline,
            tuple(each["PolicyArn"] for each in attached),
            tuple(each["GroupName"] for each in groups),
            self.has_console(name),
        )

    def has_console(self, name: str) -> bool:
        """Whether a user has a login profile."""
        return bool(
            self.call("get_login_profile", f"read the login profile of {name}", absent={}, UserName=name)
        )

    def put_policy(self, name: str, policy: str, text: str) -> None:
        """Write an inline policy; one of the same name is replaced."""
        self.call(
            "put_user_policy",
            f"write the policy {policy} of {name}",
            UserName=name,
            PolicyName=policy,
            PolicyDocument=text,
        )

    def delete_policy(self, name: str, policy: str) -> None:
        """Remove an inline policy, unless it is gone."""
        self.call(
            "delete_user_policy",
            f"remove the policy {policy} of {name}",
            passing=(GONE,),
            UserName=name,
            PolicyName=policy,
        )

    def strip(self, name: str, attached: Attachments) -> None:
        """Remove a user from its groups, detach its policies, and remove its console password."""
        for arn in attached.managed:
            self.call(
                "detach_user_policy",
                f"detach {arn} from {name}",
                passing=(GONE,),
                UserName=name,
                PolicyArn=arn,
            )
        for group in attached.groups:
            self.call(
                "remove_user_from_group",
                f"take {name} out of the group {group}",
                passing=(GONE,),
                UserName=name,
                GroupName=group,
            )
        if attached.console:
            self.call(
                "delete_login_profile",
                f"remove the login profile of {name}",
                passing=(GONE,),
                UserName=name,
            )

    def keys(self, name: str) -> list[AccessKey]:
        """Return the access keys of a user, oldest first, without when they were used."""
        listed = self.pages(
            "list_access_keys", f"list the keys of {name}", "AccessKeyMetadata", UserName=name
        )
        found = [
            AccessKey(each["AccessKeyId"], each["Status"] == "Active", each["CreateDate"]) for each in listed
        ]
        return sorted(found, key=lambda key: (key.created, key.key_id))

    def used_keys(self, name: str) -> list[AccessKey]:
        """Return the access keys of a user, oldest first, with when each was used: one more call for each."""
        return [replace(key, last_used=self._last_used(key.key_id)) for key in self.keys(name)]

    def _last_used(self, key_id: str) -> datetime | None:
        answer = self.call(
            "get_access_key_last_used", f"read when {key_id} was used", absent={}, AccessKeyId=key_id
        )
        used: datetime | None = answer.get("AccessKeyLastUsed", {}).get("LastUsedDate")
        return used

    def create_key(self, name: str) -> Credentials:
        """Create an access key. If the answer is lost, no one has the secret of the new key.

        Raises:
            ConfigurationError: The user has as many keys as IAM allows.
            RemoteError: IAM refused or failed.
        """
        answer = self.call("create_access_key", f"create an access key of {name}", once=True, UserName=name)
        key = answer["AccessKey"]
        return Credentials(key["AccessKeyId"], SecretStr(key["SecretAccessKey"]))

    def set_key_active(self, name: str, key_id: str, active: bool) -> None:
        """Switch a key on or off."""
        self.call(
            "update_access_key",
            f"switch the key {key_id} {'on' if active else 'off'}",
            UserName=name,
            AccessKeyId=key_id,
            Status="Active" if active else "Inactive",
        )

    def delete_key(self, name: str, key_id: str) -> None:
        """Delete a key, unless it is gone."""
        self.call(
            "delete_access_key",
            f"delete the key {key_id}",
            passing=(GONE,),
            UserName=name,
            AccessKeyId=key_id,
        )

    def managed_policy(self, arn: str) -> Mapping[str, Any] | None:
        """Return a managed policy's document in force, None if it does not exist."""
        answer = self.call("get_policy", f"read the policy {arn}", absent={}, PolicyArn=arn)
        if not answer:
            return None
        version = self.call(
            "get_policy_version",
            f"read the policy {arn}",
            PolicyArn=arn,
            VersionId=answer["Policy"]["DefaultVersionId"],
        )
        return document_of(version["PolicyVersion"]["Document"])

    def create_managed_policy(self, name: str, path: str, text: str) -> None:
        """Create a managed policy, unless it exists."""
        self.call(
            "create_policy",
            f"create the policy {path}{name}",
            passing=(EXISTS,),
            PolicyName=name,
            Path=path,
            PolicyDocument=text,
        )

    def replace_managed_policy(self, arn: str, text: str) -> None:
        """Put a new version of a managed policy into force; if there are five, the oldest is deleted.

        Does nothing if it is already in force: the answer to an earlier call may have been lost, and each
        successful call creates a version.

        Raises:
            RemoteError: IAM refused or failed; retryable if it counts more versions than it listed.
        """
        what = f"replace the policy {arn}"
        if self.managed_policy(arn) == json.loads(text):
            return
        versions = self.pages("list_policy_versions", what, "Versions", PolicyArn=arn)
        if len(versions) >= _MOST_VERSIONS:
            spare = [each for each in versions if not each["IsDefaultVersion"]]
            oldest = min(spare, key=lambda each: each["CreateDate"])
            self.call(
                "delete_policy_version", what, passing=(GONE,), PolicyArn=arn, VersionId=oldest["VersionId"]
            )
        made = self.call(
            "create_policy_version",
            what,
            passing=("LimitExceeded",),
            once=True,
            PolicyArn=arn,
            PolicyDocument=text,
            SetAsDefault=True,
        )
        if made is None:
            raise RemoteError(
                f"cannot {what}: IAM counts more versions of it than it listed",
                hint="run the command again in a minute",
                retryable=True,
            )


def _user(answer: Mapping[str, Any], tags: Mapping[str, str]) -> IamUser:
    boundary = answer.get("PermissionsBoundary") or {}
    return IamUser(
        name=answer["UserName"],
        arn=answer["Arn"],
        path=answer["Path"],
        created=answer["CreateDate"],
        tags=tags,
        boundary=str(boundary.get("PermissionsBoundaryArn", "")),
    )


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
