# shellcheck shell=sh
# What all scripts share. POSIX sh; sourced with ".", never run.
#
# The caller sets HERE, the folder of the script. This file sets PRODUCT, VERSION and the rest of release.env.
# Exit status of the scripts: 0 done, 1 failed, 2 wrong options or answers, 3 the release was withdrawn.

umask 077
LC_ALL=C
export LC_ALL
# They would point Compose to files or a project other than those of this folder.
unset COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES COMPOSE_ENV_FILES CDPATH

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { # die MESSAGE [HINT]
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
    exit 1
}
usage_error() { # usage_error MESSAGE
    printf 'error: %s\n' "$1" >&2
    printf '  "sh %s --help" says more\n' "$0" >&2
    exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }
need() { # need PROGRAM...
    for need_program in "$@"; do
        have "$need_program" || die "the program $need_program is missing" "install it, or put it on the PATH"
    done
}

[ -r "$HERE/release.env" ] || die "$HERE/release.env is missing" "unpack the whole setup zip again"
# shellcheck source=/dev/null
. "$HERE/release.env"

CR=$(printf '\r') # at the end of each line after an editor on Windows
value() { # value NAME FILE: what NAME is set to at last in a file of NAME=value lines, without its quotes
    if is_set "$1" "$2"; then printf '%s\n' "$value_found"; fi
}
is_set() { # is_set NAME FILE; no program is started for it, because it is asked for each setting
    value_set=1
    [ -r "$2" ] || return 1
    while IFS= read -r value_line || [ -n "$value_line" ]; do
        case $value_line in
        "$1="*) value_set=0 value_found=${value_line#*=} ;;
        esac
    done <"$2"
    [ "$value_set" = 0 ] || return 1
    value_found=${value_found%"$CR"}
    case $value_found in
    \'*\') value_found=${value_found#?} value_found=${value_found%?} ;;
    esac
    case $value_found in
    '"'*'"') value_found=${value_found#?} value_found=${value_found%?} ;;
    esac
}
home_of() { # home_of USER-ID: the home that the list of users has for it, if any
    if have getent; then getent passwd "$1"; else awk -F: -v id="$1" '$3 == id' /etc/passwd; fi 2>/dev/null | head -n 1 | cut -d: -f6
}
# Root's units and cloud-init set no HOME: Docker, Compose and the AWS command line would look elsewhere.
[ -n "${HOME:-}" ] || HOME=$(home_of "$(id -u)")
if [ -n "$HOME" ]; then export HOME; else unset HOME; fi
user_name() { # or its number, if the user is in no list
    user_name=$(id -un 2>/dev/null) || user_name=$(id -u)
    printf '%s\n' "$user_name"
}
owner_of() { # owner_of FILE: the number of its owner
    # shellcheck disable=SC2012 # the fields before the name hold no name here
    ls -ldn -- "$1" | awk '{ print $3; exit }'
}
is_private() { # is_private FILE: whether group and others may do nothing with it
    case $(ls -ld -- "$1") in
    ????------*) return 0 ;;
    esac
    return 1
}
sha256() { # sha256 < DATA: the hash in hex
    if have sha256sum; then sha256_is=$(sha256sum); else sha256_is=$(openssl dgst -sha256 -r); fi || sha256_is=
    printf '%s\n' "${sha256_is%% *}"
}
at_least() { # at_least VERSION MINIMUM: compare as many numbers as MINIMUM has
    awk -v a="$1" -v b="$2" 'BEGIN {
        sub(/^[vV]/, "", a); n = split(b, want, "."); split(a, is, /[^0-9]/)
        for (i = 1; i <= n; i++) if (is[i] + 0 != want[i] + 0) exit !(is[i] + 0 > want[i] + 0)
    }'
}
newer() { # newer A B: whether version A comes after version B
    [ "$1" != "$2" ] && awk -v a="$1" -v b="$2" 'BEGIN {
        n = split(a, x, /[.-]/); m = split(b, y, /[.-]/)
        for (i = 1; i <= (n > m ? n : m); i++) {
            p = x[i]; q = y[i]
            if (p == q) continue
            if (p ~ /^[0-9]+$/ && q ~ /^[0-9]+$/) exit !(p + 0 > q + 0)
            if (p == "" || q == "") {
                # rc1 and the like come before the release itself, a hotfix after it.
                late = (p == "") ? q : p
                before = late ~ /^(dev|alpha|beta|preview|rc)/
                exit !((p == "") ? before : !before)
            }
            # hotfix10 comes after hotfix2.
            v = p; w = q; sub(/[0-9]+$/, "", v); sub(/[0-9]+$/, "", w)
            if (v == w) exit !(substr(p, length(v) + 1) + 0 > substr(q, length(w) + 1) + 0)
            exit !(p > q)
        }
        exit 1
    }'
}

