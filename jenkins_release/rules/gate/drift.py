"""What has changed between an approved plan and now."""

from __future__ import annotations

from jenkins_release.records.plan import Plan, PlannedImage


def drift(approved: Plan, now: Plan) -> list[str]:
    """Say what differs from the approved plan, apart from that plan's own progress.

    A promotion that died half-way has pushed images and set tags. What is then in the registry is what the
    plan says will be there, so it is not a difference.

    Args:
        approved: The plan that was approved.
        now: The plan as it would be made now.

    Returns:
        Full sentences; empty if the approval holds.
    """
    moved = []
    for what in (
        "product",
        "version",
        "build",
        "candidate",
        "policy",
        "registry",
        "release_area",
        "installers",
    ):
        before, after = getattr(approved, what), getattr(now, what)
        if before != after:
            before, after = _shown(before), _shown(after)
            moved.append(f"{what}: {before} when it was approved, {after} now")
    planned = {image.name: image for image in approved.images}
    present = {image.name: image for image in now.images}
    moved += [f"image {name}: not in the approved plan" for name in present.keys() - planned.keys()]
    moved += [f"image {name}: no longer in the candidate" for name in planned.keys() - present.keys()]
    for name in planned.keys() & present.keys():
        moved += _image(planned[name], present[name])
    return sorted(moved)


def _shown(value: str | tuple[str, ...]) -> str:
    return (value if isinstance(value, str) else ", ".join(value)) or "none"


def _image(approved: PlannedImage, now: PlannedImage) -> list[str]:
    moved = []
    for what in ("config_digest", "index_digest", "repository", "candidate_tag"):
        before, after = getattr(approved, what), getattr(now, what)
        if before != after:
            moved.append(f"image {now.name}: {what} was {before}, is {after}")
    if approved.repository_exists and not now.repository_exists:
        moved.append(f"image {now.name}: the repository {now.repository} is gone")
    tags = {tag.tag: tag for tag in approved.tags}
    if {(tag.tag, tag.moving) for tag in now.tags} != {(tag.tag, tag.moving) for tag in approved.tags}:
        names = ", ".join(tag.tag for tag in now.tags)
        moved.append(f"image {now.name}: the tags were {', '.join(tags)}, are {names}")
    for tag in now.tags:
        before = tags.get(tag.tag)
        if before is None or tag.digest == before.digest or approved.is_named_by(tag):
            continue
        moved.append(
            f"image {now.name}: the tag {tag.tag} named {before.digest or 'nothing'}, "
            f"names {tag.digest or 'nothing'} now"
        )
    return moved
