#!/bin/sh
# Upgrade an installation to this release, or go back. Run it from the unpacked zip of the new release. If the
# new release does not become healthy, the previous one comes back, with its images.
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=jenkins_release/bundle/lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=jenkins_release/bundle/lib/ecr.sh
. "$HERE/lib/ecr.sh"
# shellcheck source=jenkins_release/bundle/lib/settings.sh
. "$HERE/lib/settings.sh"

help() {
    cat <<EOF
Upgrade an installation of $PRODUCT to $VERSION.

usage: upgrade.sh [options]

  --dir DIR          folder of the installation  [default: $(default_folder)]
  --answers FILE     answers to questions that are new in this release, as for setup.sh
  --set NAME=VALUE   such an answer; not for passwords. May be repeated
  --non-interactive  ask nothing
  --timeout S        seconds within which it has to be healthy  [default: 300]
  --downgrade        allow an older release
  --rollback         return to the release before the last upgrade
  --no-login         do not log in to the registry
  --offline          do not ask the registry whether the release was withdrawn, and do not log in
  --help             this text

docker-compose.override.yml, .env, config/ and secrets/ stay. Save your data first: a release may change
its database, and going back does not undo that.

If the registry says that the release was withdrawn, nothing is changed and what runs keeps running; the exit status is 3.
If the registry cannot be asked, nothing is changed either. --rollback warns then, and goes back anyway.
EOF
}

TIMEOUT=300 DOWNGRADE='' ROLLBACK='' LOGIN=yes OFFLINE=''
set_folder "$(default_folder)"
[ ! -t 0 ] || INTERACTIVE=yes
while [ $# -gt 0 ]; do
    case $1 in
    --dir | --answers | --set | --timeout)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        case $1 in
        --dir) set_folder "$2" ;;
        --answers) ANSWERS=$2 ;;
        --set) set_answer "$2" ;;
        --timeout) TIMEOUT=$2 ;;
        esac
        shift
        ;;
    --non-interactive) INTERACTIVE= ;;
    --downgrade) DOWNGRADE=yes ;;
    --rollback) ROLLBACK=yes ;;
    --no-login) LOGIN='' ;;
    --offline) OFFLINE=yes ;;
    --help | -h) help && exit 0 ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift
done
is_number "$TIMEOUT" || usage_error "--timeout takes seconds, not $TIMEOUT"
{ [ -f "$DIR/release.env" ] && [ -f "$DIR/.env" ]; } ||
    die "there is no installation in $DIR" "run setup.sh, or name the folder with --dir"
[ "$(value PRODUCT "$DIR/release.env")" = "$PRODUCT" ] ||
    die "$DIR has $(value PRODUCT "$DIR/release.env"), this is $PRODUCT" "name the right folder with --dir"
require_compose
require_sight
open_folder
lock_folder
BEFORE=$(value VERSION "$DIR/release.env")
PREVIOUS=$DIR/previous

