// Internal: what the pipelines that ask for an approval share. See jenkinsReleaseApproval.txt.

/** The ids for one step: those of the kinds that are given, and key and passphrase of one role. */
Map credentialsFor(Map credentials, List<String> kinds, String role) {
    Map found = [:]
    for (kind in kinds) {
        if (credentials[kind]) {
            found[kind] = credentials[kind]
        }
    }
    if (role && credentials[role + 'Key']) {
        found.key = credentials[role + 'Key']
        found.passphrase = credentials[role + 'Passphrase']
    }
    return found
}

/** The ids for a step that changes nothing in the registry, with the AWS key that may only read there. */
Map reading(Map credentials, String role) {
    Map found = credentialsFor(credentials, ['smb', 'mail', 'webhook'], role)
    if (credentials.awsRead) {
        found.aws = credentials.awsRead
    }
    return found
}

/** Refuses one label for two stages: whoever runs code on an agent could read the keys of both. */
void requireApart(String step, Map given) {
    List<String> labels = [given.labels.plan, given.labels.approve, given.labels.promote]
    for (label in labels) {
        if (labels.count(label) > 1) {
            error 'configuration: ' + step + ' cannot run with these labels\n' +
                '  - labels: ' + label + ' is the label of two stages\n' +
                'hint: each stage binds keys that the others must not have; ' + step + '.txt describes the labels'
        }
    }
}

/** What is recorded with the approval. */
String reason() {
    return params.REASON + (params.TICKET ? ' [' + params.TICKET + ']' : '')
}

/** Asks for the approval of the stashed plan, and records it. Outside any node: waiting holds no executor. */
void ask(Map given, String what) {
    String approver = input(message: what + '? Reason: ' + params.REASON + '. The plan is in plan.json.', ok: 'Approve',
        submitter: given.submitter, submitterParameter: 'APPROVER')
    node(given.labels.approve) {
        checkout scm
        unstash 'plan'
        approvePromotion plan: 'plan.json', approver: approver, reason: reason(), report: 'approval.json',
            config: given.config, credentials: reading(given.credentials, 'approval')
        archiveArtifacts artifacts: 'approval.json'
    }
}

/** What has to be fixed before the question, if there is one; the answer settles the approvals. */
List<String> missing(Map plan, boolean asks) {
    List<String> found = []
    found.addAll(plan.gate.altered)
    if (!plan.gate.open) {
        // Tags that are taken, and what the configuration or registry does not allow: no approval counts then.
        found.addAll(plan.occupied)
        found.addAll(plan.obstacles)
    }
    for (reason in plan.gate.unmet) {
        if (!(reason.condition in ['approvals', 'separation'])) {
            found << reason.message
        }
    }
    if (asks && !params.REASON?.trim()) {
        found << 'REASON has to say why'
    }
    if (asks && !startedByPerson(currentBuild)) {
        found << 'a person has to start this job: the approver must be someone else'
    }
    return found
}

/** Describes a build that was restarted after the stage that describes it. */
void describe(String text) {
    currentBuild.description = currentBuild.description ?: text
}

private boolean startedByPerson(Object build) {
    return build.getBuildCauses('hudson.model.Cause$UserIdCause') as boolean
}
