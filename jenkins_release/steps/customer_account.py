"""Let an AWS account of a customer's own pull: no user, no key, no secret.

Each repository of the product gets one statement for the customer; other statements stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from jenkins_release.errors import ConfigurationError
from jenkins_release.registry.policies import RepositoryPolicies
from jenkins_release.rules.customers import checked_ticket
from jenkins_release.rules.iam_policy import partition_of, repository_statement, same_policy
from jenkins_release.steps._customers import named_customer, place_of
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class AccountRequest:
    """Which account may pull.

    Attributes:
        customer: Name of the customer.
        ticket: Ticket that asks for it.
        account: The customer's AWS account, twelve digits.
        dry_run: Tell what would be done, change nothing.
    """

    customer: str
    ticket: str
    account: str
    dry_run: bool = False


@dataclass(frozen=True)
class AccountReport:
    """What the account may do now.

    Attributes:
        customer: Name of the customer.
        account: The account.
        changed: Repositories whose policy was changed, or would be.
        statement: The customer's statement.
    """

    customer: str
    account: str
    changed: tuple[str, ...]
    statement: dict[str, Any]


def issue_account(request: AccountRequest, services: Services) -> AccountReport:
    """Let an account pull from every repository of the product; done where it may.

    Raises:
        ConfigurationError: The request is wrong, the account is the registry's own, or the customer
            pulls from another account already.
        RemoteError: ECR refused or failed; what was done stays, and running it again goes on.
    """
    customer, scope = named_customer(request.customer, services), place_of(services).scope
    checked_ticket(request.ticket)
    # IAM takes letters and digits in a Sid; the hash keeps acme-x and acmex apart.
    sid = customer.user.replace("-", "") + sha256(customer.user.encode()).hexdigest()[:8]
    statement = repository_statement(sid, request.account, partition_of(scope.region))
    if request.account == scope.account:
        raise ConfigurationError(
            f"{request.account} is the account of the registry", hint="give the customer's own account"
        )
    policies = RepositoryPolicies(scope.region, scope.account)
    changed = []
    for name in scope.repositories:
        policy = services.retry(f"read the policy of {name}", partial(policies.read, name))
        own = [each for each in policy["Statement"] if each.get("Sid") == statement["Sid"]]
        others = [each for each in policy["Statement"] if each.get("Sid") != statement["Sid"]]
        if own and own[0].get("Principal") != statement["Principal"]:
            raise ConfigurationError(
                f"{customer.name} pulls from {name} with another account: {own[0].get('Principal')}",
                hint="take that statement away first",
            )
        if own and same_policy(own[0], statement):
            continue
        changed.append(name)
        if not request.dry_run:
            wanted = {**policy, "Statement": [*others, statement]}
            services.retry(f"write the policy of {name}", partial(policies.write, name, wanted))
    return AccountReport(customer.name, request.account, tuple(changed), statement)
