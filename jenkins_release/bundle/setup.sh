#!/bin/sh
# Set up the product on this machine: ask for the settings or read them, check them, write the configuration.
# Run it again to change settings: what it replaces is kept in backups/.
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=jenkins_release/bundle/lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=jenkins_release/bundle/lib/ecr.sh
. "$HERE/lib/ecr.sh"
# shellcheck source=jenkins_release/bundle/lib/settings.sh
. "$HERE/lib/settings.sh"
# shellcheck source=jenkins_release/bundle/lib/check.sh
. "$HERE/lib/check.sh"

help() {
    cat <<EOF
Set up $PRODUCT $VERSION on this machine.

usage: setup.sh [options]

  --dir DIR          folder of the installation  [default: $(default_folder)]
  --answers FILE     answers, one NAME=value per line; mode 0600. Also the access key for the registry, as
                     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
  --set NAME=VALUE   an answer; not for passwords. May be repeated
  --non-interactive  ask nothing: every missing answer is an error
  --check            change nothing: say whether this machine is ready, and whether the key may pull
  --no-login         do not log in to the registry
  --offline          do not ask the registry whether this release was withdrawn, and do not log in
  --timer            renew the login every six hours, see ecr-login.sh
  --start            pull the images, start $PRODUCT and wait until it is healthy
  --help             this text

Before a release is installed or started, the registry is asked whether its release tag still names these images. If
it does not, the release was withdrawn: nothing is changed, exit status 3. If there is no answer, nothing is changed either.

Settings:
EOF
    settings | awk -F'|' '{ printf "  %-24s %s%s\n", $1, $4, $3 == "" ? "" : "  [default: " $3 "]" }'
}

CHECK='' LOGIN=yes OFFLINE='' TIMER='' START=''
set_folder "$(default_folder)"
[ ! -t 0 ] || INTERACTIVE=yes
while [ $# -gt 0 ]; do
    case $1 in
    --dir | --answers | --set)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        case $1 in
        --dir) set_folder "$2" ;;
        --answers) ANSWERS=$2 ;;
        --set) set_answer "$2" ;;
        esac
        shift
        ;;
    --non-interactive) INTERACTIVE= ;;
    --check) CHECK=yes ;;
    --no-login) LOGIN='' ;;
    --offline) OFFLINE=yes ;;
    --timer) TIMER=yes ;;
    --start) START=yes ;;
    --help | -h) help && exit 0 ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift
done
need awk sed grep od mktemp cmp

damaged=$(check_files "$HERE") || die "this folder is not what was released: $damaged" "unpack the setup zip again"
start_answers
check_answers

if [ -n "$CHECK" ]; then
    # Ports and hosts as they are set; what is not set yet is checked with its default.
    if [ -r "$DIR/.env" ]; then cat -- "$DIR/.env" >"$ANSWERED"; fi
    printf '%s' "$GIVEN" >>"$ANSWERED"
    if [ -n "$ANSWERS" ]; then sed -n "s/^\([A-Z_0-9]*\)='*\([^']*\)'*\$/\1='\2'/p" "$ANSWERS" >>"$ANSWERED"; fi
    ECR_ENDPOINT=$(own_endpoint)
    if [ -n "$ANSWERS" ] && is_set AWS_SECRET_ACCESS_KEY "$ANSWERS"; then
        CREDENTIALS=$PRIVATE/aws-credentials
        credentials_text "$(value AWS_ACCESS_KEY_ID "$ANSWERS")" "$(value AWS_SECRET_ACCESS_KEY "$ANSWERS")" >"$CREDENTIALS"
    fi
    if check_all && [ "$WRONG" = 0 ]; then
        say "this machine is ready for $PRODUCT $VERSION"
        exit 0
    fi
    [ "$STANDING" != withdrawn ] || withdrawn "$VERSION"
    die "$FAILED of the checks failed" "fix what is marked FAIL and check again"
fi

installed=$(value VERSION "$DIR/release.env")
[ ! -e "$DIR/.upgrading" ] || die "an upgrade of $DIR was interrupted" "run upgrade.sh --dir '$DIR' first"
[ -z "$installed" ] || [ "$installed" = "$VERSION" ] ||
    die "$PRODUCT $installed is installed in $DIR" "to upgrade it to $VERSION, run upgrade.sh, not setup.sh"
