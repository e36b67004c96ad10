# shellcheck shell=sh
# The access key, and a registry token for it: with the AWS command line, or with curl alone.
#
# No secret ever appears on a command line, where every user of the machine could read it: secrets pass
# through variables, pipes and files of mode 0600. The signature is AWS's Signature Version 4 (IAM user
# guide, "Create a signed AWS API request"), HMAC is RFC 2104.

CREDENTIALS=  # file with an access key that is not in the installation yet
ECR_ENDPOINT= # URL of the ECR API that is not in the installation yet
credentials_file() { printf '%s\n' "${CREDENTIALS:-$DIR/secrets/aws-credentials}"; }
credential() { # credential NAME: aws_access_key_id or aws_secret_access_key
    credential_file=$(credentials_file)
    [ ! -r "$credential_file" ] || sed -n "s/$CR\$//; /^ *$1 *=/{s/^ *$1 *= *//p;q;}" "$credential_file"
}
credentials_text() { printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$2"; }
save_credentials() { # save_credentials ID SECRET
    credentials_text "$1" "$2" | put "$(credentials_file)" 600
}
ecr_endpoint() { # the URL of the ECR API; a VPC endpoint's if the settings name one
    ecr_own=${ECR_ENDPOINT:-$(value ECR_ENDPOINT "$DIR/.env")}
    ecr_own=${ecr_own:-${AWS_ENDPOINT_URL_ECR:-${AWS_ENDPOINT_URL:-}}}
    case $REGISTRY in
    *.dkr.ecr."$REGION".*) printf '%s\n' "${ecr_own:-https://api.ecr.$REGION.${REGISTRY##*.dkr.ecr."$REGION".}}" ;;
    *) printf '%s\n' "${ecr_own:-https://api.ecr.$REGION.amazonaws.com}" ;;
    esac
}
url_of() { # url_of HOST: plain HTTP on loopback only, as Docker does
    case $1 in
    localhost | localhost:* | 127.*) printf 'http://%s\n' "$1" ;;
    *) printf 'https://%s\n' "$1" ;;
    esac
}

