#!/usr/bin/env bats
# upgrade.sh: forward, back, cut off. Docker is a stand-in that can fail on request; test_journey.py has the real one.

load helper

installed() { # an installation of 8.1.0, and a Docker that notes what it is told
    if [ -z "${SERVED:-}" ]; then
        is_set_up
    else # images of another registry
        set_up
        status_is 0
    fi
    STATE="$BATS_TEST_TMPDIR/state"
    mkdir "$STATE"
    export STATE
    fake docker <<'EOF'
echo "$*" >>"$STATE/calls"
case "$*" in
*"compose version"*) echo 5.0 ;;
*" pull"* | *" pull") [ ! -e "$STATE/no-pull" ] ;;
*"compose up"*)
    . ./release.env
    echo "$VERSION" >>"$STATE/up"
    [ "$(cat "$STATE/broken" 2>/dev/null)" != "$VERSION" ] || exit 1
    [ "$(cat "$STATE/ill" 2>/dev/null)" != "$VERSION" ] || touch "$STATE/unhealthy"
    [ "$(cat "$STATE/ill" 2>/dev/null)" = "$VERSION" ] || rm -f "$STATE/unhealthy"
    ;;
*"compose ps"*) echo c1 ;;
inspect*)
    if [ -e "$STATE/unhealthy" ]; then echo '/skydrm-rms-1 running 0 unhealthy 0 unless-stopped'
    else echo '/skydrm-rms-1 running 0 healthy 0 unless-stopped'; fi
    ;;
esac
EOF
}
upgrade() { run $UNDER "$NEXT/upgrade.sh" --dir "$DIR" --offline --timeout 5 "$@" </dev/null; }
version() { sed -n "s/^VERSION='\(.*\)'/\1/p" "$DIR/release.env"; }
whole() { # every file of the release is that release's
    is '' "$(cd "$DIR" && grep -v override SHA256SUMS | sha256sum -c - 2>&1 | grep -v ': OK$')"
    [ ! -e "$DIR/.upgrading" ]
}

@test "to the next release: pulled first, settings kept, new ones filled in, then up" {
    installed
    echo '# mine' >"$DIR/docker-compose.override.yml"
    password=$(setting ACME_PASSWORD)
    upgrade
    status_is 0
    says '8.1.1 is up and healthy' 'returns to 8.1.0'
    is 8.1.1 "$(version)"
    is "$password" "$(setting ACME_PASSWORD)"
    is 7 "$(setting ACME_NEW)"
    is '# mine' "$(cat "$DIR/docker-compose.override.yml")"
    whole
    nothing_left
    is 'pull up' "$(grep -o -w -e pull -e up "$STATE/calls" | uniq | tr '\n' ' ' | sed 's/ $//')"
    grep -q -- '--env-file .* -f .* -f docker-compose.override.yml' "$STATE/calls"
    upgrade
    status_is 0
    says 'nothing to do'
}

@test "images that cannot be pulled: nothing is changed" {
    installed
    touch "$STATE/no-pull"
    upgrade
    status_is 1
    says 'nothing was changed'
    is 8.1.0 "$(version)"
    [ ! -e "$STATE/up" ]
    whole
}

@test "a release that does not start, or is not well, goes back to the one before" {
    for way in broken ill; do
        rm -rf "$DIR" "$BATS_TEST_TMPDIR/state"
        installed
        echo 8.1.1 >"$STATE/$way"
        before=$(cat "$DIR/.env" "$DIR/config/acme.conf")
        upgrade
        status_is 1
        says '8.1.1 does not become healthy: back to SkyDRM 8.1.0' '8.1.0 is up and healthy again' 'failed'
        is 8.1.0 "$(version)"
        is "$before" "$(cat "$DIR/.env" "$DIR/config/acme.conf")"
        is '8.1.1
8.1.0' "$(cat "$STATE/up")"
        whole
        nothing_left
    done
}

@test "where the release before does not come back either, it says so and stays where it can be repeated" {
    installed
    echo 8.1.1 >"$STATE/broken"
    echo 8.1.0 >"$STATE/ill"
    upgrade
    status_is 1
    says '8.1.0 does not become healthy either' 'is unhealthy'
    rm "$STATE/broken" "$STATE/ill"
    upgrade
    status_is 0
    says 'an upgrade was interrupted' '8.1.1 is up and healthy'
    whole
}