# --- the folder of the installation -------------------------------------------------------------------

set_folder() { # set_folder PATH: DIR becomes its full name; it need not exist yet
    case $1 in
    *"
"*) usage_error "the folder's name has a line break" ;;
    /*) DIR=$1 ;;
    *) DIR=$(pwd -P)/$1 ;;
    esac
    while [ "$DIR" != / ] && [ "${DIR%/}" != "$DIR" ]; do DIR=${DIR%/}; done
}
default_folder() { # where an installation is: here, or in a folder below the user's home
    if [ -f "$HERE/.env" ]; then printf '%s\n' "$HERE"; else printf '%s\n' "${HOME:-$HERE}/$PROJECT"; fi
}
open_folder() { # open_folder: make DIR, and check that it can be written to
    mkdir -p -- "$DIR" 2>/dev/null || die "the folder $DIR cannot be made" "choose another one with --dir"
    open_owner=$(owner_of "$DIR/.")
    if [ "$open_owner" != "$(id -u)" ]; then
        die "the folder $DIR belongs to user $open_owner" "run this as that user, without sudo"
    fi
    case $(ls -ld -- "$DIR/.") in
    ????????w*) die "every user can write to the folder $DIR" "chmod o-w it, and check that nothing in it is a stranger's" ;;
    esac
    # A name at which no one can have put a link: others than the owner may be able to write here.
    open_probe=$(mktemp "$DIR/.writable.XXXXXX" 2>/dev/null) ||
        die "the folder $DIR cannot be written to by $(user_name)" \
            "choose another one with --dir, or make this user its owner"
    rm -f -- "$open_probe"
}
lock_folder() { # only one script at a time changes DIR; a lock whose process is gone does not count
    if ! mkdir -- "$DIR/.lock" 2>/dev/null; then
        lock_pid=$(cat "$DIR/.lock/pid" 2>/dev/null || echo 0)
        if [ "$lock_pid" -gt 0 ] 2>/dev/null && kill -0 "$lock_pid" 2>/dev/null; then
            die "another script (process $lock_pid) is changing $DIR" "wait until it has ended"
        fi
        rm -rf -- "$DIR/.lock"
        mkdir -- "$DIR/.lock" 2>/dev/null || die "another script is changing $DIR" "wait until it has ended"
    fi
    echo "$$" >"$DIR/.lock/pid"
    # What a run left behind that was killed in the middle of a file.
    rm -f -- "$DIR"/*.new "$DIR"/.*.new "$DIR"/*/*.new
}
PRIVATE= # folder for the temporary files of this run, which may hold secrets
private_folder() { # private_folder: make it, with mode 0700, under a name that cannot be guessed
    private_base=${TMPDIR:-/tmp}
    # Without the sticky bit another user could put a folder of their own in its place.
    case $(ls -ld -- "$private_base/." 2>/dev/null) in
    ????????w[!tT]*) die "others can rename what is in $private_base" "chmod +t it, or set TMPDIR to a folder of your own" ;;
    esac
    PRIVATE=$(mktemp -d "$private_base/$PROJECT-setup.XXXXXX") ||
        die "no folder for temporary files can be made in $private_base" "set TMPDIR to a folder of your own"
}
clean_up() { # at the end, however it comes: no lock, no half file and no answer stays
    if [ -n "$PRIVATE" ]; then
        rm -rf -- "$PRIVATE"
        [ ! -t 0 ] || stty echo 2>/dev/null || true
    fi
    if [ -n "${DIR:-}" ] && [ "$(cat "$DIR/.lock/pid" 2>/dev/null)" = "$$" ]; then
        rm -f -- "$DIR"/*.new "$DIR"/.*.new "$DIR"/*/*.new
        rm -rf -- "$DIR/.lock"
    fi
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

CHANGED=0
KEPT=
make_way() { # make_way FILE: for a file that is written; a link there would be written through
    if [ -e "$1" ] || [ -L "$1" ]; then rm -f -- "$1"; fi
}
put() { # put FILE MODE < CONTENT: there whole or not at all; what was there is kept in backups/
    [ -d "${1%/*}" ] || mkdir -p -- "${1%/*}"
    [ ! -L "$1" ] || die "$1 is a link" "put a file in its place: it would be replaced"
    make_way "$1.new"
    cat >"$1.new" || die "$1 cannot be written"
    chmod "$2" "$1.new"
    if [ -e "$1" ]; then
        if cmp -s -- "$1.new" "$1"; then
            rm -f -- "$1.new"
            chmod "$2" "$1"
            return 0
        fi
        keep "$1"
    fi
    mv -f -- "$1.new" "$1"
    CHANGED=$((CHANGED + 1))
}
keep() { # keep FILE: copy it to backups/, once in a run
    if [ -z "$KEPT" ]; then
        keep_base=$DIR/backups/$(date -u +%Y%m%dT%H%M%SZ)
        KEPT=$keep_base keep_number=1
        while [ -e "$KEPT" ]; do
            keep_number=$((keep_number + 1))
            KEPT=$keep_base-$keep_number
        done
    fi
    keep_to=$KEPT/${1#"$DIR"/}
    [ -d "${keep_to%/*}" ] || mkdir -p -- "${keep_to%/*}"
    cp -p -- "$1" "$keep_to"
}

check_files() { # check_files FOLDER: compare the files of a release with its SHA256SUMS; prints what differs
    [ -r "$1/SHA256SUMS" ] || { echo "SHA256SUMS is missing" && return 1; }
    # sha256sum passes over lines in any other form.
    files_bad=$(sed '/^[0-9a-f]\{64\}  [^ ]/d' "$1/SHA256SUMS") || files_bad=unreadable
    if [ ! -s "$1/SHA256SUMS" ] || [ -n "$files_bad" ]; then echo "SHA256SUMS is altered" && return 1; fi
    # The override file is the customer's own.
    files_bad=$(cd -- "$1" && grep -v '  docker-compose\.override\.yml$' SHA256SUMS | if have sha256sum; then
        sha256sum -c - 2>/dev/null | sed -n '/: OK$/!s/: FAILED.*/ is missing or altered/p'
    else
        while IFS= read -r files_line; do
            [ "$(sha256 2>/dev/null <"${files_line#*  }")" = "${files_line%%  *}" ] ||
                echo "${files_line#*  } is missing or altered"
        done
    fi)
    [ -z "$files_bad" ] || { printf '%s\n' "$files_bad" && return 1; }
}
shipped() { # shipped FOLDER: the files that a release consists of, one a line
    sed -n 's/^[0-9a-f]\{64\}  //p' "$1/SHA256SUMS" | grep -v '^docker-compose\.override\.yml$'
    echo SHA256SUMS
}
install_release() { # install_release FROM: copy the files of a release to DIR; a customer's own stay
    [ "$1" != "$DIR" ] || return 0
    # release.env last: it names the version, so that an interrupted run shows.
    { shipped "$1" | grep -v '^release\.env$' && echo release.env; } | while IFS= read -r install_path; do
        copy_file "$1/$install_path" "$DIR/$install_path"
        case $install_path in
        */*) ;;
        *.sh) [ -x "$DIR/$install_path" ] || chmod u+x -- "$DIR/$install_path" || true ;; # a program for zips may have lost it
        esac
    done
    if [ -f "$1/docker-compose.override.yml" ] && [ ! -e "$DIR/docker-compose.override.yml" ]; then
        copy_file "$1/docker-compose.override.yml" "$DIR/docker-compose.override.yml"
    fi
}
copy_file() { # copy_file FROM TO: as put, without a backup: releases are kept whole; the umask takes others' rights
    [ -d "${2%/*}" ] || mkdir -p -- "${2%/*}"
    make_way "$2.new"
    cp -- "$1" "$2.new" && mv -f -- "$2.new" "$2"
}

# --- Docker -------------------------------------------------------------------------------------------

posing() { # posing: what is here instead of Docker, such as "the command docker is Podman 4.3.1"; nothing for Docker
    posing_version=$(docker --version 2>/dev/null) || posing_version=
    case $posing_version in
    [Pp]odman*) printf 'the command docker is Podman %s\n' "${posing_version##* }" && return 0 ;;
    esac
    case $(docker version -f '{{range .Server.Components}}{{.Name}},{{end}}' 2>/dev/null) in
    *[Pp]odman*)
        printf 'what answers as the Docker daemon is Podman %s\n' "$(docker version -f '{{.Server.Version}}' 2>/dev/null)"
        ;;
    esac
}
NO_PODMAN="$PRODUCT runs with Docker only: https://docs.docker.com/engine/install/ says how to install it"
require_docker() {
    have docker || die "Docker is not installed" "https://docs.docker.com/engine/install/ says how to install it"
    require_posing=$(posing)
    [ -z "$require_posing" ] || die "$require_posing" "$NO_PODMAN"
}
is_snap() { # whether the command docker is that of the snap store: a link to snap, which finds out what to run
    case $(readlink -f -- "$(command -v docker)" 2>/dev/null) in
    */snap) return 0 ;;
    esac
    return 1
}
# Docker from the snap store is confined by snapd's interface "home". It sees what is in the user's home, but neither
# ~/snap nor names there that begin with a dot; it has its own /tmp; and it sees drives on request only.
sees() { # sees FOLDER: yes, no, or "asked" for a drive: whether Docker sees the folder, which need not exist yet
    if ! have docker || ! is_snap; then
        echo yes && return 0
    fi
    sees_at=$(nearest "$1")
    sees_home=$(home_of "$(id -u)")
    sees_home=$(CDPATH='' cd -- "${sees_home:-${HOME:-/}}" && pwd -P)
    case $(CDPATH='' cd -- "$sees_at" && pwd -P)${1#"$sees_at"} in
    "$sees_home" | "$sees_home"/.* | "$sees_home"/snap | "$sees_home"/snap/*) echo no ;;
    "$sees_home"/*) echo yes ;;
    /mnt/* | /media/* | /run/media/*) echo asked ;;
    *) echo no ;;
    esac
}
nearest() { # nearest PATH: the path, or the folder above it that exists
    n_path=$1
    while [ ! -d "$n_path" ]; do n_path=$(dirname -- "$n_path"); done
    printf '%s\n' "$n_path"
}
BLIND="Docker is from the snap store, and does not see the folder"
ON_REQUEST="only after 'snap connect docker:removable-media'"
elsewhere() { printf "choose a folder in your home with --dir, such as '%s', or install Docker from docker.com\n" "${HOME:-}/$PROJECT"; }
require_sight() { # end unless Docker sees DIR
    case $(sees "$DIR") in
    no) die "$BLIND $DIR" "$(elsewhere)" ;;
    asked) warn "Docker is from the snap store, and sees $DIR $ON_REQUEST" ;;
    esac
}
find_compose() { # COMPOSE becomes the command that runs Compose
    COMPOSE=
    if docker compose version >/dev/null 2>&1; then
        COMPOSE='docker compose'
    elif have docker-compose; then
        COMPOSE=docker-compose
    fi
    [ -n "$COMPOSE" ]
}
require_compose() {
    require_docker
    docker version >/dev/null 2>&1 ||
        die "the Docker daemon does not answer" "start it, or add this user to the group docker"
    find_compose || die "Docker Compose is not installed" "https://docs.docker.com/compose/install/ says how"
}
compose() { # compose WORDS: run Compose on the installation
    # shellcheck disable=SC2086 # two words, or one
    (cd -- "$DIR" && $COMPOSE "$@")
}
pull_option() { # on a terminal, the progress is shown
    [ -t 2 ] || echo -q
}
containers() { # one line each: name, status, exit code, health, restarts, restart policy
    for containers_id in $(compose ps -a -q 2>/dev/null); do
        docker inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.HostConfig.RestartPolicy.Name}}' \
            "$containers_id" 2>/dev/null || true
    done | sed 's/^\///'
}
wait_healthy() { # wait_healthy SECONDS: until every container is healthy; says which one is not
    wait_end=$(($(date +%s) + $1))
    while :; do
        wait_state=$(containers)
        wait_bad=$(printf '%s\n' "$wait_state" | awk '
            $2 == "exited" && $3 != 0 && ($6 == "no" || $6 == "") { print $1 " ended with status " $3 }
            $2 == "dead" { print $1 " is dead" }
            $4 == "unhealthy" { print $1 " is unhealthy" }
            $5 >= 3 && $4 != "healthy" { print $1 " was restarted " $5 " times" }')
        wait_for=$(printf '%s\n' "$wait_state" | awk '
            NF == 0 { print "no container is there"; next }
            $2 == "running" && ($4 == "healthy" || $4 == "none") { next }
            $2 == "exited" && $3 == 0 && ($6 == "no" || $6 == "" || $6 == "on-failure") { next }
            { print $1 " is " $2 ", health " $4 }')
        [ -n "$wait_bad$wait_for" ] || return 0
        if [ -n "$wait_bad" ] || [ "$(date +%s)" -ge "$wait_end" ]; then
            printf '%s\n' "${wait_bad:-$wait_for}" | sed 's/^/  - /' >&2
            return 1
        fi
        sleep 1
    done
}