hex_of() { od -An -v -tx1 | tr -d ' \n'; }
octal_of() { # octal_of HEX MASK: the bytes, each XOR MASK, as printf's \ooo
    octal_rest=$1 octal_out=
    while [ -n "$octal_rest" ]; do
        octal_tail=${octal_rest#??}
        octal_byte=$(((0x${octal_rest%"$octal_tail"}) ^ $2))
        octal_out="$octal_out\\$((octal_byte >> 6))$((octal_byte >> 3 & 7))$((octal_byte & 7))"
        octal_rest=$octal_tail
    done
    printf '%s' "$octal_out"
}
hmac() { # hmac HEXKEY TEXT: HMAC-SHA256 in hex
    hmac_key=$1
    # shellcheck disable=SC2059 # the format is the bytes
    [ ${#hmac_key} -le 128 ] || hmac_key=$(printf "$(octal_of "$hmac_key" 0)" | sha256)
    while [ ${#hmac_key} -lt 128 ]; do hmac_key=${hmac_key}00; done
    hmac_inner=$(
        # shellcheck disable=SC2059 # the format is the bytes
        { printf "$(octal_of "$hmac_key" 54)" && printf '%s' "$2"; } | sha256
    )
    # shellcheck disable=SC2059
    printf "$(octal_of "$hmac_key" 92)$(octal_of "$hmac_inner" 0)" | sha256
}
quoted() { # quoted TEXT: as curl's configuration has it between double quotes
    case $1 in
    *[\\\"]*) printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' ;;
    *) printf '%s' "$1" ;;
    esac
}

ecr_call() { # ecr_call ACTION: call the API; prints the answer, then its HTTP status on a separate line
    call_id=$(credential aws_access_key_id)
    call_url=$(ecr_endpoint)
    call_host=${call_url#*://}
    call_host=${call_host%%/*}
    call_time=${SETUP_NOW:-$(date -u +%Y%m%dT%H%M%SZ)}
    call_day=${call_time%T*}
    call_target=AmazonEC2ContainerRegistry_V20150921.$1
    call_names='content-type;host;x-amz-date;x-amz-target'
    call_request="POST
/

content-type:application/x-amz-json-1.1
host:$call_host
x-amz-date:$call_time
x-amz-target:$call_target

$call_names
$(printf '{}' | sha256)"
    call_scope=$call_day/$REGION/ecr/aws4_request
    call_text="AWS4-HMAC-SHA256
$call_time
$call_scope
$(printf '%s' "$call_request" | sha256)"
    call_key=$(printf 'AWS4%s' "$(credential aws_secret_access_key)" | hex_of)
    for call_part in "$call_day" "$REGION" ecr aws4_request "$call_text"; do
        call_key=$(hmac "$call_key" "$call_part")
    done
    {
        printf 'url = "%s/"\n' "$(quoted "${call_url%/}")"
        printf 'header = "Content-Type: application/x-amz-json-1.1"\n'
        printf 'header = "X-Amz-Date: %s"\nheader = "X-Amz-Target: %s"\n' "$call_time" "$call_target"
        printf 'header = "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"\n' \
            "$(quoted "$call_id")" "$call_scope" "$call_names" "$call_key"
        printf 'data = "{}"\n'
    } | curl -sS --connect-timeout 10 --max-time 60 -w '\n%{http_code}\n' -K - 2>&1
}
ecr_token_by_curl() { # prints the registry token
    token_answer=$(ecr_call GetAuthorizationToken) || {
        printf 'error: the ECR API at %s does not answer: %s\n' "$(ecr_endpoint)" \
            "$(printf '%s' "$token_answer" | grep '^curl:' | head -n 1)" >&2
        return 1
    }
    case $token_answer in
    *'
200') ;;
    *)
        explain_refusal "$token_answer" >&2
        return 1
        ;;
    esac
    printf '%s' "$token_answer" | sed -n 's/.*"authorizationToken" *: *"\([^"]*\)".*/\1/p' |
        if have base64; then base64 -d; else openssl base64 -d -A; fi | sed 's/^AWS://'
}
explain_refusal() { # explain_refusal ANSWER: what AWS means, and what to do
    case $1 in
    *UnrecognizedClientException* | *InvalidClientTokenId*)
        explain="AWS does not know this access key, or it was switched off"
        explain_hint="ask support whether your access was rotated or revoked; setup.sh takes a new key"
        ;;
    *'Signature expired'* | *'not yet current'* | *RequestTimeTooSkewed*)
        explain="the clock of this machine is wrong: it shows $(date -u +%H:%M:%S) UTC"
        explain_hint="set it, preferably with NTP"
        ;;
    *InvalidSignatureException* | *SignatureDoesNotMatch*)
        explain="the secret does not belong to this access key"
        explain_hint="run setup.sh again and enter both again"
        ;;
    *AccessDenied*)
        explain="this access key may not log in to the registry"
        explain_hint="ask support: your access may have been revoked"
        ;;
    *)
        explain="the ECR API refused the login: $(printf '%s' "$1" | tr '\n' ' ' | cut -c1-200)"
        explain_hint="try again; if the error stays, send this line to support"
        ;;
    esac
    printf 'error: %s\n  %s\n' "$explain" "$explain_hint"
}
ecr_token_by_aws() { ecr_by_aws get-login-password; } # the same with the AWS command line
ecr_by_aws() { # ecr_by_aws WORDS: the AWS command line, with the access key of the installation
    (
        unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE
        AWS_SHARED_CREDENTIALS_FILE=$(credentials_file)
        AWS_ENDPOINT_URL_ECR=$(ecr_endpoint)
        export AWS_SHARED_CREDENTIALS_FILE AWS_ENDPOINT_URL_ECR
        aws ecr "$@" --region "$REGION" --endpoint-url "$AWS_ENDPOINT_URL_ECR"
    )
}
ecr_token() { # ecr_token [METHOD]: prints a registry token; curl by default if it is installed
    case ${1:-} in
    aws) ecr_token_by_aws ;;
    curl) ecr_token_by_curl ;;
    *) if have curl; then ecr_token_by_curl; else ecr_token_by_aws; fi ;;
    esac
}
manifest_request() { # manifest_request TOKEN REPOSITORY REFERENCE: curl's configuration for asking for a manifest
    printf 'url = "%s/v2/%s/manifests/%s"\n' "$(url_of "$REGISTRY")" "$2" "$3"
    printf 'user = "AWS:%s"\n' "$(quoted "$1")"
    printf 'header = "Accept: %s"\n' application/vnd.docker.distribution.manifest.v2+json \
        application/vnd.docker.distribution.manifest.list.v2+json \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.index.v1+json
}
may_pull() { # may_pull TOKEN REPOSITORY@DIGEST: prints the HTTP status of asking for the manifest
    manifest_request "$1" "${2%@*}" "${2#*@}" |
        curl -sS -I --connect-timeout 10 --max-time 60 -o /dev/null -w '%{http_code}' -K - 2>/dev/null || true
}

