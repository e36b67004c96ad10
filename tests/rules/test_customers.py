"""Names, tickets and networks of customers, and what the tags say."""

from __future__ import annotations

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.rules.customers.iam_policy import source_networks
from jenkins_release.rules.customers.users import checked_ticket, customer_named, same_customer, tag_value


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../etc",
        "a/b",
        "ac me",
        "acme;rm",
        "$(id)",
        "acme'",
        "-rf",
        "acme-",
        "a--b",
        "x" * 41,
        "käse",
        "a\n",
        "a*",
    ],
)
def test_a_name_that_could_be_a_path_or_a_command_is_refused(name: str):
    """The name becomes an IAM user, a file name and a word in a shell."""
    with pytest.raises(ConfigurationError, match="the customer"):
        customer_named(name, "SkyDRM")


@pytest.mark.parametrize("ticket", ["", "DEVOPS", "123", "DEVOPS-", "DEVOPS-1;x", "DEVOPS 1", "DEVOPS-1\n"])
def test_a_missing_or_senseless_ticket_is_refused(ticket: str):
    """Access without a ticket cannot be traced back."""
    with pytest.raises(ConfigurationError, match="ticket"):
        checked_ticket(ticket)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "acme.example", "1.2.3"])
def test_a_network_that_limits_nothing_or_is_none_is_refused(network: str):
    """A typing error must not open the access to the internet."""
    with pytest.raises(ConfigurationError):
        source_networks([network])


def test_networks_are_written_the_same_whatever_their_order():
    """Equal access makes an equal policy."""
    assert source_networks(["203.0.113.7", "2001:db8::/32"]) == source_networks(
        ["2001:db8::/32", "203.0.113.7/32"]
    )


def test_users_of_two_spellings_are_one_user():
    """IAM compares names without case."""
    assert customer_named("ACME", "SkyDRM").user == customer_named("acme", "SkyDRM").user == "skydrm-acme"
    with pytest.raises(ConfigurationError, match="exists as 'ACME'"):
        same_customer({"customer": "ACME", "product": "SkyDRM"}, customer_named("acme", "SkyDRM"))


def test_a_tag_value_holds_only_what_iam_takes():
    """Names of people may hold anything."""
    assert tag_value("NEXTLABS\\dora <d@x.y>") == "NEXTLABS_dora _d@x.y_"
    assert len(tag_value("x" * 999)) == 256


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "192.168.7.1", "172.16.0.0/12", "100.64.1.0/24", "fd00::/8"]
)
def test_a_private_network_is_refused(network: str):
    """AWS sees the public address that requests come from: such a limit would let nobody in."""
    with pytest.raises(ConfigurationError, match="private"):
        source_networks([network])


def test_networks_that_a_tag_cannot_hold_are_refused():
    """What holds for a customer stands in a tag of 256 characters."""
    with pytest.raises(ConfigurationError, match="256"):
        source_networks([f"203.0.113.{n}" for n in range(20)])


def test_any_stands_alone():
    """It lifts the limit; beside a network it would be a mistake."""
    with pytest.raises(ConfigurationError, match="is not an address or a network"):
        source_networks(["any", "203.0.113.7"])


def test_a_name_that_makes_the_user_too_long_is_refused():
    """IAM takes 64 characters, and the product's name stands before the customer's."""
    product = "P" * 30
    assert len(customer_named("a" * 33, product).user) == 64
    with pytest.raises(ConfigurationError, match="64"):
        customer_named("a" * 34, product)