start_up() { compose up -d --remove-orphans && wait_healthy "$TIMEOUT"; }
restore() { # restore what keep_previous kept: the release, .env and config/
    copy_file "$PREVIOUS/.env" "$DIR/.env"
    for restore_file in "$PREVIOUS"/config/*; do
        [ ! -f "$restore_file" ] || cp -p -- "$restore_file" "$DIR/config/"
    done
    install_release "$PREVIOUS"
}
keep_previous() { # the whole present release: renamed into place, so that there is never half of it
    rm -rf -- "$PREVIOUS.part"
    mkdir -p -- "$PREVIOUS.part/config"
    shipped "$DIR" | while IFS= read -r kept_path; do
        kept_to=$PREVIOUS.part/$kept_path
        [ -d "${kept_to%/*}" ] || mkdir -p -- "${kept_to%/*}"
        cp -p -- "$DIR/$kept_path" "$kept_to"
    done
    cp -p -- "$DIR/.env" "$PREVIOUS.part/.env"
    for kept_path in "$DIR"/config/*; do
        [ ! -f "$kept_path" ] || cp -p -- "$kept_path" "$PREVIOUS.part/config/"
    done
    # If the upgrade fails, the release before the present one becomes the previous one again.
    rm -rf -- "$PREVIOUS.before"
    [ ! -e "$PREVIOUS" ] || mv -- "$PREVIOUS" "$PREVIOUS.before"
    mv -- "$PREVIOUS.part" "$PREVIOUS"
}
forget_failed() {
    [ -e "$PREVIOUS.before" ] || return 0
    rm -rf -- "$PREVIOUS"
    mv -- "$PREVIOUS.before" "$PREVIOUS"
}
go_back() { # go_back WHY: to the release before
    back=$(value VERSION "$PREVIOUS/release.env")
    say "$1: back to $PRODUCT $back"
    restore
    if start_up; then
        rm -f -- "$DIR/.upgrading"
        say "$PRODUCT $back is up and healthy again"
        return 0
    fi
    die "$PRODUCT $back does not become healthy either" "see '$COMPOSE ps' and '$COMPOSE logs' in $DIR; then call support"
}

if [ -n "$ROLLBACK" ]; then
    [ -f "$PREVIOUS/release.env" ] || die "there is no release to go back to" "nothing was upgraded in $DIR yet"
    if cmp -s -- "$PREVIOUS/SHA256SUMS" "$DIR/SHA256SUMS" && [ ! -e "$DIR/.upgrading" ]; then
        say "nothing to do: $PRODUCT $BEFORE is the release before the last upgrade"
        exit 0
    fi
    # An upgrade that was interrupted is repaired without asking: it has to end somewhere.
    [ -e "$DIR/.upgrading" ] || [ -n "$OFFLINE" ] || {
        private_folder
        IMAGES=$(value IMAGES "$PREVIOUS/release.env") RELEASE_TAG=$(value RELEASE_TAG "$PREVIOUS/release.env")
        RELEASE_TAG=${RELEASE_TAG:-$(value VERSION "$PREVIOUS/release.env")}
        ask_registry ""
        [ "$STANDING" != withdrawn ] || withdrawn "$(value VERSION "$PREVIOUS/release.env")"
        [ "$STANDING" = released ] || warn "whether the release before was withdrawn cannot be checked: $WHY"
    }
    go_back "asked to go back"
    exit 0
fi
[ "$HERE" != "$DIR" ] ||
    die "this is the installation itself" "run upgrade.sh from the unpacked zip of the new release, or with --rollback"
damaged=$(check_files "$HERE") || die "this folder is not what was released: $damaged" "unpack the setup zip again"
if [ "$BEFORE" = "$VERSION" ] && cmp -s -- "$HERE/SHA256SUMS" "$DIR/SHA256SUMS" && [ ! -e "$DIR/.upgrading" ]; then
    say "nothing to do: $PRODUCT $VERSION is installed in $DIR"
    exit 0
fi
start_answers
require_released
if [ -e "$DIR/.upgrading" ]; then
    # previous/ is whole before this mark is made: DIR may now be half one release, half the other.
    say "an upgrade was interrupted: starting from $PRODUCT $(value VERSION "$PREVIOUS/release.env") again"
    restore
    BEFORE=$(value VERSION "$DIR/release.env")
fi
if newer "$BEFORE" "$VERSION" && [ -z "$DOWNGRADE" ]; then
    die "$PRODUCT $BEFORE is installed, $VERSION is older" "give --downgrade if that is intended"
fi

check_answers
collect
[ "$WRONG" = 0 ] || {
    printf '  nothing was changed\n' >&2
    exit 2
}
[ -z "$LOGIN" ] || [ -n "$OFFLINE" ] || /bin/sh "$HERE/ecr-login.sh" --dir "$DIR" --quiet || die "no login, nothing was changed"

# Every image is here before anything stops.
say "pulling the images of $PRODUCT $VERSION"
# Docker from the snap store sees the installation, but maybe not the unpacked zip, and never /tmp.
settings_file >"$DIR/.env.next.new"
cp -- "$HERE/docker-compose.yml" "$DIR/.compose.next.new"
set -- --project-directory . --env-file .env.next.new -f .compose.next.new
[ ! -f "$DIR/docker-compose.override.yml" ] || set -- "$@" -f docker-compose.override.yml
# shellcheck disable=SC2046 # one word, or none
compose "$@" pull $(pull_option) || die "the images cannot be pulled; nothing was changed" "setup.sh --check --dir '$DIR' says why"
rm -f -- "$DIR/.env.next.new" "$DIR/.compose.next.new"

[ -e "$DIR/.upgrading" ] || keep_previous
echo "$BEFORE $VERSION" >"$DIR/.upgrading"
install_release "$HERE"
write_settings
if start_up; then
    rm -f -- "$DIR/.upgrading"
    rm -rf -- "$PREVIOUS.before"
    say "$PRODUCT $VERSION is up and healthy; upgrade.sh --rollback returns to $BEFORE"
    exit 0
fi
go_back "$PRODUCT $VERSION does not become healthy"
forget_failed
die "the upgrade to $VERSION failed; $PRODUCT $BEFORE runs as before" "send the lines above to support"