# Whether the release is still one. A withdrawal removes the release tags and leaves the images, so an image that is
# found by digest proves nothing: the release tag has to name exactly that digest.
STANDING= # released, withdrawn, or unknown; WHY says why
WHY=
tag_by_curl() { # tag_by_curl TOKEN REPOSITORY: the digest of what the release tag names, gone, or why it is unknown
    rm -f -- "$PRIVATE/manifest"
    tag_status=$(manifest_request "$1" "$2" "$RELEASE_TAG" |
        curl -sS --connect-timeout 10 --max-time 60 -o "$PRIVATE/manifest" -w '%{http_code}' -K - 2>"$PRIVATE/error") ||
        tag_status="$(head -n 1 "$PRIVATE/error")"
    case $tag_status in
    200) printf 'sha256:%s\n' "$(sha256 <"$PRIVATE/manifest")" ;;
    404)
        # The answer may come from a proxy, not from the registry.
        if grep -q -e MANIFEST_UNKNOWN -e NAME_UNKNOWN "$PRIVATE/manifest" 2>/dev/null; then
            echo gone
        else
            echo "an answer 404 that is not the registry's"
        fi
        ;;
    401 | 403) echo "the access key may not read $2" ;;
    [0-9][0-9][0-9]) echo "the registry answers with HTTP status $tag_status" ;;
    *) echo "${tag_status:-curl failed}" ;;
    esac
}
tag_by_aws() { # tag_by_aws REPOSITORY: the same with the AWS command line
    tag_answer=$(ecr_by_aws batch-get-image --repository-name "$1" --image-ids "imageTag=$RELEASE_TAG" --output text \
        --query '[images[0].imageId.imageDigest, failures[0].failureCode]' 2>"$PRIVATE/error" | tr '\t' ' ') || tag_answer=
    case $tag_answer in
    sha256:*' None') echo "${tag_answer% None}" ;;
    'None ImageNotFound') echo gone ;;
    *)
        if grep -q RepositoryNotFoundException "$PRIVATE/error"; then echo gone; else grep . "$PRIVATE/error" | head -n 1; fi
        ;;
    esac
}
ask_registry() { # ask_registry [TOKEN]: set STANDING and WHY
    STANDING=unknown WHY="" ask_token=${1:-}
    if [ -z "$(credential aws_access_key_id)" ]; then
        WHY="there is no access key for asking the registry"
        return 0
    fi
    if [ -z "$ask_token" ] && have curl; then
        ask_token=$(ecr_token "" 2>"$PRIVATE/error") || ask_token=
        if [ -z "$ask_token" ]; then
            WHY=$(sed -n 's/^error: //p' "$PRIVATE/error" | head -n 1)
            return 0
        fi
    fi
    for ask_image in $IMAGES; do
        if have curl; then ask_found=$(tag_by_curl "$ask_token" "${ask_image%@*}"); else ask_found=$(tag_by_aws "${ask_image%@*}"); fi
        ask_name="the release tag ${ask_image%@*}:$RELEASE_TAG"
        case $ask_found in
        "${ask_image#*@}") ;;
        gone) STANDING=withdrawn WHY="$ask_name is gone from the registry" && return 0 ;;
        sha256:*) STANDING=withdrawn WHY="$ask_name names another image" && return 0 ;;
        *) WHY="$ask_name: ${ask_found:-no answer}" ;;
        esac
    done
    [ -n "$WHY" ] || STANDING=released
}
require_released() { # before anything is changed: end with status 3 if the release was withdrawn
    if [ -n "$OFFLINE" ]; then
        warn "with --offline, it is not checked whether $PRODUCT $VERSION was withdrawn: ask where you got the zip"
        return 0
    fi
    ask_registry ""
    case $STANDING in
    withdrawn) withdrawn "$VERSION" ;;
    unknown) die "whether $PRODUCT $VERSION was withdrawn cannot be checked: $WHY" \
        "nothing was changed; 'setup.sh --check' says more; --offline continues without this check" ;;
    esac
}
withdrawn() { # withdrawn VERSION: say so, and end with the status for it
    printf 'error: %s %s was withdrawn: %s\n' "$PRODUCT" "$1" "$WHY" >&2
    printf '  nothing was changed; get the newest setup zip from where you got this one, or ask support\n' >&2
    exit 3
}
