// Internal: what the pipelines share that ask for an approval. See jenkinsReleaseApproval.txt.

/** The ids for one step: those of the kinds that are given, and key and passphrase of one role. */
Map credentialsFor(Map credentials, List<String> kinds, String role) {
    Map found = [:]
    for (kind in kinds) {
        if (credentials[kind]) {
            found[kind] = credentials[kind]
        }
    }
    if (role) {
        found.key = credentials[role + 'Key']
        found.passphrase = credentials[role + 'Passphrase']
    }
    return found
}

/** What is recorded with the approval. */
String reason() {
    return params.REASON + (params.TICKET ? ' [' + params.TICKET + ']' : '')
}

/** What has to be mended before anybody is asked; approvals are settled by the answer. */
List<String> missing(Map gate) {
    List<String> found = []
    found.addAll(gate.altered)
    for (reason in gate.unmet) {
        if (!(reason.condition in ['approvals', 'separation'])) {
            found << reason.message
        }
    }
    if (!params.DRY_RUN && !params.REASON?.trim()) {
        found << 'REASON has to say why'
    }
    if (!params.DRY_RUN && !startedByPerson(currentBuild)) {
        found << 'a person has to start this job: the approver must be somebody else'
    }
    return found
}

private boolean startedByPerson(Object build) {
    return build.getBuildCauses('hudson.model.Cause$UserIdCause') as boolean
}
