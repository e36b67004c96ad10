"""The support window: N and N-1 stay, whatever else happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.rules.release.support import StoredTag, TagTemplates, line_of, retirement, support_window

FIXED = TagTemplates(("{version}",), ("{major}.{minor}.x", "latest"))
numbers = st.integers(0, 3)
versions = st.one_of(
    st.builds("{}.{}.{}".format, st.integers(6, 9), numbers, numbers),
    st.builds("{}.{}.{}-hotfix{}".format, st.integers(6, 9), numbers, numbers, numbers),
    st.builds("{}.{}.{}-rc{}".format, st.integers(6, 9), numbers, numbers, numbers),
    st.builds("{}.{}".format, st.integers(2017, 2019), numbers),
    st.builds("{}.{}.{}.{}".format, st.integers(6, 9), numbers, numbers, numbers),
).map(ReleaseVersion.parse)


def digest(text: str) -> str:
    return f"sha256:{text:0>64}"


def stored(found: list[ReleaseVersion]) -> list[StoredTag]:
    """Tags as promotions leave them: each version by itself, moving tags on the newest."""
    tags = [StoredTag("skydrm/rms", v.text, digest(str(n))) for n, v in enumerate(sorted(set(found)))]
    moving = {f"{v.major}.{v.minor}.x": digest(str(n)) for n, v in enumerate(sorted(set(found)))}
    moving |= {"latest": tags[-1].digest} if tags else {}
    return tags + [StoredTag("skydrm/rms", tag, named) for tag, named in moving.items()]


def parse(*texts: str) -> list[ReleaseVersion]:
    return [ReleaseVersion.parse(text) for text in texts]


@given(st.lists(versions, max_size=12), st.integers(1, 4), st.sampled_from(["major.minor", "major"]))
def test_no_set_of_releases_leads_to_the_removal_of_a_supported_one(found, count, kind):
    """Every version of the newest released lines, and every image that one of its tags names, stays."""
    window = support_window(found, count=count, kind=kind)
    final = [v for v in found if v.word not in {"rc"}]
    newest = sorted({line_of(v, kind) for v in final}, reverse=True)[:count]
    tags = stored(found)
    result = retirement(tags, window, FIXED)
    removed = {(each.repository, each.tag) for each in result.remove}
    left = {each.digest for each in tags if (each.repository, each.tag) not in removed}
    for each in tags:
        if any(v.text == each.tag and line_of(v, kind) in newest for v in found):
            assert (each.repository, each.tag) not in removed
            assert each.digest in left
    assert not {each.digest for each in result.remove} & left
    assert "latest" not in {tag for _, tag in removed} or not final


@given(st.lists(versions, max_size=10), st.lists(versions, max_size=4))
def test_withdrawing_and_forgetting_releases_only_ever_keeps_more(found, gone):
    """A version that cannot be proven to be released retires no other one."""
    fewer = support_window(found, withdrawn=gone)
    for version in found:
        if support_window(found).supports(version):
            assert fewer.supports(version)


@given(
    st.lists(versions, min_size=1, max_size=8),
    st.sampled_from(["dev", "stable", "withdrawn-7.0.0-1-0123", "sha-abc", "candidate-1"]),
)
def test_a_tag_that_no_release_made_is_never_touched(found, tag):
    """People set tags too; those of withdrawn releases keep evidence."""
    other = StoredTag("skydrm/rms", tag, digest("f"))
    assert other not in retirement([*stored(found), other], support_window(found), FIXED).remove


def test_n_and_n_minus_1_are_lines_with_all_their_patches():
    """8.1 and 8.0 stay, 7.9 goes, and its moving tag with it."""
    found = parse("7.9.0", "7.9.3", "8.0.0", "8.0.1-hotfix2", "8.1.0")
    window = support_window(found)
    assert window.shown == "8.1, 8.0"
    assert {each.tag for each in retirement(stored(found), window, FIXED).remove} == {
        "7.9.0",
        "7.9.3",
        "7.9.x",
    }


def test_a_release_candidate_pushes_nothing_out():
    """9.0.0-rc1 opens no line, and stays itself."""
    found = parse("7.9.0", "8.0.0", "9.0.0-rc1")
    window = support_window(found)
    assert (window.shown, retirement(stored(found), window, FIXED).remove) == ("8.0, 7.9", ())


def test_a_withdrawn_version_opens_no_line():
    """Its line counts as never released."""
    found = parse("7.9.0", "8.0.0", "9.0.0")
    assert support_window(found, withdrawn=parse("9.0.0")).shown == "8.0, 7.9"


def test_an_image_that_a_supported_tag_names_stays():
    """By itself or as part of an index."""
    window = support_window(parse("7.9.0", "8.0.0", "8.1.0"))
    old, part = StoredTag("r", "7.9.0", digest("a")), StoredTag("r", "7.9.1", digest("b"))
    new = [StoredTag("r", "8.1.0", digest("a")), StoredTag("r", "8.0.0", digest("c"))]
    found = retirement([old, part, *new], window, FIXED, children={digest("c"): frozenset({digest("b")})})
    assert found.remove == ()
    assert [each for each, _ in found.kept] == [old, part]


def test_what_is_still_pulled_stays_for_a_while():
    """Where the configuration asks for it."""
    window = support_window(parse("7.9.0", "8.0.0", "8.1.0"))
    old = StoredTag("r", "7.9.0", digest("a"))
    found = retirement([old], window, FIXED, pulled={("r", digest("a")): "2026-11-20"})
    assert (found.remove, found.kept) == ((), ((old, "it was pulled on 2026-11-20"),))


def test_a_release_that_is_still_pulled_stays_whole():
    """One image was pulled, the others of the version stay too; another old version goes."""
    window = support_window(parse("7.8.0", "7.9.0", "8.0.0", "8.1.0"))
    rms, viewer = StoredTag("rms", "7.9.0", digest("a")), StoredTag("viewer", "7.9.0", digest("b"))
    moving, older = StoredTag("viewer", "7.9.x", digest("b")), StoredTag("rms", "7.8.0", digest("c"))
    found = retirement(
        [rms, viewer, moving, older], window, FIXED, pulled={("rms", digest("a")): "2026-11-20"}
    )
    assert found.remove == (older,)
    said = "7.9.0 was pulled on 2026-11-20, from rms"
    assert found.kept == ((rms, "it was pulled on 2026-11-20"), (viewer, said), (moving, said))


@given(st.lists(versions, min_size=1, max_size=10), st.data())
def test_no_pull_is_followed_by_half_a_release(found, data):
    """Whatever was pulled: a version's tags are removed from all repositories or from none."""
    names = ["r/one", "r/two"]
    tags = [
        StoredTag(name, each.tag, digest(f"{n}{each.digest[-4:]}"))
        for n, name in enumerate(names)
        for each in stored(found)
    ]
    lately = data.draw(st.lists(st.sampled_from(tags), max_size=3))
    pulled = {(each.repository, each.digest): "2026-11-20" for each in lately}
    result = retirement(tags, support_window(found), FIXED, pulled=pulled)
    removed = {name: {each.tag for each in result.remove if each.repository == name} for name in names}
    fixed = {version.text for version in found}
    assert removed["r/one"] & fixed == removed["r/two"] & fixed
    assert not {(each.repository, each.digest) for each in result.remove} & set(pulled)


def test_nothing_is_retired_where_nothing_is_known_to_be_released():
    """An empty or unreadable history keeps everything."""
    assert retirement(stored(parse("7.0.0", "8.0.0")), support_window([]), FIXED).remove == ()
