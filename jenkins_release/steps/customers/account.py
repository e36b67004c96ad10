"""Let a customer's own AWS account pull, and revoke that: no user, no key, no secret."""

from __future__ import annotations

from functools import partial
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.registry.policies import RepositoryPolicies
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.customers.accounts import (
    SharedAccount,
    account_of,
    own_statements,
    shared_accounts,
    sid_of,
)
from jenkins_release.rules.customers.iam_policy import arn_partition, repository_statement, same_policy
from jenkins_release.rules.customers.users import Customer, checked_ticket
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import iam_place, named_customer, seen


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
    """The result for the account's access.

    Attributes:
        customer: Name of the customer.
        account: The account.
        changed: Repositories whose policy was changed, or would be.
        statement: The customer's statement, the one that was taken away after a revocation.
        done: What was done, or would be, repository by repository.
    """

    customer: str
    account: str
    changed: tuple[str, ...]
    statement: dict[str, Any]
    done: tuple[str, ...]


def issue_account(request: AccountRequest, services: Services) -> AccountReport:
    """Let an account pull from every repository of the product, unless it may already.

    Raises:
        ConfigurationError: The request is wrong, the account is the registry's own, or the customer
            pulls from another account already.
        RemoteError: ECR refused or failed; what was done stays, and running it again goes on.
    """
    customer, scope = named_customer(request.customer, services), iam_place(services).scope
    sid = sid_of(customer, checked_ticket(request.ticket))
    statement = repository_statement(sid, request.account, arn_partition(scope.region))
    if request.account == scope.account:
        raise ConfigurationError(
            f"{request.account} is the account of the registry", hint="give the customer's own account"
        )
    policies = _policies(services)
    found = _read(policies, services)
    for name, policy in found:
        other = [each for each in own_statements(customer, policy) if account_of(each) != request.account]
        if other:
            raise ConfigurationError(
                f"{customer.name} pulls from {name} with another account: {account_of(other[0])}",
                hint="revoke that first: 'customer revoke' with --kind aws-account",
            )
    changed = []
    for name, policy in found:
        own = own_statements(customer, policy)
        # The ticket of the first issue stays.
        wanted = {**statement, "Sid": own[0]["Sid"]} if own else statement
        if len(own) == 1 and same_policy(own[0], wanted):
            continue
        changed.append(name)
        if not request.dry_run:
            _write(policies, name, customer, [wanted], services)
    done = tuple(f"let the account {request.account} pull from {name}" for name in changed)
    return AccountReport(customer.name, request.account, tuple(changed), statement, done)


def revoke_account(name: str, services: Services, *, dry_run: bool = False) -> AccountReport:
    """Remove a customer's statements from the repository policies.

    The customer's own roles can still get tokens, but each pull is checked, and refused.

    Args:
        name: Name of the customer.
        services: Configuration, ECR.
        dry_run: Tell what would be done, change nothing.

    Raises:
        ConfigurationError: The name is wrong, or no repository lets the customer in.
        RemoteError: ECR refused or failed; running it again goes on.
    """
    customer, policies = named_customer(name, services), _policies(services)
    found = [(each, policy, own_statements(customer, policy)) for each, policy in _read(policies, services)]
    changed = [(each, policy, own) for each, policy, own in found if own]
    if not changed:
        raise ConfigurationError(
            f"{customer.name} pulls with no AWS account: no repository has a statement for it",
            hint="'jenkins-release customer list' shows who has access",
        )
    if not dry_run:
        for each, _, _ in changed:
            _write(policies, each, customer, [], services)
    statement = dict(changed[0][2][0])
    names = tuple(each for each, _, _ in changed)
    done = tuple(f"take {name} away from the account {account_of(statement)}" for name in names)
    return AccountReport(customer.name, account_of(statement), names, statement, done)


def list_accounts(services: Services) -> list[SharedAccount]:
    """Return the accounts that ``customer issue --kind aws-account`` let in.

    Raises:
        RemoteError: ECR refused or failed.
    """
    policies = _read(_policies(services), services)
    return shared_accounts(services.configuration.product.name, policies)


def _policies(services: Services) -> RepositoryPolicies:
    scope = iam_place(services).scope
    return services.closed_at_end(RepositoryPolicies(scope.region, scope.account, limits=services.limits))


def _read(policies: RepositoryPolicies, services: Services) -> list[tuple[str, dict[str, Any]]]:
    """Read the policy of every repository; one that is not there yet has none."""

    def read(name: str) -> dict[str, Any]:
        try:
            return services.retry(f"read the policy of {name}", policies.read, name)
        except RepositoryNotFound:
            return {"Statement": []}

    names = iam_place(services).scope.repositories
    return list(zip(names, services.each(read, names), strict=True))


def _write(
    policies: RepositoryPolicies,
    name: str,
    customer: Customer,
    statements: list[dict[str, Any]],
    services: Services,
) -> None:
    """Replace a customer's statements, and wait until that shows: the next change is made to what is read.

    A policy is written as a whole. It is read right before: what was read earlier would give others back
    what was taken from them since.

    Raises:
        RemoteError: ECR failed, or somebody else wrote the policy at the same moment.
    """

    def attempt() -> None:
        policy = policies.read(name)
        own = own_statements(customer, policy)
        others = [each for each in policy["Statement"] if each not in own]
        policies.write(name, {**policy, "Statement": [*others, *statements]})

    services.retry(f"write the policy of {name}", attempt)
    seen(
        f"the policy of {name}",
        partial(policies.read, name),
        lambda now: same_policy({"Statement": own_statements(customer, now)}, {"Statement": statements}),
        services,
    )