@test "killed at any step: setup.sh refuses, and the next upgrade completes it, or goes back" {
    deadly "$NEXT"
    installed
    run_deadly 0 upgrade.sh --dir "$DIR" --offline
    status_is 0
    last=$(wc -l <"$COUNT")
    for at in 3 $((last - 1)) "$last"; do
        rm -rf "$DIR" "$BATS_TEST_TMPDIR/state"
        installed
        run_deadly "$at" upgrade.sh --dir "$DIR" --offline
        status_is 137
        rm -rf "${TMPDIR:?}"/*
        set_up
        status_is 1
        says 'was interrupted'
        if [ $((at % 2)) = 0 ]; then
            upgrade
            status_is 0
            is 8.1.1 "$(version)"
        else
            run $UNDER "$DIR/upgrade.sh" --rollback --dir "$DIR" </dev/null
            status_is 0
            is 8.1.0 "$(version)"
        fi
        whole
        nothing_left
    done
}

@test "--rollback goes back later, by the installation's own script" {
    installed
    upgrade
    run $UNDER "$DIR/upgrade.sh" --rollback </dev/null
    status_is 0
    says 'whether the release before was withdrawn cannot be checked: there is no access key' '8.1.0 is up and healthy again'
    is 8.1.0 "$(version)"
    whole
    run $UNDER "$DIR/upgrade.sh" --rollback </dev/null
    status_is 0
    says 'nothing to do'
}

@test "an older release is refused, unless it is meant" {
    installed
    upgrade
    script upgrade.sh --dir "$DIR" --offline
    status_is 1
    says '8.1.0 is older'
    script upgrade.sh --dir "$DIR" --offline --downgrade
    status_is 0
    is 8.1.0 "$(version)"
}

@test "what cannot be upgraded is told" {
    installed
    run $UNDER "$NEXT/upgrade.sh" --dir "$BATS_TEST_TMPDIR/none" </dev/null
    status_is 1
    says 'there is no installation'
    upgrade --timeout soon
    status_is 2
    run $UNDER "$DIR/upgrade.sh" --no-login </dev/null
    status_is 1
    says 'this is the installation itself'
    run $UNDER "$DIR/upgrade.sh" --rollback </dev/null
    status_is 1
    says 'there is no release to go back to'
    sed -i "s/^PRODUCT=.*/PRODUCT='Other'/" "$DIR/release.env"
    upgrade
    status_is 1
    says 'has Other, this is SkyDRM'
}

@test "versions are in the order in which products number them" {
    cat >"$BATS_TEST_TMPDIR/order.sh" <<'EOF'
HERE=$1
. "$HERE/lib/common.sh"
ok() { newer "$1" "$2" && ! newer "$2" "$1" || echo "wrong: $1 is not newer than $2"; }
ok 8.1.1 8.1.0
ok 8.10.0 8.9.9
ok 8.1.0-hotfix2 8.1.0
ok 8.1.0-hotfix10 8.1.0-hotfix2
ok 8.1.0 8.1.0-rc1
ok 8.2.0-rc1 8.1.9
ok 8.1.1 8.1.0-hotfix2
ok 10.4.0.1 10.4.0
ok 2018.3 8.1.0
newer 8.1.0 8.1.0 && echo "wrong: newer than itself"
at_least 20.10.24+dfsg1 20.10 && at_least v2.0.1 2 && at_least 5.6.1 1.29 && at_least 1.29.2 1.29 || echo wrong
! at_least 1.28.9 1.29 && ! at_least 20.9 20.10 && ! at_least '' 1 || echo wrong
EOF
    run $UNDER "$BATS_TEST_TMPDIR/order.sh" "$BUNDLE"
    is '' "$output"
}

@test "to a withdrawn release nothing is changed, what runs goes on; nor back to one" {
    with_registry
    installed
    touch "$SERVED/withdrawn-8.1.1"
    before=$(cd "$DIR" && find . -type f -exec cksum {} + | sort)
    for words in '' --downgrade; do
        run $UNDER "$NEXT/upgrade.sh" --dir "$DIR" --no-login $words </dev/null
        status_is 3
        says 'SkyDRM 8.1.1 was withdrawn: the release tag skydrm/viewer:8.1.1 is gone' 'nothing was changed'
    done
    touch "$SERVED/down"
    run $UNDER "$NEXT/upgrade.sh" --dir "$DIR" --no-login </dev/null
    status_is 1
    says 'cannot be checked' '--offline'
    is "$before" "$(cd "$DIR" && find . -type f -exec cksum {} + | sort)"
    is '' "$(grep -w -e up -e pull "$STATE/calls")"
    rm "$SERVED/down" "$SERVED/withdrawn-8.1.1"
    run $UNDER "$NEXT/upgrade.sh" --dir "$DIR" --no-login </dev/null
    status_is 0
    touch "$SERVED/withdrawn-8.1.0"
    run $UNDER "$DIR/upgrade.sh" --rollback </dev/null
    status_is 3
    says 'SkyDRM 8.1.0 was withdrawn'
    is 8.1.1 "$(version)"
    run $UNDER "$DIR/upgrade.sh" --rollback --offline </dev/null
    status_is 0
    is 8.1.0 "$(version)"
}

@test "execute bits that a program for zips has lost are not needed" {
    with_registry
    installed
    chmod a-x "$NEXT"/*.sh
    run $UNDER "$NEXT/upgrade.sh" --dir "$DIR" </dev/null
    status_is 0
    is 8.1.1 "$(version)"
    grep -q '^login ' "$STATE/calls"
    run "$DIR/upgrade.sh" --help
    status_is 0
}

@test "with Docker of the snap store, which sees neither the unpacked zip nor the folder for temporary files" {
    DIR="$HOME/sky drm"
    installed
    fake_snap
    upgrade
    status_is 0
    says '8.1.1 is up and healthy'
    whole
    nothing_left
    grep -q -- '--env-file .* -f .* -f docker-compose.override.yml pull' "$STATE/calls"
}

@test "Podman that poses as docker is refused by its name, and nothing is changed" {
    installed
    fake_podman
    upgrade
    status_is 1
    says 'the command docker is Podman 4.3.1'
    is 8.1.0 "$(version)"
}