require_sight

collect
[ "$WRONG" = 0 ] || {
    printf '  nothing was written\n' >&2
    exit 2
}

# The access key: given, or as it was, or else asked for. Only its form is checked; ecr-login.sh tries it.
key_id='' key_secret=''
if [ -n "$ANSWERS" ] && is_set AWS_ACCESS_KEY_ID "$ANSWERS"; then
    key_id=$(value AWS_ACCESS_KEY_ID "$ANSWERS") key_secret=$(value AWS_SECRET_ACCESS_KEY "$ANSWERS")
fi
key_before=$(credential aws_access_key_id)
if [ -z "$key_id" ] && [ -n "$INTERACTIVE" ] && [ -n "$LOGIN" ]; then
    key_id=$(ask "AWS access key id, as support sent it" "$key_before" "") || die "no more answers: nothing was written"
    [ -z "$key_id" ] || [ "$key_id" = "$key_before" ] ||
        key_secret=$(ask "Its secret access key" "" yes) || die "no more answers: nothing was written"
fi
if [ -n "$key_id" ] && [ "$key_id$key_secret" != "$key_before" ]; then
    printf '%s\n' "$key_id" | grep -Eq '^[A-Z0-9]{16,128}$' ||
        usage_error "the access key id is 16 or more capital letters and digits, such as AKIAIOSFODNN7EXAMPLE"
    printf '%s\n' "$key_secret" | grep -Eq '^[A-Za-z0-9/+=_-]{16,128}$' ||
        usage_error "the secret access key of $key_id is missing or incomplete"
fi

# Before anything is written. What is already installed may be set up again differently, even without an answer.
ECR_ENDPOINT=$(own_endpoint)
if [ -n "$key_id" ] && [ "$key_id$key_secret" != "$key_before" ]; then
    CREDENTIALS=$PRIVATE/aws-credentials
    credentials_text "$key_id" "$key_secret" >"$CREDENTIALS"
fi
if [ -z "$installed" ] || [ -n "$START" ]; then
    require_released
elif [ -z "$OFFLINE" ]; then
    ask_registry ""
    case $STANDING in
    withdrawn) warn "$PRODUCT $VERSION was withdrawn: $WHY; get the newest setup zip and run its upgrade.sh" ;;
    unknown) warn "whether $PRODUCT $VERSION was withdrawn cannot be checked: $WHY" ;;
    esac
fi
CREDENTIALS=

open_folder
lock_folder
install_release "$HERE"
write_settings
if [ -n "$key_id" ] && [ "$key_id$key_secret" != "$key_before" ]; then save_credentials "$key_id" "$key_secret"; fi
[ -z "$KEPT" ] || say "what was replaced is kept in $KEPT"
if [ "$CHANGED" = 0 ]; then
    say "nothing to change: $PRODUCT $VERSION is set up in $DIR"
else
    say "$PRODUCT $VERSION is set up in $DIR"
fi

[ -z "$LOGIN" ] || [ -n "$(credential aws_access_key_id)" ] ||
    warn "no access key was given: run setup.sh again with one, before images can be pulled"
if [ -n "$LOGIN" ] && [ -z "$OFFLINE" ] && [ -n "$(credential aws_access_key_id)" ]; then
    /bin/sh "$HERE/ecr-login.sh" --dir "$DIR" ${TIMER:+--install-timer}
elif [ -n "$TIMER" ]; then
    warn "the login is not renewed, because there was none: run ecr-login.sh --install-timer in $DIR"
fi
if [ -n "$START" ]; then
    require_compose
    # shellcheck disable=SC2046 # one word, or none
    compose pull $(pull_option) || die "the images cannot be pulled" "setup.sh --check --dir '$DIR' says why"
    compose up -d --remove-orphans || die "$PRODUCT does not start" "see '$COMPOSE logs' in $DIR"
    wait_healthy 300 || die "$PRODUCT is not healthy" "see '$COMPOSE ps' and '$COMPOSE logs' in $DIR"
    say "$PRODUCT $VERSION is up and healthy"
else
    say "start it: cd '$DIR' && docker compose up -d"
fi
